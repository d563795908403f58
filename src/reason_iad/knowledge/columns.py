"""What the columns of a table mean: read from their headings, then from what stands in them."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Sequence
from functools import cache

from reason_iad.knowledge.bulk import KINDS
from reason_iad.knowledge.polarity import is_empty, is_label, read_polarity, says_no_defect
from reason_iad.knowledge.rows import Understanding

# Headings that people use, the surest first; the first of each is ours.
COLUMNS = {
    "id": ("id",),
    "category": (
        "category", "product", "object", "part", "product_name", "part_name", "component", "article", "material",
        "produkt", "bauteil", "teil", "artikel", "erzeugnis", "kategorie", "komponente", "werkst\u00fcck",
    ),
    "kind": ("kind",),
    "status": (
        "status", "verdict", "judgement", "judgment", "decision", "disposition", "result", "rating", "evaluation",
        "bewertung", "beurteilung", "ergebnis", "entscheidung", "entscheid", "befund",
    ),
    "defect_type": (
        "defect_type", "defect", "defect_name", "fault", "failure_mode", "defects", "faults", "type_of_defect",
        "fehlerart", "fehler", "fehlername", "fehlerbild", "fehlertyp", "mangel", "defekt", "defect_class", "type",
        "name", "typ", "bezeichnung",
    ),
    "text": (
        "text", "description", "look", "appearance", "defect_description", "fault_description", "beschreibung",
        "aussehen", "fehlerbeschreibung", "erscheinungsbild", "merkmalsbeschreibung", "details",
    ),
    "cause": ("cause", "root_cause", "causes", "possible_cause", "ursache", "ursachen", "m\u00f6gliche_ursache"),
    "consequence": (
        "consequence", "effect", "consequences", "effects", "folge", "folgen", "auswirkung", "auswirkungen",
    ),
    "check": (
        "check", "action", "next", "measure", "measures", "actions", "countermeasure", "corrective_action", "remedy",
        "ma\u00dfnahme", "massnahme", "ma\u00dfnahmen", "massnahmen", "pr\u00fcfung", "abhilfe",
    ),
    "source": ("source", "reference", "quelle", "referenz", "document", "dokument"),
    "language": ("language", "sprache"),
    "subject": (
        "subject", "feature", "characteristic", "item", "criterion", "requirement", "merkmal", "pr\u00fcfmerkmal",
        "kriterium", "anforderung", "area", "bereich",
    ),
}  # fmt: skip
# The same in other languages, without accents; ranked behind those above.
ELSEWHERE = {
    "category": "produit piece article producto pieza articulo prodotto pezzo articolo produto peca artigo onderdeel "
    "wyrob czesc vyrobek dil изделие деталь продукт urun parca produkt termek tuote 产品 零件 製品 部品 品名 제품 부품",
    "defect_type": "defaut type_de_defaut defecto tipo_de_defecto difetto tipo_di_difetto defeito tipo_de_defeito "
    "gebrek fout defectsoort wada rodzaj_wady vada druh_vady дефект вид_дефекта hata kusur fel feltyp fejl fejltype "
    "hiba vika 缺陷 缺陷类型 缺陷名称 欠陥 不良 不良名 欠陥名 결함 불량 불량명",
    "text": "aspect descripcion apariencia descrizione aspetto descricao aparencia omschrijving beschrijving opis "
    "popis описание внешний_вид aciklama beskrivning beskrivelse leiras kuvaus 描述 说明 外观 説明 外観 설명 외관",
    "cause": "causa causas cause_possible oorzaak przyczyna pricina причина neden orsak arsag syy 原因 원인",
    "consequence": "effet consecuencia efecto conseguenza effetto consequencia efeito gevolg skutek nasledek "
    "последствие sonuc foljd folge kovetkezmeny seuraus 后果 影响 影響 결과 영향",
    "check": "mesure accion medida azione misura acao maatregel dzialanie opatreni мера действие onlem atgard handling "
    "tiltag intezkedes toimenpide 措施 对策 対策 処置 조치 대책",
    "subject": "critere caracteristique criterio caracteristica caratteristica kenmerk kryterium cecha kriterium znak "
    "критерий признак kriter ozellik egenskap 项目 检查项目 項目 検査項目 항목 검사항목",
    "status": "decision_finale decision resultat resultado risultato resultaat wynik vysledek результат решение "
    "sonuc_karar 判定 结果 結果 판정",
}  # fmt: skip
_TEXTS = ("text", "normal", "defect")
MARKS = frozenset(
    ("x", "yes", "y", "ja", "j", "true", "1", "\u2713", "\u2714", "\u2705", "\u25cf", "\u2022", "o", "\u25cb")
)
NO_MARKS = frozenset(("no", "n", "nein", "false", "0", "\u2717", "\u2718", "\u274c"))


def _key(name: str) -> str:
    return "_".join(name.strip(" \t*`:_#").casefold().replace("-", " ").replace("_", " ").split())


def _bare(key: str) -> str:
    """A heading without accents."""
    kept = "".join(c for c in unicodedata.normalize("NFD", key) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", kept).replace("\u0142", "l").replace("\u0131", "i")


@cache
def _without_accents() -> dict[str, str]:
    """The role of each heading in any language by its bare form."""
    ours = {_bare(name): role for role, names in COLUMNS.items() for name in names}
    return {_bare(name): role for role, names in ELSEWHERE.items() for name in names.split()} | ours


def _role(name: str) -> tuple[str | None, int]:
    """What a column's name means, and how sure that is (the lower, the surer)."""
    key = _key(name)
    for role, names in COLUMNS.items():
        if key in names:
            return role, names.index(key)
    found = _without_accents().get(_bare(key))
    if found is not None:
        return found, len(COLUMNS[found])
    polarity = read_polarity(name)
    return ("status" if polarity == "mixed" else polarity), 99


def names_texts(heading: Sequence[str], understanding: Understanding) -> bool:
    """Whether a heading names a column of texts, so that the table can be read by its columns."""
    meant = [understanding.corrections.get(_key(name).replace("_", " ")) or _role(name)[0] for name in heading if name]
    return any(role in _TEXTS for role in meant) and (len(meant) > 1 or meant[:1] == ["text"])


def understood_columns(line: str, delimiter: str) -> int:
    """How well a line splits by a delimiter: columns that are known by name, then columns at all."""
    try:
        cells = next(csv.reader([line.strip("\r")], delimiter=delimiter), [])
    except csv.Error:
        return 0
    return 100 * sum(_role(cell)[0] is not None for cell in cells if cell.strip()) + min(len(cells), 99)


def find_roles(
    heading: Sequence[str], table: Sequence[tuple[int, list[str]]], understanding: Understanding
) -> dict[int, str]:
    """The role of each column by its number; where two have one role, the surer name has it."""
    found: dict[int, str] = {}
    sure: dict[str, tuple[int, int]] = {}
    unused: list[int] = []
    for i, name in enumerate(heading):
        role: str | None
        role, rank = _role(name)
        if corrected := understanding.corrected(_key(name)):
            role, rank = corrected, -1
        if role is None or role in ("ignore", "process", "standard"):
            unused += [i] if role is None else []
            continue
        values = [cells[i] for _, cells in table if cells[i]]
        if rank >= 0:
            role = _by_content(role, values)
        if role is None:
            unused.append(i)
            continue
        if role not in ("normal", "defect") and role in sure:
            if sure[role][0] <= rank:
                unused.append(i)
                continue
            unused.append(sure[role][1])
            del found[sure[role][1]]
        sure[role], found[i] = (rank, i), role
    _settle(found, unused, heading, table)
    names = {"defect_type": "type of defect", "normal": "text on good parts", "defect": "text on defects"}
    for i, role in sorted(found.items()):
        understanding.say(f"column {heading[i].strip()!r}: {names.get(role, role.partition(':')[0])}")
    for i in sorted(set(unused)):
        if any(cells[i] for _, cells in table):
            understanding.say(f"column {heading[i].strip() or str(i + 1)!r}: not understood, left out")
    return found


def _by_content(role: str, values: Sequence[str]) -> str | None:
    """What a column is by its values: marks under a polarity give the kind, numbers under it are counts."""
    if role == "defect_type" and values and all(_is_flag(value) for value in values) and any(
        not says_no_defect(value) for value in values
    ):  # fmt: skip
        return "kind:defect"
    if role not in ("normal", "defect") or not values:
        return role
    plain = {value.casefold() for value in values if not is_empty(value)}
    if all(_is_flag(value) for value in plain):
        return f"kind:{role}"
    if all(value.replace(".", "").replace(",", "").replace("%", "").strip().isdecimal() for value in plain):
        return None
    return role


def _settle(
    found: dict[int, str], unused: list[int], heading: Sequence[str], table: Sequence[tuple[int, list[str]]]
) -> None:
    """Give a column named "type" or "name" what another column leaves it: the defect's name, or the kind."""
    named = [i for i, role in found.items() if role == "defect_type"]
    spare = [i for i in unused if _role(heading[i])[0] == "defect_type"]
    for i in spare:
        values = [cells[i] for _, cells in table if cells[i]]
        if not named and values and not all(_is_flag(value) for value in values):
            found[i] = "defect_type"
            named = [i]
        elif values and all(value.casefold() in KINDS or _is_flag(value) for value in values):
            found[i] = "status"
        else:
            continue
        unused.remove(i)


def _is_flag(value: str) -> bool:
    return value.casefold() in MARKS | NO_MARKS or says_no_defect(value) or is_label(value)
