"""Sheets and documents as people keep them: what is read how is right, said, and can be corrected."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from reason_iad.cli import knowledge as command
from reason_iad.errors import InputError
from reason_iad.knowledge.base import read_base
from reason_iad.knowledge.importers import ImportOptions, import_sources
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.knowledge.rows import parse_corrections


@pytest.fixture
def read(tmp_path: Path):
    """(category, kind, defect type, text) of every entry that a text gives as a file of a name."""

    def bring(name: str, text: str, **options: Any) -> list[tuple[str, str, str | None, str]]:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        base = tmp_path / "base"
        import_sources(base, [path], ImportOptions(**options))
        return [(e.category, e.kind, e.defect_type, e.text) for e in read_base(base, None).entries]

    return bring


def facts(entries: list[tuple[str, str, str | None, str]]) -> set[tuple[str, str, str | None]]:
    return {entry[:3] for entry in entries}


def test_merged_cells_have_the_value_above_them(read) -> None:
    rows = [
        "product,defect,description",
        "pump lid,crack,Dark.",
        ",burr,Bright.",
        ",,Bright and long.",
        "hull,dent,Hollow.",
    ]
    assert facts(read("a.csv", "\n".join(rows))) == {
        ("pump_lid", "defect", "crack"), ("pump_lid", "defect", "burr"), ("hull", "defect", "dent"),
    }  # fmt: skip


def test_a_product_is_inherited_in_whatever_column_it_stands(read) -> None:
    rows = ["defect,product,description", "crack,pump lid,Dark.", "burr,,Bright.", ",hull,Dark and long."]
    assert facts(read("a.csv", "\n".join(rows))) == {
        ("pump_lid", "defect", "crack"), ("pump_lid", "defect", "burr"), ("hull", "defect", "burr"),
    }  # fmt: skip


def test_a_blank_beside_a_named_product_is_a_blank_and_a_ditto_mark_is_not(read) -> None:
    rows = [
        "product;defect;description",
        "lid;crack;Dark.",
        "lid;;Wipe it first.",
        '";dto.;Branching.',
        "lid;dent;Hollow.",
    ]
    found = read("a.csv", "\n".join(row.replace('"', "〃") for row in rows))
    assert ("lid", "process", None, "Wipe it first.") in found
    assert facts(found) == {("lid", "defect", "crack"), ("lid", "process", None), ("lid", "defect", "dent")}


def test_a_row_with_the_product_alone_heads_what_follows(read) -> None:
    rows = ["Product,Defect,Description", "Pump lid,,", ",crack,Dark.", "Hull,,", ",dent,Hollow."]
    assert facts(read("a.csv", "\n".join(rows))) == {("pump_lid", "defect", "crack"), ("hull", "defect", "dent")}


@pytest.mark.parametrize("order", ["defect,type", "type,defect"])
def test_defect_beside_type_is_the_name(read, order: str) -> None:
    names = {"defect": "scratch", "type": "cosmetic"}
    cells = ",".join(names[name] for name in order.split(","))
    assert facts(read("a.csv", f"product,{order},description\nlid,{cells},A line.\n")) == {("lid", "defect", "scratch")}


def test_a_column_of_yes_and_no_leaves_the_name_to_the_other(read) -> None:
    rows = "product,defect,type,description\nlid,yes,scratch,A line.\nlid,no,,Flat and bare.\n"
    assert facts(read("a.csv", rows)) == {("lid", "defect", "scratch"), ("lid", "normal", None)}


def test_type_that_says_good_or_bad_is_the_kind(read) -> None:
    rows = "product,defect,type,description\nlid,scratch,NG,A line.\nlid,,OK,Flat.\n"
    assert facts(read("a.csv", rows)) == {("lid", "defect", "scratch"), ("lid", "normal", None)}


@pytest.mark.parametrize("word", ["n/a", "N/A", "none", "-", "no defect", "kein Fehler", "OK"])
def test_no_defect_is_no_type_of_defect(read, word: str) -> None:
    rows = f"product,defect,description,cause\nlid,{word},Flat and bare.,n/a\nlid,burr,Bright.,-\n"
    assert facts(read("a.csv", rows)) == {("lid", "normal", None), ("lid", "defect", "burr")}


def test_columns_of_accepted_and_rejected_texts_give_both_kinds(read) -> None:
    rows = "Product;Feature;Accepted;Rejected\nlid;Edge;Smooth.;Burr above 0.5 mm.\nlid;Face;Flat.;-\n"
    assert set(read("a.csv", rows)) == {
        ("lid", "normal", None, "Normal lid: Edge: Smooth."), ("lid", "normal", None, "Normal lid: Face: Flat."),
        ("lid", "defect", None, "Edge: Burr above 0.5 mm."),
    }  # fmt: skip


def test_columns_of_accepted_and_rejected_marks_give_the_kind(read) -> None:
    rows = "Produkt;Merkmal;Beschreibung;i.O.;n.i.O.\nDeckel;Kante;Glatt.;x;\nDeckel;Kante;Grat.;;x\n"
    assert {(kind, text) for _, kind, _, text in read("a.csv", rows)} == {
        ("normal", "Normal deckel: Kante: Glatt."), ("defect", "Kante: Grat."),
    }  # fmt: skip


def test_counts_under_accepted_are_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("product,defect,description,accepted,rejected\nlid,burr,Bright.,120,3\n")
    result = import_sources(tmp_path / "base", [tmp_path / "a.csv"])
    assert result.taken == {str(tmp_path / "a.csv"): 1}
    assert "column 'rejected': not understood, left out" in result.understood[str(tmp_path / "a.csv")]


def test_a_status_column_says_the_kind(read) -> None:
    rows = "product,status,description\nlid,accepted,Flat.\nlid,not accepted,Bent.\nlid,rework,Polish it.\n"
    assert {(kind, text) for _, kind, _, text in read("a.csv", rows)} == {
        ("normal", "Normal lid: Flat."), ("defect", "Bent."), ("process", "Polish it."),
    }  # fmt: skip


def test_a_sheets_line_of_separator_and_title_stand_above_the_heading(read) -> None:
    rows = "sep=;\r\nFault catalog;;\r\n;;\r\nproduct;defect;description\r\nlid;burr;Bright, thin.\r\n"
    assert read("a.csv", rows) == [("lid", "defect", "burr", "lid, burr: Bright, thin.")]


def test_a_comma_in_the_heading_is_no_separator(read) -> None:
    rows = '"product, short";defect;description\nlid;burr;Bright, thin, long.\n'
    assert facts(read("a.csv", rows, category="hull")) == {("hull", "defect", "burr")}


def test_a_table_of_markdown_is_a_table(read) -> None:
    text = """# Lid

## Not acceptable

| Defect | Description | Cause |
|:-------|-------------|------:|
| Crack  | A dark line \\| jagged. | Heat |
|        | Branching.<br>Fine. | |
| n/a    | Flat.       | - |

Keep the lid dry.
"""
    assert set(read("wi.md", text, category="lid")) == {
        ("lid", "defect", "crack", "lid, Crack: A dark line | jagged."),
        ("lid", "defect", "crack", "lid, Crack: Branching. Fine."),
        ("lid", "process", "crack", "lid, Crack: Usual cause: Heat."),
        ("lid", "normal", None, "Normal lid: Flat."),
        ("lid", "defect", None, "Lid / Not acceptable: Keep the lid dry."),
    }


def test_a_table_whose_columns_say_nothing_stays_text(read) -> None:
    found = read("wi.md", "# Gauges\n\n| No. | Gauge |\n|---|---|\n| 1 | Feeler |\n", category="lid")
    assert [(kind, "Feeler" in text) for _, kind, _, text in found] == [("process", True)]


MANY = """# Valve defects

## Good part
The seat is bare.

**Not acceptable**
- Crack: A dark line
  across the seat.
- Pore \u2013 a round pit.
- Not a reject: shallow marks.

n.i.O. Merkmale
1. Lunker: Dunkle Poren.

Storage:
Keep it dry.

Reject
------
Any burr.

## Accept / reject
- Accept: a smooth edge.
- Reject: a torn edge.
"""


def test_sections_are_opened_by_every_usual_form_of_a_heading(read) -> None:
    found = read("wi.md", MANY, category="valve")
    kinds = {text.rpartition(": ")[2]: (kind, defect) for _, kind, defect, text in found}
    assert kinds == {
        "The seat is bare.": ("normal", None),
        "A dark line across the seat.": ("defect", "crack"),
        "a round pit.": ("defect", "pore"),
        "shallow marks.": ("normal", None),
        "Dunkle Poren.": ("defect", "lunker"),
        "Keep it dry.": ("defect", None),
        "Any burr.": ("defect", None),
        "a smooth edge.": ("normal", None),
        "a torn edge.": ("defect", None),
    }


def run(base: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["knowledge", *arguments, "--base", str(base)])
    return int(args.run(args))


def test_a_dry_run_says_how_everything_is_read_and_stores_nothing(tmp_path: Path, capsys: Any) -> None:
    base, source = tmp_path / "base", tmp_path / "lid.csv"
    source.write_text("product,defect,description,remark\nlid,burr,Bright.,see 4\n,n/a,Flat.,\n")
    assert run(base, "import", str(source), "--dry-run") == 0
    out = capsys.readouterr().out
    for said in (
        "2 entries (1 defect, 1 normal)", "column 'product': category", "column 'defect': type of defect",
        "column 'remark': not understood, left out", "column 'product': a blank cell has the value above it",
        "'n/a' in the column of defects: no defect", "[lid, defect, burr] lid, burr: Bright.", "Nothing was stored",
    ):  # fmt: skip
        assert said in out, said
    assert not (base / "imports").exists()
    assert run(base, "import", str(source)) == 0
    assert "column 'remark': not understood, left out" in capsys.readouterr().out
    assert len(read_base(base, None).entries) == 2


def test_what_was_read_wrongly_is_corrected_before_it_is_stored(tmp_path: Path, read) -> None:
    text = "# Lid\n## Grenzmuster\nA long burr.\n## Normal wear of tools\nChange the tool.\n## Notes\nBorrowed.\n"
    before = read("wi.md", text, category="lid")
    assert [kind for _, kind, _, _ in sorted(before, key=lambda e: e[3])] == ["process", "process", "normal"]
    given = parse_corrections(["Grenzmuster=defect", "normal wear of tools = process", "Notes=ignore"])
    after = read("wi.md", text, category="lid", corrections=given)
    assert {(kind, text.rpartition(": ")[2]) for _, kind, _, text in after} == {
        ("defect", "A long burr."), ("process", "Change the tool."),
    }  # fmt: skip


def test_columns_and_values_are_corrected_too(read) -> None:
    rows = "Sache;defect;description;Remarks;status\nlid;burr;Bright.;Seen in May.;B-Ware\n"
    given = parse_corrections(["Sache=category", "description=ignore", "Remarks=text", "B-Ware=normal"])
    assert read("a.csv", rows, corrections=given) == [("lid", "normal", None, "Normal lid: Seen in May.")]


def test_a_correction_that_nothing_answers_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Lid\nFlat.\n")
    with pytest.raises(InputError, match=r"no heading, column or value is called 'lids'.*--dry-run"):
        import_sources(tmp_path / "base", [tmp_path / "a.md"], ImportOptions(corrections={"lids": "defect"}))
    with pytest.raises(InputError, match=r"'Lid=bad'; expected NAME=MEANING"):
        parse_corrections(["Lid=bad"])


def test_names_of_any_script_are_kept_and_found(tmp_path: Path, encoder: Any) -> None:
    names = ("蓋", "Крышка насоса", "Gehäuse", "पंप", "غطاء", "Kapağı", "蓋1")
    rows = "".join(f"{name},裂纹,A dark line on {number}.\n" for number, name in enumerate(names))
    (tmp_path / "a.csv").write_text(f"product,defect,description\n{rows}", "utf-8")
    import_sources(tmp_path / "base", [tmp_path / "a.csv"])
    base = KnowledgeBase.load(base=tmp_path / "base", encoder=encoder)
    assert len({base.check_category(name) for name in names}) == len(names)
    entry = next(e for e in base.entries if e.category == base.check_category("蓋"))
    assert (entry.category, entry.text, entry.defect_type) == ("蓋", "蓋, 裂纹: A dark line on 0.", "裂纹")
    assert next(e for e in base.entries if e.category == "gehause").text.startswith("Gehäuse, ")


def test_what_a_folder_holds_besides_is_counted_and_a_sheets_unicode_text_is_read(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.tsv").write_text("product\tdefect\tdescription\nlid\tburr\tBright.\n", "utf-16")
    for name in ("a.docx", "b.DOCX", "notes"):
        (folder / name).write_bytes(b"x")
    assert run(tmp_path / "base", "import", str(folder)) == 0
    assert "left out: 2 .docx, 1 without suffix" in capsys.readouterr().out
    assert [e.defect_type for e in read_base(tmp_path / "base", None).entries] == ["burr"]


def test_mmads_none_is_no_type_of_defect(tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(json.dumps({"Own": {"lid": {"none": "Flat.", "n/a": "Bare.", "dent": "Hollow."}}}))
    import_sources(tmp_path / "base", [tmp_path / "k.json"])
    found = {(e.kind, e.defect_type) for e in read_base(tmp_path / "base", None).entries}
    assert found == {("normal", None), ("defect", "dent")}


@pytest.mark.parametrize(
    "heading",
    [
        "Produit;Défaut;Description;Cause;Conséquence;Action", "Producto;Defecto;Descripción;Causa;Consecuencia;Acción",
        "Prodotto;Difetto;Descrizione;Causa;Conseguenza;Azione", "Produto;Defeito;Descrição;Causa;Consequência;Ação",
        "Product;Gebrek;Omschrijving;Oorzaak;Gevolg;Maatregel", "Produkt;Wada;Opis;Przyczyna;Skutek;Działanie",
        "Výrobek;Vada;Popis;Příčina;Následek;Opatření", "Изделие;Дефект;Описание;Причина;Последствие;Действие",
        "产品;缺陷;描述;原因;后果;措施", "製品;欠陥;説明;原因;影響;対策", "제품;결함;설명;원인;영향;조치",
        "Ürün;Hata;Açıklama;Neden;Sonuç;Önlem", "Produkt;Fel;Beskrivning;Orsak;Följd;Åtgärd",
    ],
)  # fmt: skip
def test_columns_are_known_by_their_names_in_other_languages(read, heading: str) -> None:
    found = read("a.csv", f"{heading}\nscrew;scratch;A bright line.;A tool.;Rust.;Sort out.\n")
    assert facts(found) == {("screw", "defect", "scratch"), ("screw", "process", "scratch")}
    texts = " ".join(entry[3] for entry in found)
    assert all(word in texts for word in ("bright line", "A tool", "Rust", "Sort out"))


def test_no_heading_in_another_language_is_a_word_of_polarity() -> None:
    from reason_iad.knowledge.columns import ELSEWHERE
    from reason_iad.knowledge.polarity import read_polarity

    others = [name for role, names in ELSEWHERE.items() if role != "defect_type" for name in names.split()]
    assert [name for name in others if read_polarity(name.replace("_", " "))] == []
