"""The command as a whole: it answers at once, and every failure has its exit code and one clear line."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from reason_iad import __version__
from reason_iad.cli import app
from reason_iad.errors import ImageError, ModelError, WeightsError

RUN = "import sys; from reason_iad.cli.app import main; sys.exit(main())"


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]


def fail_with(error: BaseException) -> int:
    def raise_it() -> int:
        raise error

    return app.guarded(raise_it)


def test_help_answers_within_half_a_second() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: what the clock shows depends on what else the machine does.
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = "import sys, reason_iad.cli.app as a; a.build_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "numpy", "PIL", "jinja2", "yaml", "transformers", "onnxruntime", "scipy"}
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize("name", ["inspect", "demo", "weights", "knowledge"])
def test_every_subcommand_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([name, "--help"]) == 0
    assert f"reason-iad {name}" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"reason-iad {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nonsense"], ["inspect"], ["inspect", "a.png", "--knowledge", "all"], ["inspect", "a.png", "--seed", "-1"],
        ["inspect", "a.png", "--max-overkill", "2"], ["inspect", "a.png", "--max-overkill", "nan"], ["demo", "extra"],
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("reason-iad: error: ")
    assert said.err.count("\n") == 1
    assert "--help" in said.err


@pytest.mark.parametrize(
    "error", [ImageError("a.png is empty"), WeightsError("no network"), ModelError("no such model")]
)
def test_what_the_user_can_mend_is_exit_code_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(error) == 2
    assert capsys.readouterr().err == f"reason-iad: error: {error}\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_or_read_only_disk_is_exit_code_2(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(OSError(code, os.strerror(code), "/cache/x")) == 2
    said = capsys.readouterr().err
    assert os.strerror(code) in said
    assert "/cache/x" in said
    assert "Traceback" not in said


def test_a_fault_of_the_program_is_exit_code_1_with_a_way_to_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REASON_IAD_DEBUG", raising=False)
    assert fail_with(RuntimeError("shapes\ndiffer")) == 1
    said = capsys.readouterr().err
    assert said == "reason-iad: failure: RuntimeError: shapes differ; set REASON_IAD_DEBUG=1 to see where\n"
    monkeypatch.setenv("REASON_IAD_DEBUG", "1")
    assert fail_with(RuntimeError("shapes differ")) == 1
    assert "Traceback" in capsys.readouterr().err


def test_out_of_memory_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(MemoryError()) == 1
    assert "out of memory" in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "reason-iad: interrupted\n"


@pytest.mark.parametrize("lines", [1, 100_000])  # what is left in the buffer at exit, and what is written before
def test_a_reader_that_leaves_is_no_failure(lines: int) -> None:
    script = (
        "import sys; from reason_iad.cli import app\n"
        "def talk():\n"
        "    sys.stdin.readline()\n"
        f"    for i in range({lines}): print('line', i)\n"
        "    return 0\n"
        "sys.exit(app.guarded(talk))"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written
        process.stdin.write(b"go\n")
        process.stdin.close()
        said = process.stderr.read()
        assert process.wait(60) == app.BROKEN_PIPE
    assert said == b""


def test_bad_input_ends_the_real_command_with_2_and_no_traceback(tmp_path: Path) -> None:
    done = command("inspect", str(tmp_path / "nowhere.png"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_of_a_name_that_is_no_text_stays_json() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from reason_iad.cli import app\n"
        "from made_report import make_report\n"
        "app.inspect.run = lambda args: print(make_report(image='a\\udc80.png').to_json(indent=None)) or 0\n"
        "app.main(['inspect', 'x'])"
    )
    folder = str(Path(__file__).parent.parent / "reporting")
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, check=True)
    assert json.loads(done.stdout)["image"] == "a\udc80.png"


def test_the_language_may_stand_before_a_command_or_behind_it() -> None:
    parser = app.build_parser()
    for given in (["--language", "de", "records", "list"], ["records", "list", "--language", "de"]):
        assert parser.parse_args(given).language == "de"
    assert parser.parse_args(["records", "list"]).language is None
    texts = parser.parse_args(["--language", "ja", "knowledge", "import", "x.csv", "--language", "de"])
    assert (texts.language, texts.text_language) == ("ja", "de")
