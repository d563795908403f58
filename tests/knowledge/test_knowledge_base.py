"""The user's base over the starter knowledge, its bulk files, and changes that happen whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import filelock
import pytest
from test_knowledge_entries import GOOD

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge import base as module
from reason_iad.knowledge.base import read_base
from reason_iad.knowledge.bulk import clean_text, dump_lines, load_lines, parse_lines
from reason_iad.knowledge.changes import JOURNAL, apply_changes, writing
from reason_iad.knowledge.entries import Entry, load_categories, load_entries
from reason_iad.knowledge.retrieve import KnowledgeBase

LINE = {"id": "bolt_ring/process/doc-1", "category": "bolt_ring", "kind": "process", "text": "Count.", "source": "WI 1"}


def test_an_empty_base_is_the_starter_knowledge(tmp_path: Path) -> None:
    content = read_base(tmp_path / "none")
    assert content.categories == load_categories()
    assert content.entries == load_entries()
    assert content.own == frozenset()


def test_a_users_category_replaces_the_starters_and_its_names_win(tmp_path: Path, encoder: Any) -> None:
    text = GOOD.replace("bolt_ring", "cable").replace("name: bolt ring", "name: our cable")
    text = text.replace("[ring of bolts]", "[PCB]")
    (tmp_path / "cable.yaml").write_text(text)
    base = KnowledgeBase.load(encoder=encoder, base=tmp_path)
    assert base.knowledge_of("cable").name == "our cable"  # type: ignore[union-attr]
    assert base.find_category("pcb") == "cable"
    assert base.find_category("bare_pcb") == "bare_pcb"
    assert {c.source for c in base.retrieve("hole", "cable")} == {"a test"}
    assert len(base.categories) == len(load_categories())


def test_bulk_entries_add_to_a_category_and_are_found(tmp_path: Path, encoder: Any) -> None:
    line = LINE | {"id": "hazelnut/process/x", "category": "hazelnut", "text": "Call the shift leader zanzibar."}
    (tmp_path / "imports").mkdir()
    (tmp_path / "imports" / "a.jsonl").write_text(json.dumps(line) + "\n\n")
    base = KnowledgeBase.load(encoder=encoder, base=tmp_path)
    assert base.search("zanzibar")[0].entry.source == "WI 1"
    assert len(base.entries) == len(load_entries()) + 1


def test_a_second_start_parses_only_what_was_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    first = read_base(tmp_path)
    parsed: list[str] = []
    load = module.load_file
    monkeypatch.setattr(module, "load_file", lambda path: (parsed.append(path.name), load(path))[1])
    assert read_base(tmp_path) == first
    assert parsed == []
    (tmp_path / "a.yaml").write_text(GOOD.replace("A hole is empty.", "A hole is open."))
    assert read_base(tmp_path).categories[0].defects[0].look == "A hole is open."
    assert parsed == ["a.yaml"]


def test_a_base_that_cannot_be_written_is_still_read(
    tmp_path: Path, encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / ".index").write_text("in the way")
    base = KnowledgeBase.load(encoder=encoder, base=tmp_path)
    assert base.retrieve("empty hole", "bolt_ring")[0].kind == "normal"
    assert "cannot be written" in caplog.text


def test_ids_used_by_two_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(json.dumps(LINE))
    with pytest.raises(KnowledgeError, match=r"b\.jsonl: the id 'bolt_ring/process/doc-1' is also used by .*a\.jsonl"):
        read_base(tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", r"f:2: the line: found no JSON"),
        ("[1]", r"f:2: the line: found list; expected a JSON object"),
        ("[" * 100_000, r"f:2: the line: found no JSON"),
        (json.dumps(LINE | {"kin": "x"}), r"f:2: kin: found an unknown field"),
        (json.dumps({k: v for k, v in LINE.items() if k != "source"}), r"f:2: source: found nothing"),
        (json.dumps(LINE | {"text": ""}), r"f:2: text: found ''"),
        (json.dumps(LINE | {"text": 3}), r"f:2: text: found 3"),
        (json.dumps(LINE | {"kind": "defekt"}), r"f:2: kind: found 'defekt'; expected one of normal, defect"),
        (json.dumps(LINE | {"category": "Bolt Ring"}), r"f:2: category: found 'Bolt Ring'"),
        (json.dumps(LINE | {"text": "a" * 2001}), r"f:2: text: found 2,001 characters; expected at most 2,000"),
        (json.dumps(LINE) + "\n" + json.dumps(LINE), r"f:3: id: found 'bolt_ring/process/doc-1' again \(first"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field(line: str, expected: str) -> None:
    with pytest.raises(KnowledgeError, match=expected):
        parse_lines("\n" + line, "f")


def test_bulk_entries_survive_writing_and_reading(tmp_path: Path) -> None:
    entries = tuple(sorted(load_entries(), key=lambda entry: entry.id))
    (tmp_path / "a.jsonl").write_text(dump_lines(entries), "utf-8")
    assert load_lines(tmp_path / "a.jsonl") == entries


def test_a_huge_or_wrongly_encoded_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "# " + "x" * 50_000_000)
    with pytest.raises(KnowledgeError, match=r"a\.yaml has 50,000,\d+ bytes; at most 1,000,000"):
        read_base(tmp_path)
    (tmp_path / "a.yaml").write_bytes(GOOD.replace("bolt ring", "Bügel").encode("latin-1"))
    with pytest.raises(KnowledgeError, match=r"a\.yaml:2: byte 0xfc is not UTF-8"):
        read_base(tmp_path)


def test_long_text_is_cut_at_a_word_and_freed_of_controls() -> None:
    assert clean_text("a\x00b\n\tc") == "a b c"
    assert clean_text("word " * 100, 20) == "word word word word\u2026"
    assert len(clean_text("x" * 5000)) <= 2000


def test_a_change_writes_and_removes_as_one(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("old")
    with writing(tmp_path):
        apply_changes(tmp_path, {"imports/a.jsonl": "a", "b.yaml": "b", "old.yaml": None})
    assert (tmp_path / "imports" / "a.jsonl").read_text() == "a"
    assert (tmp_path / "b.yaml").read_text() == "b"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".write.lock") == ["b.yaml", "imports"]


KILLED = """
import os, sys
from pathlib import Path
from reason_iad.knowledge import changes
at, seen = int(sys.argv[2]), 0
def step(_name):
    global seen
    seen += 1
    if seen == at: os._exit(9)
write, replace = changes.write_whole, Path.replace
changes.write_whole = lambda path, content: (step("write"), write(path, content))[1]
Path.replace = lambda self, target: (step("replace"), replace(self, target))[1]
base = Path(sys.argv[1])
with changes.writing(base):
    changes.apply_changes(base, {f"{n}.yaml": "new" for n in range(3)})
"""


@pytest.mark.parametrize("at", [1, 2, 4, 5, 7, 8, 9, 10, 11, 12])
def test_a_killed_change_happened_whole_or_not_at_all(tmp_path: Path, at: int) -> None:
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_text("old")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(at)], check=False)
    with writing(tmp_path):
        texts = {(tmp_path / f"{number}.yaml").read_text() for number in range(3)}
    assert done.returncode == (9 if at <= 11 else 0)
    assert len(texts) == 1, f"half a change after step {at}: {texts}"
    left = {path.name for path in tmp_path.iterdir()} - {f"{number}.yaml" for number in range(3)}
    assert left <= {".write.lock"}


def test_opening_a_base_finishes_a_decided_change(tmp_path: Path) -> None:
    (tmp_path / ".change-1").mkdir()
    (tmp_path / ".change-1" / "0").write_text(GOOD)
    (tmp_path / JOURNAL).write_text(json.dumps([[".change-1/0", "a.yaml"]]))
    assert "bolt_ring" in read_base(tmp_path).own
    assert not (tmp_path / JOURNAL).exists()


def test_a_second_writer_is_refused_after_a_while(tmp_path: Path) -> None:
    with (
        filelock.FileLock(tmp_path / ".write.lock"),
        pytest.raises(KnowledgeError, match="being changed by another process"),
        writing(tmp_path, 0.1),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(KnowledgeError, match="cannot be written"), writing(tmp_path / "x"):
        pass


def test_an_entry_is_a_line(tmp_path: Path) -> None:
    assert json.loads(dump_lines([Entry(**LINE)])) == LINE | {"language": "en"}  # type: ignore[arg-type]
