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


@pytest.mark.parametrize(
    ("instructions", "int8", "bfloat16"),
    [(MILAN, False, False), (ICE_LAKE, True, False), (SAPPHIRE_RAPIDS, True, True), (set(), False, False)],
)
def test_a_processor_is_given_the_products_that_it_has_instructions_for(
    instructions: set[str], int8: bool, bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(instructions, monkeypatch)
    assert (processor.multiplies_int8(), processor.multiplies_bfloat16()) == (int8, bfloat16)


@pytest.mark.parametrize(
    ("name", "value"),
    [(processor.OVERRIDE, "avx2"), ("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
)
def test_a_rich_processor_that_is_held_back_behaves_like_an_ordinary_one(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(SAPPHIRE_RAPIDS, monkeypatch)
    monkeypatch.setenv(name, value)
    assert not processor.multiplies_int8()
    assert not processor.multiplies_bfloat16()


def test_an_override_that_names_no_level_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processor.OVERRIDE, "fast")
    with pytest.raises(InputError, match="REASON_IAD_PROCESSOR is 'fast'; expected one of plain, avx2"):
        processor.usable()
