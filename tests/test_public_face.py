"""The names that `reason_iad` offers, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import reason_iad

HEAVY = ("numpy", "PIL", "pydantic", "torch", "transformers", "onnxruntime", "scipy", "fastapi", "sqlalchemy", "pandas")
NAMES = sorted(set(reason_iad.__all__) - {"__version__"})


def test_every_public_name_is_there_and_documented():
    for name in NAMES:
        assert getattr(reason_iad, name).__doc__, name
        assert name in dir(reason_iad)
    assert sorted(reason_iad._HOMES) == NAMES


def test_a_name_that_is_not_public_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"offers .*Inspector"):
        _ = reason_iad.Inspektor


def test_importing_public_names_loads_no_heavy_library():
    # The names cost 0.1 to 0.2 s; numpy alone would be as much again.
    program = f"import sys; from reason_iad import {', '.join(NAMES)}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
