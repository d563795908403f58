"""What headings and cells speak of: good parts, faults, both, or neither."""

from __future__ import annotations

import pytest

from reason_iad.knowledge.polarity import is_label, read_polarity, says_no_defect

GOOD = """
    Acceptable|Good parts|i.O.|i. O.|In Ordnung|OK|O.K.|Accepted|Acceptance criteria|No defects|Defect-free|
    Defect free parts|Without defects|Free of defects|fehlerfrei|Fehlerfreie Teile|mängelfrei|Keine Mängel|Ohne Fehler|
    einwandfrei|Gutteile|Zulässige Fehler|Acceptable defects|Defects that are acceptable|Fehler, die zulässig sind|
    Permitted deviations|Not defective|Not a defect|Undamaged|Unbeschädigt|Nicht fehlerhaft|unauffällig|Pass|
    Within tolerance|innerhalb der Toleranz|Not to be rejected|Nothing wrong|No cracks or defects|Nicht zu beanstanden|
    合格|良品|无缺陷|Conforme|Sin defectos|Sans défaut|2.1 Acceptable conditions|✓
"""
BAD = """
    Not acceptable|Unacceptable|No good|NG|N.G.|n.i.O.|n. i. O.|NIO|nicht in Ordnung|Nicht i.O.|n.i.O. Merkmale|reject|
    Rejection criteria|Not OK|not o.k.|NOK|n/ok|Non-conforming|nonconformity|Noncompliant|Bad parts|Fail|Failure modes|
    Scrap|Ausschuß|Schlechtteile|Fehlerbilder|Oberflächenfehler|Nicht zulässig|Unzulässige Fehler|
    Nicht zulässige Abweichungen|Unacceptable defects|nicht akzeptabel|Nichtkonform|Must not be accepted|Don't accept|
    Isn't acceptable|Not free of defects|Nicht fehlerfrei|Out of tolerance|außerhalb der Toleranz|abgelehnt|
    Defects which must be rejected|不合格|不良|Non conforme|Défauts|Incorrect|Not normal|unsatisfactory|
    Not without defects|nicht bestanden|2.2 Not acceptable|❌
"""
GOOD_ELSEWHERE = """
    Acceptable|Conforme|Pièces bonnes|Sans défaut|Accepté|Aceptable|Aprobado|Sin defectos|Accettabile|Accettato|
    Senza difetti|Aceitável|Aprovado|Sem defeitos|Acceptabel|Goedgekeurd|Goed|Zonder gebreken|Dopuszczalne|Zgodny|
    Zaakceptowane|Bez wad|Dobre|Přijatelné|Bez vad|Shodné|Vyhovuje|Kabul edilebilir|Hatasız|Uygun|Годен|
    Без дефектов|Приемлемо|Godkänd|Utan fel|合格|良品|OK品|양품|합격|Megfelelő|Hibátlan|Hyväksytty|Godkendt|Uden fejl
"""
BAD_ELSEWHERE = """
    Non acceptable|Non conforme|Défauts|Rebut|Refusé|Inacceptable|Pièces défectueuses|No aceptable|Rechazado|
    No conforme|Defectos|Inaceptable|Non accettabile|Difetti|Scarto|Respinto|Não aceitável|Reprovado|Rejeitado|
    Não conforme|Defeitos|Inaceitável|Niet acceptabel|Afgekeurd|Afkeur|Gebreken|Niet goed|Fouten|Niedopuszczalne|
    Niezgodny|Odrzucone|Wady|Wadliwe|Nepřijatelné|Vady|Neshodné|Zamítnuto|Nevyhovuje|Kabul edilemez|Hatalı|
    Kusurlar|Uygun değil|Брак|Дефекты|Не годен|
    Неприемлемо|Ej godkänd|Underkänd|Fel|不合格|不良|缺陷|NG品|불량|불합격|Hibás|
    Nem megfelelő|Ei hyväksytty|Ikke godkendt|Fejl
"""
BOTH = """
    Accept / reject|Pass/fail|OK / NOK|Good and bad parts|Accepted vs rejected|i.O. / n.i.O.|gut/schlecht|
    Acceptable and not acceptable|Conforming or nonconforming
"""
NEITHER = """
    Storage|Second pass of the weld|Goods receipt|IO module|Good manufacturing practice|In order to clean|
    Correct the offset|Right side|Tolerances|SEM images|Gutachten|No. 5|Instructions|Los 5
"""


def texts(given: str) -> list[str]:
    return [text.strip() for text in given.split("|")]


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        *((text, "normal") for text in texts(GOOD)),
        *((text, "defect") for text in texts(BAD)),
        *((text, "normal") for text in texts(GOOD_ELSEWHERE)),
        *((text, "defect") for text in texts(BAD_ELSEWHERE)),
        *((text, "mixed") for text in texts(BOTH)),
        *((text, None) for text in texts(NEITHER)),
    ],
)
def test_negation_turns_what_a_heading_says(text: str, polarity: str | None) -> None:
    assert read_polarity(text) == polarity


def test_a_label_says_a_polarity_and_nothing_else() -> None:
    assert all(map(is_label, ("Not acceptable", "n.i.O. Merkmale", "Good parts", "no defect")))
    assert not any(map(is_label, ("Broken wire", "Missing clip", "Crack", "Reject lids with a dent")))


@pytest.mark.parametrize(
    "text", ["n/a", "N/A", "none", "-", "\u2013", "no defect", "kein Fehler", "k.A.", "OK", "i.O."]
)
def test_signs_for_nothing_are_no_defect(text: str) -> None:
    assert says_no_defect(text)


@pytest.mark.parametrize("text", ["crack", "NG", "Kein Gewinde", "no label", "nonwoven"])
def test_names_that_begin_like_a_negation_are_defects(text: str) -> None:
    assert not says_no_defect(text)
