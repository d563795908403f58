"""Questions to a real server, `transformers serve`: side by side, one by one, killed in the middle, server killed too.

    pip install 'transformers[serving]'
    python benchmarks/served_models.py --root ROOT --questions FILE --out DIR [--limit 48] [--parallel 8]

The server runs a miniature of Idefics3 (random weights, shaped so that it answers with a letter), since a real one may
not be at hand: what is measured is the harness and the interface. Each part is a run of `reason-iad benchmark mmad`:
--parallel N and one by one, their throughput and whether the answers are the same; then a run that is killed at a third
of the questions, begun again, loses its server at two thirds, and asks again what ended in an error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PORT = 8123
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def save_miniature(folder: Path) -> None:
    """A model that answers one letter and ends: the colon's direction brings letters, a letter's the end."""
    import torch
    import transformers

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))
    from miniatures import build_miniature  # type: ignore[import-not-found,unused-ignore]

    made = build_miniature("idefics3")
    model, tokenizer = made.model, made.tokenizer
    torch.manual_seed(3)
    table, head = model.get_input_embeddings().weight.data, model.lm_head.weight.data
    letter_way, colon_way = torch.linalg.qr(torch.randn(table.shape[1], 2))[0].T
    end = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    head.mul_(0.02)
    for letter in tokenizer.convert_tokens_to_ids(list("AB")):
        table[letter] = 60 * letter_way
        head[letter] = 5 * colon_way + 1.5 * torch.randn(table.shape[1])
    table[tokenizer.convert_tokens_to_ids(":")] = 60 * colon_way
    head[end] = 9 * letter_way
    model.config.tie_word_embeddings = False
    model.generation_config.eos_token_id = end
    tokenizer.chat_template = _TEMPLATE
    processor = transformers.Idefics3Processor(
        made.image_processor, tokenizer, image_seq_len=4, chat_template=_TEMPLATE
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


class Server:
    """`transformers serve` with the miniature."""

    def __init__(self, model: Path, log: Path) -> None:
        self._command = ["transformers", "serve", str(model), "--host", "127.0.0.1", "--port", str(PORT)]
        self._log, self.process = log, None  # type: tuple[Path, subprocess.Popen[bytes] | None]

    def start(self) -> None:
        """Start it and wait until it answers."""
        import httpx

        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*self._command, "--device", "cpu"], stdout=log, stderr=log)
        for _ in range(300):
            time.sleep(1)
            try:
                if httpx.get(f"http://127.0.0.1:{PORT}/health").status_code == 200:
                    return
            except httpx.HTTPError:
                continue
        raise SystemExit(f"the server did not start; see {self._log}")

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def records(folder: Path) -> list[dict[str, Any]]:
    """Every line of a run."""
    lines = [line for file in folder.glob("records-*.jsonl") for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def wait_for(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Until a run has so many records, or ends."""
    while len(records(folder)) < count and process.poll() is None:
        time.sleep(0.5)


def main() -> None:
    """Run the five parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=48, help="images")
    parser.add_argument("--parallel", type=int, default=8)
    args = parser.parse_args()
    model = args.out / "miniature"
    save_miniature(model)
    os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{PORT}/v1"
    server = Server(model, args.out / "server.log")
    command = [
        sys.executable, "-m", "reason_iad.cli.app", "benchmark", "mmad", "--root", args.root, "--questions",
        args.questions, "--model", f"openai:{model}", "--shots", "0", "--knowledge", "none", "--category", "given",
        "--limit", str(args.limit),
    ]  # fmt: skip
    side = ["--parallel", str(args.parallel)]

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        with (args.out / f"{name}.log").open("ab") as log:
            return subprocess.Popen([*command, "--out", args.out / name, *more], stdout=log, stderr=log)

    server.start()
    try:
        for name, more in (("side_by_side", side), ("one_by_one", [])):
            began = time.perf_counter()
            code = start(name, *more).wait()
            spent, count = time.perf_counter() - began, len(records(args.out / name))
            print(
                f"{name}: {count} questions in {spent:.0f} s, {count / spent:.2f} a second, exit code {code}",
                flush=True,
            )
        whole = {one["key"]: one for one in records(args.out / "one_by_one")}
        broken = args.out / "broken"
        process = start("broken", *side)
        wait_for(broken, len(whole) // 3, process)
        process.kill()
        process.wait()
        print(f"killed at {len(records(broken))} records", flush=True)
        process = start("broken", *side)
        wait_for(broken, 2 * len(whole) // 3, process)
        server.kill()
        print(f"server killed at {len(records(broken))} records", flush=True)
        time.sleep(10)
        server.start()
        print(f"exit code {process.wait()}, {sum('error' in one for one in records(broken))} errors", flush=True)
        print(f"--retry-errors: exit code {start('broken', *side, '--retry-errors').wait()}")
    finally:
        server.kill()
    answered = [one for one in records(broken) if "error" not in one]
    same = sum(one["probabilities"] == whole[one["key"]].get("probabilities") for one in answered)
    print(
        f"{len(answered)} answers to {len({one['key'] for one in answered})} of {len(whole)} questions, {same} the same"
    )


if __name__ == "__main__":
    main()
