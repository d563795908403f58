"""The names that `reason_iad` offers, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import reason_iad

HEAVY = ("torch", "transformers", "onnxruntime", "scipy", "fastapi", "sqlalchemy", "pandas")
NAMES = sorted(set(reason_iad.__all__) - {"__version__"})
LIGHT = sorted(set(NAMES) - {"Inspector"})  # it draws in numpy, the images and the evidence: 0.4 s


def test_every_public_name_is_there_and_documented():
    for name in NAMES:
        assert getattr(reason_iad, name).__doc__, name
        assert name in dir(reason_iad)
    assert sorted(reason_iad._HOMES) == NAMES


def test_a_name_that_is_not_public_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"offers .*Inspector"):
        _ = reason_iad.Inspektor


def run(program: str) -> tuple[str, float]:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip(), time.perf_counter() - began


def test_importing_public_names_loads_no_heavy_library():
    imports = f"import sys; from reason_iad import {', '.join(NAMES)}"
    assert run(f"{imports}; print([name for name in {HEAVY} if name in sys.modules])")[0] == "[]"


def test_names_that_need_no_numpy_are_there_in_a_fifth_of_a_second():
    program = f"from reason_iad import {', '.join(LIGHT)}"
    bare, found = (min(run(code)[1] for _ in range(3)) for code in ("pass", program))
    assert found - bare < 0.2
