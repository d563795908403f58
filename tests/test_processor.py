import os
import subprocess
import sys

import pytest

from reason_iad import processor
from reason_iad.errors import InputError

MILAN = {"avx", "avx2", "fma"}
ICE_LAKE = MILAN | {"avx512f", "avx512_vnni"}
SAPPHIRE_RAPIDS = ICE_LAKE | {"avx512_bf16", "amx_bf16", "amx_int8"}


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (processor.OVERRIDE, "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


def pretend(instructions: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    processor._present.cache_clear()
    monkeypatch.setattr(processor, "_instructions", lambda: instructions)


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    processor._present.cache_clear()


EXACT = processor.Arithmetic("onnxruntime", "onnxruntime")
FAST = processor.Arithmetic("bfloat16", "bfloat16")


@pytest.mark.parametrize(
    ("instructions", "chosen"), [(MILAN, EXACT), (ICE_LAKE, EXACT), (SAPPHIRE_RAPIDS, FAST), (set(), EXACT)]
)
def test_a_processor_is_given_the_arithmetic_that_it_has_instructions_for(
    instructions: set[str], chosen: processor.Arithmetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(instructions, monkeypatch)
    assert processor.choose() == chosen
    assert processor.choose(exact=True) == EXACT


@pytest.mark.parametrize(
    ("name", "value"),
    [(processor.OVERRIDE, "avx2"), ("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
)
def test_a_rich_processor_that_is_held_back_behaves_like_an_ordinary_one(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(SAPPHIRE_RAPIDS, monkeypatch)
    monkeypatch.setenv(name, value)
    assert processor.choose() == EXACT


def test_an_override_that_the_processor_lacks_is_refused_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(ICE_LAKE, monkeypatch)
    monkeypatch.setenv(processor.OVERRIDE, "amx")
    with pytest.raises(InputError, match="'amx', which this processor lacks; it has plain, avx2, avx512, vnni"):
        processor.choose()


def test_abilities_have_the_names_that_people_know(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend({"asimd", "asimddp", "bf16"}, monkeypatch)
    assert [name for name, has in processor.abilities().items() if has] == ["bfloat16", "ARM dot product"]
    assert processor.choose() == EXACT


def test_an_override_that_names_no_level_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processor.OVERRIDE, "fast")
    with pytest.raises(InputError, match="REASON_IAD_PROCESSOR is 'fast'; expected one of plain, avx2"):
        processor.usable()


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"), ({"GOMP_SPINCOUNT": "100"}, None)],
)
def test_waiting_threads_sleep_unless_the_user_has_set_how_they_wait(
    given: dict[str, str], expected: str | None
) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    told = "import reason_iad, os, sys; print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], env={**kept, **given}, capture_output=True, text=True)
    assert done.stdout.split() == [str(expected), "False"]


@pytest.mark.parametrize("given", ["1", "3", ""])
def test_threads_are_those_of_torch_and_before_its_import_those_it_will_have(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from reason_iad.processor import threads; n = threads(); import torch; print(n, torch.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": given}, capture_output=True, text=True
    )
    before, after = done.stdout.split()
    assert before == after
