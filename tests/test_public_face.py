"""The names that `reason_iad` offers, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import reason_iad

HEAVY = ("torch", "transformers", "onnxruntime", "scipy", "fastapi", "sqlalchemy", "pandas")
NAMES = sorted(set(reason_iad.__all__) - {"__version__"})
LIGHT = sorted(set(NAMES) - {"Inspector", "InspectorOptions"})


def test_every_public_name_is_there_and_documented():
    for name in NAMES:
        assert getattr(reason_iad, name).__doc__, name
        assert name in dir(reason_iad)
    assert sorted(reason_iad._HOMES) == NAMES


def test_a_name_that_is_not_public_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"offers .*Inspector"):
        _ = reason_iad.Inspektor


def test_importing_public_names_loads_no_heavy_library_and_takes_a_fifth_of_a_second_at_most():
    imports = f"import sys; from reason_iad import {', '.join(LIGHT)}"
    program = f"{imports}; print([name for name in {HEAVY} if name in sys.modules])"
    bare, found = [], []
    for seconds, code in ((bare, "pass"), (found, program), (bare, "pass"), (found, program), (found, program)):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
    assert done.stdout.strip() == "[]"
    assert min(found) - min(bare) < 0.2
