"""Knowledge files of every kind, spoiled: entries or a `KnowledgeError`, within bounded time and memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_mutants import MUTANTS, run_mutants, spoiled
from test_knowledge_import import pdf

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.knowledge.bulk import parse_lines
from reason_iad.knowledge.columns import COLUMNS
from reason_iad.knowledge.commands import find_instructions, withhold_orders
from reason_iad.knowledge.entries import STARTER_FOLDER
from reason_iad.knowledge.import_tables import read_csv, read_mmad
from reason_iad.knowledge.import_text import read_markdown, read_pdf
from reason_iad.knowledge.importers import ImportOptions, import_sources
from reason_iad.knowledge.names import identifier, is_identifier
from reason_iad.knowledge.polarity import is_label, read_polarity, says_no_defect
from reason_iad.knowledge.rows import Understanding
from reason_iad.knowledge.schema import parse_knowledge

CSV = (
    "sep=;\nproduct;defect;type;description;cause;i.O.;n.i.O.\nlid;crack;NG;Dark ä;Heat;;x\n;burr;;Bright.;;x;\n",
    'product,defect,description\n"lid, top",n/a,"Flat, ""bare"""\n,-,Dull.\n',
    "id\tcategory\tkind\ttext\nlid/defect/a\tlid\tdefect\tA dent.\n",
)
MARKDOWN = (
    "---\ncategory: lid\nsource: WI 7\n---\n# Lid\n## Not acceptable\n- Crack: dark\n  line\n1. Pore - pit\n\n"
    "| Defect | Description |\n|---|---|\n| burr | bright \\| thin |\n\n**OK**\nFlat.\n\nReject\n------\n"
    "```\n# no\n```\n",
    "n.i.O. Merkmale:\n* Lunker: dunkel\n\nGood parts\n" + "Word. " * 300,
)
JSON = (json.dumps({"Own": {"lid": {"good": "Flat.", "dent": "A hollow."}}, "b": {"c": "d"}}),)
LINES = (
    '{"id": "a/defect/1", "category": "a", "kind": "defect", "text": "x", "source": "s", "defect_type": "b"}\n' * 1,
)
READERS = {
    "yaml": (
        [path.read_bytes() for path in sorted(STARTER_FOLDER.glob("*.yaml"))[::20]],
        lambda text: parse_knowledge(text, "a.yaml"),
    ),
    "csv": ([text.encode() for text in CSV], lambda text: read_csv(text, "a.csv", Understanding({"type": "kind"}))),
    "markdown": ([text.encode() for text in MARKDOWN], lambda text: read_markdown(text, "a.md")),
    "json": ([text.encode() for text in JSON], lambda text: read_mmad(text, "a.json")),
    "jsonl": ([text.encode() for text in LINES], lambda text: parse_lines(text, "a.jsonl")),
}


@pytest.mark.parametrize("kind", READERS)
def test_spoiled_texts_give_knowledge_or_say_what_is_wrong(kind: str) -> None:
    seeds, reader = READERS[kind]

    def read(data: bytes) -> str:
        reader(data.decode("utf-8", "replace"))
        return "read"

    outcomes = run_mutants(kind, spoiled(seeds, MUTANTS or 300), read, (KnowledgeError,))
    assert len(outcomes) == 2  # some were still read, some refused


@pytest.mark.parametrize("sign", [" ", "#", "# ", "*", "**", "-", "|", "| ", "=", ": ", "\t", "- ", "(", "1. ", "a. "])
def test_a_line_of_one_sign_is_read_at_once(sign: str) -> None:
    texts = [f"{start}{sign * 5_000}{end}" for start in ("", "# ", "- a", "**a", "|a|\n|-") for end in ("", "x", "|")]
    mutants = [f"# Rejects\n{text}".encode() for text in texts]
    run_mutants(f"lines of {sign!r}", mutants, lambda data: str(len(read_markdown(data.decode(), "a.md")[1])), ())


def test_spoiled_pdf_files_give_text_or_say_what_is_wrong(tmp_path: Path) -> None:
    seed = pdf(tmp_path / "seed.pdf", ["Not acceptable", "Reject lids with a dent.", "Page three"]).read_bytes()
    path = tmp_path / "a.pdf"

    def read(data: bytes) -> str:
        path.write_bytes(data)
        read_pdf(path)
        return "read"

    run_mutants("pdf", spoiled([seed], MUTANTS or 100), read, (KnowledgeError,))


def test_spoiled_files_are_imported_or_refused_and_the_base_stays_whole(tmp_path: Path) -> None:
    kinds = {"md": MARKDOWN, "csv": CSV, "json": JSON, "jsonl": LINES, "txt": MARKDOWN}
    seeds = [f"{kind}\x01{text}".encode() for kind, texts in kinds.items() for text in texts]
    base = tmp_path / "base"

    def read(data: bytes) -> str:
        kind, _, content = data.partition(b"\x01")
        suffix = kind.decode("ascii", "ignore")
        path = tmp_path / f"a.{suffix if suffix in kinds else 'md'}"
        path.write_bytes(content)
        result = import_sources(base, [path], ImportOptions(dry_run=True))
        assert all(is_identifier(entry.category) for entry in result.entries)
        return "read"

    run_mutants("import", spoiled(seeds, (MUTANTS // 50) or 20), read, (InputError,))


@settings(max_examples=max(100, MUTANTS // 5), deadline=None)
@example("\u0300 0")
@given(st.text(max_size=300))
def test_any_text_has_a_polarity_or_none_and_a_name_that_holds(text: str) -> None:
    assert read_polarity(text) in ("normal", "defect", "mixed", None)
    assert not is_label(text) or read_polarity(text) is not None
    assert says_no_defect(text) in (True, False)
    name = identifier(text)
    assert is_identifier(name), name
    assert identifier(name) == name
    find_instructions(text)
    withhold_orders(text)


HEADS = st.sampled_from(
    [name for names in COLUMNS.values() for name in names] + ["i.O.", "accepted / rejected", "", "x"]
)
CELLS = st.one_of(
    st.sampled_from(["", "x", "n/a", "-", "OK", "NG", "crack", "12", "\u3003", '"', "yes", "no"]), st.text(max_size=8)
)


@settings(max_examples=max(60, MUTANTS // 10), deadline=None)
@given(st.lists(HEADS, min_size=1, max_size=7), st.lists(st.lists(CELLS, min_size=1, max_size=8), max_size=6))
def test_any_table_gives_rows_of_known_kinds_or_says_what_is_wrong(heads: list[str], rows: list[list[str]]) -> None:
    import csv
    import io

    out = io.StringIO()
    csv.writer(out).writerows([heads, *rows])
    try:
        found = read_csv(out.getvalue(), "a.csv")
    except KnowledgeError:
        return
    for row in found:
        assert row.text
        assert row.kind in ("normal", "defect", "process", "standard")
        assert row.defect_type is None or not says_no_defect(row.defect_type)
