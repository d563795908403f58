"""Settings of the method: declared once, seen everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import reason_iad.inspection.options as options
from reason_iad.errors import InputError
from reason_iad.inspection.options import InspectorOptions, declared_settings

MADE_UP = 'min_area: float = setting(0.1, "smallest area that counts", low=0, high=1, metavar="A")'
LOOK = """
import importlib.util, sys, types
source = open(sys.argv[1], encoding="utf-8").read()
marker = "    seed: int = setting("
assert source.count(marker) == 1
source = source.replace(marker, "    " + sys.argv[2] + "\\n" + marker)
import reason_iad.inspection
module = types.ModuleType("reason_iad.inspection.options")
sys.modules["reason_iad.inspection.options"] = module
exec(compile(source, sys.argv[1], "exec"), module.__dict__)
from reason_iad.cli.app import build_parser
from reason_iad.cli.method import method_options
from reason_iad.cli.serve import settings_of
from reason_iad.benchmark.setting import Setting
parser = build_parser()
print(method_options(parser.parse_args(["inspect", "a.png", "--min-area", "0.3"])).min_area)
print(settings_of(parser.parse_args(["serve", "--min-area", "0.4"])).method.min_area)
print(parser.parse_args(["benchmark", "mmad", "--min-area", "0.5"]).min_area)
setting = Setting.from_mapping({"min_area": 0.5})
print(setting.inspector_options("an image").min_area, setting.to_mapping()["min_area"])
"""


def test_a_setting_that_is_declared_in_one_file_is_seen_by_command_line_server_and_benchmark():
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(Path(options.__file__)), MADE_UP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.3", "0.4", "0.5", "0.5", "0.5"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_overkill": 1.0}, "between 0 and 1"),
        ({"top_k": 0}, "a whole number from 1 on"),
        ({"seed": True}, "seed is True"),
        ({"latents": "loud"}, "expected one of off, paper, on, gradient"),
        ({"time_budget": 0.0}, "a number above 0"),
        ({"backbone": "facebook/dinov2-small", "streams": "fast"}, "expected one of them"),
    ],
)
def test_settings_without_a_meaning_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        InspectorOptions(**changes)


def test_every_setting_has_help_and_a_default_that_it_allows():
    for declared in declared_settings():
        assert declared.about.help
        assert declared.check(declared.default) == declared.default


def test_names_of_a_file_that_are_no_settings_are_named():
    with pytest.raises(InputError, match="found the settings \\['latent'\\]; expected some of"):
        InspectorOptions.from_mapping({"latent": "on"})


def test_a_time_budget_and_the_exact_gradient_reach_the_latent_loop():
    found = InspectorOptions(latents="gradient", time_budget=0.5, num_steps=3).latent_options()
    assert (found.mode, found.time_budget, found.num_steps) == ("gradient", 0.5, 3)
    assert InspectorOptions(latents="paper", time_budget=2).latent_options().time_budget == 2.0
    assert InspectorOptions(latents="off").latent_options() is None
