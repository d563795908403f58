"""`reason-iad models`: the families that can be used, their sizes, what is cached, and what fits this machine."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from reason_iad.languages import _, note, say, told, translatable

DESCRIPTION = """\
Models that `--model` takes: nano (bundled), any model of these families by its hub id or by a folder, and openai:NAME
on an OpenAI-compatible server. Memory is for weights, keys and values of 8,192 tokens, and a tenth on top.
"""


@dataclass(frozen=True)
class Row:
    """One model as it is listed."""

    family: str
    model: str
    parameters: int
    memory: dict[str, int]  # bytes by precision
    here: str  # the options with which it fits this machine, or no
    cached_bytes: int  # 0 where nothing is


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `models`."""
    parser = subparsers.add_parser(
        "models",
        help="list the models that can be used, and what fits this machine",
        description=DESCRIPTION,
    )
    parser.add_argument("--device", default="auto", metavar="D", help="judge by this device (default: the best here)")
    parser.add_argument("--cached", action="store_true", help="only what needs no download")
    parser.add_argument(
        "--server",
        nargs="?",
        const="",
        metavar="URL",
        help="list what an OpenAI-compatible server offers instead (default: that of OPENAI_BASE_URL)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the models."""
    if args.server is not None:
        return _list_server(args.server, args.json)
    from reason_iad.models import memory

    device = memory.pick_device(args.device)
    free, dtype = memory.free_bytes(device), memory.pick_dtype("auto", device)
    rows = [row for row in list_models(device, free, dtype) if row.cached_bytes or not args.cached]
    if args.json:
        machine = {"device": device, "free_bytes": free, "dtype": dtype}
        print(json.dumps({"machine": machine, "models": [asdict(row) for row in rows]}, indent=2))
        return 0
    room = "memory not known" if free is None else f"{memory.gigabytes(free)} free"
    say(f"this machine: {device}, {room}; --dtype auto is {dtype} here")
    print()
    _print_table(rows)
    server = os.environ.get("OPENAI_BASE_URL")
    where = f"OPENAI_BASE_URL is {server}" if server else "set OPENAI_BASE_URL, and OPENAI_API_KEY where it wants a key"
    print()
    say(f"nano is bundled and fits everywhere. openai:NAME is a model on a server ({where});")
    say("it gives no access to its inside, so latent reasoning and injection are off there.")
    return 0


def _list_server(url: str, as_json: bool) -> int:
    """Names of what a server offers, as `--model` takes them."""
    from reason_iad.models.chat_client import KEY_VARIABLE, ChatClient, Connection

    connection = Connection.from_environment() if not url else Connection(url.rstrip("/"), os.environ.get(KEY_VARIABLE))
    found = [f"openai:{name}" for name in ChatClient("", connection).models()]
    if as_json:
        print(json.dumps({"server": connection.url, "models": found}))
        return 0
    print("\n".join(found) if found else _("the server offers no model"))
    if url:
        note(f"set OPENAI_BASE_URL={connection.url} to use them")
    return 0


def list_models(device: str, free: int | None, dtype: str) -> list[Row]:
    """Published models of every family, then others of these families that are cached."""
    from reason_iad.errors import ModelError
    from reason_iad.models import hub, memory
    from reason_iad.models.checkpoint import read_checkpoint
    from reason_iad.models.families import FAMILIES
    from reason_iad.models.published import PUBLISHED

    cached = hub.cached_models()
    rows = []
    for one in PUBLISHED:
        _, size = cached.pop(one.hub_id, (Path(), 0))
        needs = _needs(one.num_parameters, one.text)
        here = _fits(needs, device, free, dtype)
        rows.append(Row(FAMILIES[one.family].title, one.hub_id, one.num_parameters, needs, here, size))
    for name, (folder, size) in sorted(cached.items()):
        try:
            found = read_checkpoint(folder, name)
        except ModelError:  # of another kind, or not whole: nothing that could be used
            continue
        needs = _needs(found.num_parameters, memory.text_part(found.config))
        here = _fits(needs, device, free, dtype)
        rows.append(Row(found.family.title, name, found.num_parameters, needs, here, size))
    return rows


def _needs(num_parameters: int, text: object) -> dict[str, int]:
    from collections.abc import Mapping

    from reason_iad.models.memory import need_of

    config = text if isinstance(text, Mapping) else {}
    return {
        "float32": need_of(num_parameters, config, "float32").total,
        "bfloat16": need_of(num_parameters, config, "bfloat16").total,
        "8bit": need_of(num_parameters, config, "bfloat16", "8bit").total,
        "4bit": need_of(num_parameters, config, "bfloat16", "4bit").total,
    }


def _fits(needs: dict[str, int], device: str, free: int | None, dtype: str) -> str:
    """The first way in which a model fits: as it is, in half precision, quantized on a GPU."""
    if free is None:
        return translatable("not known")
    ways = {translatable("yes"): dtype if dtype in needs else "bfloat16", "--dtype bfloat16": "bfloat16"}
    if device.startswith("cuda"):
        ways |= {"--quantization 8bit": "8bit", "--quantization 4bit": "4bit"}
    return next((way for way, precision in ways.items() if needs[precision] <= free), translatable("no"))


def _print_table(rows: list[Row]) -> None:
    titles = (
        _("FAMILY"), _("MODEL"), _("PARAMETERS"), "FLOAT32", "BFLOAT16", _("4BIT"), _("FITS HERE"), _("CACHED"),
    )  # fmt: skip
    lines: list[tuple[str, ...]] = [titles]
    last = ""
    for row in rows:
        sizes = [f"{row.memory[precision] / 1e9:.1f} GB" for precision in ("float32", "bfloat16", "4bit")]
        cached = f"{row.cached_bytes / 1e9:.1f} GB" if row.cached_bytes else "-"
        family = "" if row.family == last else row.family
        lines.append((family, row.model, f"{row.parameters / 1e9:.2f} B", *sizes, told(row.here), cached))
        last = row.family
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [
            f"{cell:>{width}}" if 2 <= column <= 5 or column == 7 else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
