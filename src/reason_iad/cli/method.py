"""The settings of the method on a command line, derived from where they are declared: `inspection/options.py`."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from reason_iad.errors import InputError
from reason_iad.inspection.options import Declared, InspectorOptions, declared_settings


def add_method_options(
    parser: argparse.ArgumentParser,
    leave_out: Collection[str] = (),
    unset: bool = False,
    settings: type[InspectorOptions] = InspectorOptions,
) -> None:
    """Add a flag for every setting of the method.

    Args:
        parser: gets the flags.
        leave_out: names of settings that the command has no use for.
        unset: leave flags that are not given at None, for commands that merge them with a file.
        settings: the class that declares them; a benchmark's has some of its own besides.
    """
    model = parser.add_argument_group("open models", "how a model named by hub id or folder is loaded")
    for declared in declared_settings(settings):
        if declared.name not in leave_out:
            _add(model if declared.about.group == "model" else parser, declared, unset)
    if "evidence" not in leave_out:
        parser.add_argument(
            "--paired", dest="evidence", action="store_const", const="paired", help="short for --evidence paired"
        )


def add_setting(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the flag of one setting, for commands that need no other."""
    _add(parser, next(one for one in declared_settings() if one.name == name), False)


def method_options(args: argparse.Namespace) -> InspectorOptions:
    """The settings that parsed arguments hold.

    Raises:
        InputError: settings that exclude each other.
    """
    names = [declared.name for declared in declared_settings()]
    return InspectorOptions.from_mapping({name: getattr(args, name) for name in names if hasattr(args, name)})


class _Joined(argparse.Action):
    """Values of a flag that is given several times, as one: the models of a panel."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        from reason_iad.models.registry import JOINT

        given = getattr(namespace, f"{self.dest}_given", None)
        joined = value if given is None else f"{given}{JOINT}{value}"
        setattr(namespace, f"{self.dest}_given", joined)
        setattr(namespace, self.dest, joined)


def _add(parser: Any, declared: Declared, unset: bool) -> None:
    about = declared.about
    more: dict[str, Any] = {"action": _Joined} if declared.name == "model" else {}
    default = about.told or ("none" if declared.default is None else declared.default)
    parser.add_argument(
        declared.flag,
        type=_reader(declared),
        choices=declared.choices or None,
        default=None if unset else declared.default,
        metavar=None if declared.choices else about.metavar,
        help=f"{about.help} (default: {default})".replace("%", "%%"),
        **more,
    )


def _reader(declared: Declared) -> Any:
    def read(text: str) -> Any:
        if declared.choices:
            return text  # argparse itself names the choices
        try:
            return declared.read(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
