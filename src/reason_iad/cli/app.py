"""Entry point of the `reason-iad` command: arguments, exit codes, and what is said when something fails.

Exit codes: 0 done, 2 bad input or usage, 1 a failure of the program, 130 interrupted, 141 the reader of a pipe went.
Subcommands import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from reason_iad import __version__
from reason_iad.cli import (
    benchmark,
    bundle,
    calibrate,
    demo,
    doctor,
    inspect,
    knowledge,
    label,
    learn,
    line,
    models,
    records,
    serve,
    threshold,
    weights,
)
from reason_iad.cli.help import BAD_INPUT, Parser, speak_as_asked
from reason_iad.errors import ReasonIADError
from reason_iad.languages import LANGUAGES, _, speak, told

DONE, FAILURE, INTERRUPTED, BROKEN_PIPE = 0, 1, 130, 141

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_EPILOG = """\
examples:
  reason-iad demo                                   inspect the images that come with the program
  reason-iad inspect part.png --reference good/     compare one image with normal ones and explain it
  reason-iad inspect lot/ --reference good/ --out report
  reason-iad line run line.toml                     a camera, a trigger, and who is told of each part
  reason-iad serve                                  a page to inspect images in, and an HTTP interface
"""


def build_parser() -> argparse.ArgumentParser:
    """Put the subcommands together."""
    parser = Parser(prog="reason-iad", description="Explain defects in images of industrial products.", epilog=_EPILOG)
    parser.add_argument(
        "--language", choices=tuple(LANGUAGES), metavar="CODE",
        help="of what is said and of reports: en, de, zh or ja (default: by LANG); JSON stays English",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"reason-iad {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (
        inspect,
        learn,
        label,
        threshold,
        calibrate,
        demo,
        doctor,
        weights,
        bundle,
        knowledge,
        benchmark,
        models,
        serve,
        line,
        records,
    ):
        command.add_parser(subparsers)
    _allow_language_behind(parser)
    return parser


def _allow_language_behind(parser: argparse.ArgumentParser) -> None:
    """Take `--language` behind a command, too, where most people write it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                if "--language" not in command._option_string_actions:  # `knowledge import` means that of its texts
                    command.add_argument(
                        "--language", choices=tuple(LANGUAGES), default=argparse.SUPPRESS, help=argparse.SUPPRESS
                    )
                _allow_language_behind(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name that is no text must not stop the answer about the file
            stream.reconfigure(errors="backslashreplace")
    speak_as_asked(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said what it had to say
        return stop.code if isinstance(stop.code, int) else DONE
    if args.language:
        speak(args.language)
    return guarded(lambda: int(args.run(args)))


def guarded(command: Callable[[], int]) -> int:
    """Run a command and turn whatever goes wrong into a message and an exit code."""
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()  # a broken pipe shows here, not at the interpreter's end
    except KeyboardInterrupt:
        _say(_("interrupted"))
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last place before the user
        return _explain(error)
    return code


def _explain(error: Exception) -> int:
    if os.environ.get("REASON_IAD_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, ReasonIADError):
        _say(_("error: {message}", message=told(str(error))))
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        said = _("{why}; expected room to write: free some, or choose another place", why=why)
        _say(_("error: {message}", message=said))
        return BAD_INPUT
    if isinstance(error, MemoryError):
        _say(_("failure: out of memory; close other programs, or inspect smaller images"))
        return FAILURE
    said = _("failure: {what}", what=f"{type(error).__name__}: {' '.join(str(error).split())}")
    shown = bool(os.environ.get("REASON_IAD_DEBUG"))
    _say(said if shown else _("{failure}; set REASON_IAD_DEBUG=1 to see where", failure=said))
    return FAILURE


def _say(message: str) -> None:
    print(f"reason-iad: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
