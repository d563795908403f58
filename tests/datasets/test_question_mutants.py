"""Question files, spoiled: samples and listed faults, or an `InputError`, within bounded time and memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_mutants import MUTANTS, run_mutants, spoiled

from reason_iad.datasets.questions import read_questions
from reason_iad.errors import InputError
from reason_iad.images import encode_png

ENTRY = {
    "conversation": [
        {
            "Question": "Is there a defect?",
            "Options": {"A": "Yes.", "B": "No."},
            "Answer": "A",
            "type": "Anomaly Detection",
        }
    ],
    "random_templates": ["DS/lid/good/0.png"],
    "similar_templates": [],
    "mask_path": "mask.png",
}
SEEDS = [json.dumps({"DS/lid/a.png": ENTRY, "DS/lid/b.png": ENTRY}, indent=indent).encode() for indent in (None, 1)]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["A", "B", "Yes."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["A", "B", "Question", "x"]), inner),
    max_leaves=6,
)


def made(root: Path) -> Path:
    (root / "DS" / "lid").mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        (root / "DS" / "lid" / name).write_bytes(encode_png(np.zeros((16, 16, 3), np.uint8)))
    return root / "q.json"


def test_spoiled_question_files_are_read_with_their_faults_or_refused(tmp_path: Path) -> None:
    file = made(tmp_path)

    def read(data: bytes) -> str:
        file.write_bytes(data)
        found = read_questions(tmp_path, file)
        assert all(
            0 <= question.target < len(question.options) for sample in found.samples for question in sample.questions
        )
        return "with faults" if found.faults else "read"

    run_mutants("questions", spoiled(SEEDS, MUTANTS or 200), read, (InputError,))


@settings(max_examples=max(60, MUTANTS // 10), deadline=None)
@given(field=st.sampled_from([*ENTRY, "Question", "Options", "Answer", "type"]), value=VALUES)
def test_any_value_in_any_field_is_a_fault_and_no_error(tmp_path_factory, field: str, value: object) -> None:
    root = tmp_path_factory.getbasetemp() / "questions"
    file = made(root)
    entry = json.loads(json.dumps(ENTRY))
    (entry if field in entry else entry["conversation"][0])[field] = value
    file.write_text(json.dumps({"DS/lid/a.png": entry, "DS/lid/b.png": ENTRY}))
    assert read_questions(root, file).samples
