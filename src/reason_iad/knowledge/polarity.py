"""Whether a heading, a column's name or a cell speaks of good parts or of faults.

Words carry a polarity, negation turns it, and what permits ("acceptable defects") outweighs what it permits. This is a
rule over English and German words and those that stand in headings in French, Spanish, Italian, Portuguese, Dutch,
Polish, Czech, Russian, Turkish, Hungarian, the Nordic languages, Chinese, Japanese and Korean, so its result is always
shown to the user, who can correct it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Polarity = Literal["normal", "defect", "mixed"]

# Words that permit or forbid: beside "defects" they decide ("acceptable defects", "Fehler, die zulaessig sind").
_PERMIT = (
    r"accept(?:able|ed|ance|ability|s)?|allow(?:ed|able)|permitted|permissible|tolera(?:ble|ted)|admissible|passed|"
    r"approved|akzeptab\w+|akzeptiert\w*|zulaessig\w*|erlaubt\w*|tolerier\w+|annehmbar\w*|angenommen\w*|"
    r"freigegeben\w*|freigabe|bestanden\w*|admis\w*|tolere\w*|tolerad\w*|acepta\w+|accetta\w+|ammess\w+|admit\w+|permis\w*|"
    r"acceptee?s?|acceptabel\w*|aceit\w+|aprova\w+|aproba\w+|approuv\w+|approvat\w+|goedgekeurd\w*|toegestaan\w*|"
    r"dopuszcz\w+|akcept\w+|zaakcept\w+|prijateln\w+|pripustn\w+|vyhovuj\w+|schvalen\w*|godkaen\w+|godken\w+|godkan\w+|"
    r"hyv(?:ae|a)ksyt\w+|elfogad\w+|приемлем\w*|допустим\w*|принят\w*"
)
_FORBID = (
    r"reject\w*|refus\w*|forbidden|prohibited|disallowed|disapproved|fail(?:ed|s|ing)?|abgelehnt\w*|zurueckgewiesen\w*|"
    r"rueckweis\w+|verboten\w*|gesperrt\w*|beanstand\w*|rejet\w*|rebut\w*|rechaz\w+|scart\w+|rifiut\w+|"
    r"reprov\w+|rejeit\w+|respint\w+|afgekeur\w*|afkeur\w*|odrzuc\w+|zamitnut\w+|underk(?:ae|a)n\w+|kassera\w*|reddedil\w*|"
    r"отклонен\w*|брак\w{0,3}|забракован\w*"
)
_GOOD = (
    r"good|normal(?:e[rsnm]?|zustand|teil\w*|bild\w*|fall)?|conform\w*|compl(?:iant|iance|ies|ying)|intact|ok|okay|satisfactory|flawless|perfect|"
    r"proper|usable|gut(?:e[rsnm]?)?|gut(?:teil|stueck|muster|bild|zustand|fall|beispiel)\w*|(?!nicht)\w*konform\w*|normgerecht\w*|"
    r"einwandfrei\w*|tadellos\w*|makellos\w*|brauchbar\w*|ordnungsgemaess\w*|sollzustand|intakt\w*|bon(?:ne)?s?|"
    r"buen[oa]s?|buon[oaie]?|normale?s?|aceptables?|bien|fehlerlos\w*|korrekt\w*|"
    r"goede?|zgodn\w+|dobr(?:y|a|e|ych|ymi)|shodn\w+|megfelelo\w*|hibatlan\w*|hatas[iı]z\w*|kusursuz\w*|uygun|"
    r"годен|годн\w+|исправн\w+"
)
_BAD = (
    r"defect(?:s|ive|ives)?|fault(?:s|y)?|flaw(?:s|ed)?|anomal\w+|bad|ng|nok|nio|failures?|scrap(?:s|ped)?|"
    r"damage[sd]?|broken|imperfections?|blemish(?:es|ed)?|discrepan\w+|deviat\w+|errors?|irregular\w*|substandard|"
    r"\w*fehler\w*|\w*mangel|mangelhaft\w*|\w*maengel\w*|schlecht\w*|ausschuss\w*|\w*schaden|\w*schaeden|schadhaft\w*|"
    r"schad(?:bild|stelle)\w*|beschaedig\w*|\w*defekt\w*|abweich\w+|auffaellig\w*|anormal\w*|"
    r"defauts?|defectueu\w+|mauvais\w*|defecto\w*|mal[oa]s?|difett\w+|abnormal\w*|aberrant\w*|"
    r"defeit\w+|gebrek\w*|fout(?:en|ief|ieve)?|wad(?:a|y|liw\w+)?|vad(?:a|y|n\w+)?|hatal[iı]\w*|kusur(?:lar|lu)?|"
    r"дефект\w*|fel|fejl|virheet?|hib(?:a|as|ak)"
)
# Words with other meanings ("pass 2 of the weld", "correct the offset"): they count where nothing else is said.
_WEAK_GOOD = r"pass(?:es)?|fine|sound|correct|right|fit|clean|io|richtig\w*|inorder"
_WEAK_BAD = r"wrong|poor|falsch\w*|fail|incorrect|ko"
_NOT = (
    r"not|no|non|never|nothing|without|none|neither|nor|lacking|cannot|nicht|kein\w{0,2}|ohne|nie|niemals|weder|noch|nichts|frei_von|"
    r"pas|sans|aucune?|sin|ningun[oa]?|senza|nessun[oa]?|zero|nao|niet|geen|zonder|bez|ne|не|без|ej|inte|ikke|uden|utan|nem|ei"
)
# These hold for every member of a list: "without cracks and defects".
_SPREADING = r"without|ohne|frei_von|sans|sin|senza|zonder|bez|без|uden|utan"
_FREE = r"free|frei\w{0,2}|less|los"
_PREFIX = re.compile(r"(?:un|non|in|im|ab|dis|nicht|nich|not|nie|ne|не|on)(?=\w{3})")
_FREE_SUFFIX = re.compile(r"(?:s?frei|free|los|less|vrij|loos|fri)(?:e[rsnm]?)?$")
_FILLER = (
    r"the|a|an|of|for|to|be|is|are|as|in|on|and|or|vs|und|oder|der|die|das|den|des|le|la|les|de|das|"
    r"part|parts|piece|pieces|item|items|unit|units|product|products|example|examples|sample|samples|image|images|"
    r"picture|pictures|photo|photos|criteria|criterion|condition|conditions|characteristics?|features?|appearance|state|"
    r"status|list|types?|catalog(?:ue)?|description|limits?|quality|found|use|teile?n?|werkstuecke?|beispiele?|muster|"
    r"bild|bilder|merkmale?|kriterien|zustand|zustaende|liste|arten|beschreibung|aussehen|qualitaet|"
    r"pieces?|criteres?|exemples?|piezas?|pezz[oi]|x?\d+(?:_\d+)*|[a-z]"
)
_BREAK = re.compile(r"[,;:()\[\]]|\s[-\u2013\u2014]\s")
_CONJUNCT = re.compile(r"(?:\s(?:and|or|und|oder|vs\.?|versus|et|ou|y|o|e|noch|nor)\s)|[/|&+]")
# One sign a word: the longest is taken first, so that "not good" is found before "good" in it.
_SIGNS: tuple[tuple[str, str], ...] = tuple(
    (sign, word)
    for signs, word in (
        (
            "不合格 不良 次品 异常 異常 不可 불합격 불량 ✗ ✘ ❌",
            "nok",
        ),
        ("缺陷 欠陥 缺陥 결함", "defect"),
        ("合格 良品 正常 합격 양품 정상 ✓ ✔ ✅", "ok"),
        ("无 無", "no"),
        ("なし", "free"),
        ("品", "part"),
    )
    for sign in signs.split()
)
_SHORT: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), f" {word} ")
    for pattern, word in (
        (r"n['\u2019]t\b", "not"),
        (r"\bno?\.?\s*(?=\d)|\bnos\.\s*(?=\d)", ""),  # a number: "No. 5"
        (r"\bn\s?[./]?\s?i\s?\.?\s?o\b\.?", "nio"),
        (r"(?<![\w.])i\s?\.\s?o\b\.?|\bin ordnung\b", "ok"),
        (r"\bn\s?\.\s?g\b\.?", "ng"),
        (r"\bn\s?\.\s?o\s?\.\s?k\b\.?|\bn\s?[./]\s?ok\b|\bn[.-]?o[.-]?k\b\.?", "nok"),
        (r"\bo\s?\.\s?k\b\.?", "ok"),
        (r"\bsem (?=defeit|falha|problema)", "sans"),  # Portuguese; elsewhere a microscope
        (r"\bkabul edileme\w*|\buygun değil\w*", "nok"),
        (r"\bkabul edil\w*", "ok"),
        (r"\bgood (?:manufacturing |laboratory )?practices?\b|\bin order to\b|\berror codes?\b", "matter"),
        (r"\bin order\b", "inorder"),
        (r"\b(?:out of|outside|beyond) (?:the )?(?:specifications?|specs?|tolerances?|limits?)\b", "nok"),
        (r"\b(?:within|in) (?:the )?(?:specifications?|specs?|tolerances?|limits?)\b", "ok"),
        (r"\bau(?:sser|\u00dfer)halb (?:der |des )?(?:toleranz(?:en)?|spezifikation(?:en)?|grenzen?)\b", "nok"),
        (r"\binnerhalb (?:der |des )?(?:toleranz(?:en)?|spezifikation(?:en)?|grenzen?)\b", "ok"),
        (r"\bfree (?:of|from)\b|\bfrei von\b|\bexempte?s? de\b|\blibres? de\b|\bprivo di\b", "frei_von"),
    )
)
_READ = 200  # characters: what says its polarity later than that is no heading
_UMLAUTS = str.maketrans({"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00df": "ss"})
# What says nothing in any column, and what says in a column of defects that there is none.
_NOTHING = """
    none n/a n.a. na - -- --- \u2013 \u2014 / nil null nan #n/a keine keiner kein k.a. ohne entfällt entfaellt aucun
    ninguno nessuno 无 無 なし
"""
EMPTY = frozenset((*_NOTHING.split(), "n. a.", "k. a."))
_NO_DEFECT = EMPTY | {"no", "0", "nothing", "nichts", "good", "normal", "ok"}


def read_polarity(text: str) -> Polarity | None:
    """What a heading or a name speaks of: good parts, faults, both ("accept / reject"), or neither.

    >>> [read_polarity(t) for t in ("Not acceptable", "n.i.O. Merkmale", "No defects", "Pass / fail", "Storage")]
    ['defect', 'defect', 'normal', 'mixed', None]
    """
    found = {polarity for segment in _segments(text[:_READ]) for polarity in segment}
    if not found:
        return None
    if len(found) > 1:
        return "mixed"
    return "normal" if found.pop() > 0 else "defect"


def is_label(text: str) -> bool:
    """Whether a text says a polarity and nothing else, as "Not acceptable:" or "Gutteile" do."""
    if len(text) > 60 or read_polarity(text) is None:
        return False
    words = _words(_prepared(text))
    return all(_weight(word) or re.fullmatch(rf"{_NOT}|{_FREE}|{_FILLER}", word) for word in words)


def says_no_defect(text: str) -> bool:
    """Whether a cell for the name of a defect says that there is none.

    >>> [says_no_defect(t) for t in ("n/a", "-", "No defect", "fehlerfrei", "crack")]
    [True, True, True, True, False]
    """
    plain = " ".join(text.casefold().split())
    return plain in _NO_DEFECT or (is_label(plain) and read_polarity(plain) == "normal")


def is_empty(text: str) -> bool:
    """Whether a cell says in words or signs that nothing stands in it."""
    plain = " ".join(text.casefold().split())
    return not plain or plain in EMPTY


def _prepared(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    for sign, word in _SIGNS:
        plain = plain.replace(sign, f" {word} ")
    for pattern, word in _SHORT:
        plain = pattern.sub(word, plain)
    plain = unicodedata.normalize("NFC", plain).translate(_UMLAUTS)
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))


def _segments(text: str) -> list[list[int]]:
    """Polarities, 1 or -1, in each member of a list such as "accepted / rejected"."""
    plain = _prepared(text)
    pieces = _CONJUNCT.split(f" {plain} ")
    joints = [joint.strip() for joint in _CONJUNCT.findall(f" {plain} ")]
    found, negations, spreading = [], 0, 0
    for number, piece in enumerate(pieces):
        kept = spreading
        if number and joints[number - 1] in ("or", "oder", "nor", "noch", "ou", "o"):
            kept = negations
        polarities, negations, spreading = _polarities(piece, kept)
        found.append(polarities)
    return found


def _polarities(piece: str, negations: int) -> tuple[list[int], int, int]:
    """Polarities in one member of a list, its negations, and those of them that hold for the next member too."""
    permits: list[int] = []
    others: list[int] = []
    spreading = negations
    for clause in _BREAK.split(piece):
        words = _words(clause)
        for number, word in enumerate(words):
            if re.fullmatch(_NOT, word) and not _weight(word):
                negations += 1
                spreading += bool(re.fullmatch(_SPREADING, word))
                continue
            weight = _weight(word)
            if not weight or (abs(weight) == 1 and not _alone(words)):
                continue
            sign = (1 if weight > 0 else -1) * (-1 if negations % 2 else 1)
            if number + 1 < len(words) and re.fullmatch(_FREE, words[number + 1]):
                sign = -sign
            (permits if abs(weight) == 3 else others).append(sign)
    return permits or others, negations, spreading


def _alone(words: list[str]) -> bool:
    return all(_weight(word) or re.fullmatch(rf"{_NOT}|{_FILLER}", word) for word in words)


@lru_cache(maxsize=4096)
def _weight(word: str) -> int:
    """1 to 3 for a word about good parts, -1 to -3 for one about faults, 0 for others; 3 permits, 1 is weak."""
    for weight, good, bad in ((3, _PERMIT, _FORBID), (2, _GOOD, _BAD)):
        # "fehlerfrei" holds "fehler": what ends in "free" is looked at below
        free = _FREE_SUFFIX.search(word)
        if free and re.fullmatch(_BAD, word[: free.start()]):
            return 2
        if re.fullmatch(good, word):
            return weight
        if re.fullmatch(bad, word):
            return -weight
    if found := _PREFIX.match(word):
        rest = word[found.end() :]
        for weight, good, bad in ((3, _PERMIT, _FORBID), (2, _GOOD, _BAD), (1, _WEAK_GOOD, _WEAK_BAD)):
            if re.fullmatch(good, rest):
                return -max(weight, 2)
            if re.fullmatch(bad, rest):
                return max(weight, 2)
    if re.fullmatch(_WEAK_GOOD, word):
        return 1
    return -1 if re.fullmatch(_WEAK_BAD, word) else 0


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace("frei von", "frei_von"))
