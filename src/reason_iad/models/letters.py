"""Reading which option an answer names, in every usual form, and how sure its first token was."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_READ = 8_000  # characters of an answer: its beginning and its end name the option
LEAST_MASS = 0.5  # of a token's probability that letters must hold, or it was about to say something else

# Where a thought ends: what stands before the last of these is no answer.
_THOUGHT_ENDS = re.compile(
    r"</think(?:ing)?>|</thought>|</reasoning>|\[/THINK\]|\u25c1/think\u25b7|<\|channel\|>\s*final\s*<\|message\|>",
    re.IGNORECASE,
)
_THOUGHT_BEGINS = re.compile(
    r"<think(?:ing)?>|<thought>|<reasoning>|\[THINK\]|\u25c1think\u25b7|<\|channel\|>\s*analysis", re.IGNORECASE
)
# Every repetition is bounded: an answer of nothing but marks must not take time squared.
_BOXES = (
    r"\\boxed\s{0,9}\{(.{0,200}?)\}",
    r"<answer>(.{0,200}?)(?:</answer>|$)",
    r"<\|begin_of_box\|>(.{0,200}?)<\|end_of_box\|>",
    r"\[\[(.{0,200}?)\]\]",
    r'"(?:answer|option|choice|letter)"\s{0,9}:\s{0,9}"((?:[^"\\]|\\.){0,200})"',
)
_MARKED_OFF = r"(?=\s{0,9}$|\s{0,9}[.):,;!*\"'`\]}>\n]|\s{1,9}[-\u2013\u2014=]\s)"
_OPEN = r"[\s(*\"'`\[{$_#>]{0,12}"
_STATED = (
    r"(?:(?:final|correct|right|best)\s{1,9})?(?:answer|option|choice|letter|antwort|auswahl)\*{0,3}\s{0,9}"
    r"(?:(?:(?:should|would|must)\s{1,9}be|is|are|ist|lautet|w\u00e4re)\b|[:=\u2013\u2014-]|\*{0,3}\s{0,9}:){0,4}"
    r"\*{0,3}\s{0,9}"
    r"(?:(?:the\s{1,9})?(?:letter|option|choice|answer|buchstabe)\b\s{0,9}:?\s{0,9})?"
)
_CHOSEN = r"(?:i (?:would )?(?:choose|select|pick)|ich w\u00e4hle)\s{1,9}(?:(?:option|answer|letter)\s{1,9})?"
_CALLED = re.compile(
    r"(?:^|[\s(*])([A-Z])[)*]{0,3}\s{1,9}(?:is|ist)\s{1,9}(?:the\s{1,9}|die\s{1,9})?(?:correct|right|best|answer|richtig)"
)
_SPECIAL = re.compile(r"(?:</s>|<\|(?:im_end|eot_id|end|endoftext|end_of_text)\|>|<eos>|<end_of_turn>)\s{0,9}$")
_SEVERAL = re.compile(
    r"^\W{0,12}[A-Z]\W{0,12}\s{0,9}(?:,|/|&|and|or|und|oder)\s{0,9}\W{0,12}[A-Z]\b(?!')", re.IGNORECASE
)


# "The answer is" as models say it in other languages, before a capital letter.
_ELSEWHERE = re.compile(
    r"(?:\b(?:respuesta|opci[o\u00f3]n|r[e\u00e9]ponse|risposta|opzione|resposta|op[c\u00e7][a\u00e3]o|antwoord|odpowied[z\u017a])"
    r"(?:\s{1,9}(?:correcta?e?|corretta|correta|juiste|poprawna))?\s{0,9}(?:\b(?:es|est|is|jest|to)\b|[\u00e8\u00e9:=])?\s{1,9}"
    r"|\b\u043e\u0442\u0432\u0435\u0442\s{0,9}[:=\u2013\u2014-]?\s{0,9}"
    r"|(?:\u6b63\u786e|\u6b63\u78ba)?(?:\u7b54\u6848|\u9009\u9879|\u9078\u9805|\u6b63\u89e3|\u7b54\u3048|\uc815\ub2f5|\ub2f5)"
    r"\s{0,9}[\u662f\u4e3a\u70ba\u306f\uc740\ub294:]{0,2}\s{0,9})(?=[(*\[`\"'$]{0,4}[A-Z](?![A-Za-z]))",
    re.IGNORECASE,
)
_LETTER_IN_SCRIPT = re.compile(r"(?<=(?<![A-Za-z])[A-Z])(?=[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3])")
_STOPS = str.maketrans({"\u3002": ". ", "\u3001": ", "})


def _western(text: str) -> str:
    """An answer with letters and stops as they are written in English, which other scripts have wider or other."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_STOPS)
    return _LETTER_IN_SCRIPT.sub(". ", _ELSEWHERE.sub(" Answer: ", plain))


def without_thought(text: str) -> str | None:
    """What an answer says after the model's thought; None where the thought was cut off before its end.

    >>> without_thought("<think>A or B?</think>B"), without_thought("<think>Let me look at")
    ('B', None)
    """
    ends = list(_THOUGHT_ENDS.finditer(text))
    tail = text[ends[-1].end() :] if ends else text
    return None if _THOUGHT_BEGINS.search(tail) else tail


def read_letter(text: str, letters: str, options: Sequence[str] = ()) -> str | None:
    r"""The letter of the option that an answer names; None where it names none, several, or contradicts itself.

    Read are, the first that is there: a box or tag, a statement ("the answer is B"), a letter that opens the answer or
    is all of it, one that stands as its last sentence, and the words of one option.

    >>> [read_letter(t, "ABC") for t in ("B. The left one", r"\boxed{C}", "The answer is b.", "A scratch", "A or B")]
    ['B', 'C', 'B', None, None]
    """
    said = without_thought(text)
    if said is None:
        return None
    said = _western(said).strip()
    if len(said) > _READ:
        said = f"{said[: _READ // 2]}\n{said[-_READ // 2 :]}"
    said = _SPECIAL.sub("", said).strip()
    for pattern in _BOXES:
        if found := re.findall(pattern, said, re.DOTALL):
            inner = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{?", "", found[-1])
            return _plain_letter(inner, letters, options)
    for phrase in (_STATED, _CHOSEN):
        if stated := [letter for letter in _stated(phrase, said) if letter.upper() in letters]:
            return stated[-1].upper()
    if called := [letter for letter in _CALLED.findall(said) if letter in letters]:
        return str(called[-1])
    if (letter := _plain_letter(said, letters, options)) is not None:
        return letter
    if _SEVERAL.match(said):
        return None
    last = re.search(rf"(?:^|[.!?:\n]\s{{0,9}}){_OPEN}([A-Z])[\s.)*\"'`\]]{{0,9}}$", said)
    return last[1] if last and last[1] in letters else None


def letter_probabilities(choice: dict[str, Any], letters: str, options: Sequence[str] = ()) -> tuple[float, ...] | None:
    """Probabilities among letters from the token that names one of them; None where none can be trusted.

    A letter counts only where letters hold most of the token's mass and the text goes on to name the likeliest of
    them: a thought, prose ("A part is shown") or marks before the answer would mislead. Letters that the server does
    not list share what it leaves open.

    Args:
        choice: one of an answer's choices.
        letters: those that may be named.
        options: their texts, for reading the answer.
    """
    for token in _answer_tokens(choice):
        listed = _dicts(token.get("top_logprobs")) or [token]
        mass = dict.fromkeys(letters, 0.0)
        total = 0.0
        for other in listed:
            share = _exp(other.get("logprob"))
            total += share
            letter = str(other.get("token", "")).strip(" .():*\"'\n\u2581\u0120`[]{}").upper()
            if letter and letter in mass:
                mass[letter] += share
        held = sum(mass.values())
        if held < LEAST_MASS or held <= 0:
            return None
        best = max(mass, key=mass.__getitem__)
        if read_letter(content_of(choice), letters, options) != best:
            return None
        missing = [letter for letter, value in mass.items() if value == 0]
        left = max(0.0, min(1.0 - total, min(_exp(one.get("logprob")) for one in listed) * len(missing)))
        if len(listed) == 1:
            left = max(0.0, 1.0 - total)
        for letter in missing:
            mass[letter] = left / len(missing)
        whole = sum(mass.values())
        return tuple(value / whole for value in mass.values())
    return None


def content_of(choice: dict[str, Any]) -> str:
    """The text of a choice, whether it came as a string or as parts; empty where there is none."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else choice.get("text")  # as before there was chat
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        parts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _answer_tokens(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The token that would be a letter: the first with a sign, or the one that opens the value of a JSON answer."""
    logprobs = choice.get("logprobs")
    tokens = _after_thought(_dicts(logprobs.get("content") if isinstance(logprobs, dict) else None), content_of(choice))
    before = ""
    value = re.compile(r'"(?:answer|option|choice|letter)"\s*:\s*"?\s*$')
    structured = content_of(choice).lstrip().startswith("{")
    for token in tokens:
        text = str(token.get("token", ""))
        if structured:
            if value.search(before) and text.strip(' "'):
                yield token
                return
        elif text.strip(" \n\t*([{\"'`_#>$\u2581\u0120"):
            yield token
            return
        before += text


def _after_thought(tokens: list[dict[str, Any]], content: str) -> list[dict[str, Any]]:
    """The tokens of the answer: those behind a thought, whether the text holds it or it came apart.

    Servers list the tokens of a thought before those of the answer, also where the text of it stands elsewhere.
    """
    texts = [str(token.get("token", "")) for token in tokens]
    joined, said = "".join(texts), (without_thought(content) or "").strip()
    ends = list(_THOUGHT_ENDS.finditer(joined))
    start = ends[-1].end() if ends else 0
    if not start and said and (place := joined.rfind(said)) > 0 and joined[place:].strip() == said:
        start = place
    passed = 0
    for number, text in enumerate(texts):
        if passed >= start:
            return tokens[number:]
        passed += len(text)
    return tokens if not start else []


def _plain_letter(text: str, letters: str, options: Sequence[str]) -> str | None:
    """A letter that opens a text, marked off from what follows, or the option whose words open it."""
    if _SEVERAL.match(text) and not _option_of(text, options):
        return None
    prefix = r"(?:(?:option|answer|choice|letter)\s+)?"
    found = re.match(rf"{_OPEN}{prefix}{_OPEN}([A-Z]){_MARKED_OFF}", text, re.IGNORECASE)
    if found and found[1].upper() in letters and (found[1].isupper() or _closes(text, found.end())):
        letter = found[1].upper()
        named = _option_of(text[found.end() :], options, whole=True)
        return letter if named in (None, letter) else None
    return _option_of(text, options)


def _stated(phrase: str, text: str) -> Iterator[str]:
    """Letters that a text states as its answer: upper case, or lower case and marked off on both sides."""
    for found in re.finditer(rf"\b{phrase}{_OPEN}([A-Z]){_MARKED_OFF}", text, re.IGNORECASE):
        if found[1].isupper() or _closes(text, found.end()):
            yield found[1]


def _closes(text: str, end: int) -> bool:
    """Whether a small letter that ends here is set off like a label, not a word such as "a"."""
    return bool(re.match(r"\s*$|[).:\]}*\"'`]", text[end:]))


def _option_of(text: str, options: Sequence[str], whole: bool = False) -> str | None:
    """The letter of the one option whose words a text is, or begins with."""
    said = _words(text)
    if not said:
        return None
    named: list[tuple[int, str]] = []
    for letter, option in zip(LETTERS, options, strict=False):
        words = _words(option)
        if words and (said == words if whole else said[: len(words)] == words):
            named.append((len(words), letter))
    if not named:
        return None
    longest = [letter for length, letter in named if length == max(named)[0]]
    return longest[0] if len(longest) == 1 else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _exp(logprob: Any) -> float:
    """A probability from what a server calls a log-probability; 0 for anything that is none."""
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or math.isnan(logprob):
        return 0.0
    return math.exp(min(float(logprob), 0.0))


def read_json_letter(text: str, letters: str) -> str | None:
    """The letter of an answer that keeps to a JSON schema; None where it does not.

    >>> read_json_letter('{"answer": "B"}', "AB"), read_json_letter("B", "AB")
    ('B', None)
    """
    said = without_thought(text)
    try:
        found = json.loads(re.sub(r"^```(?:json)?|```$", "", (said or "").strip()).strip())
    except (ValueError, RecursionError):
        return None
    letter = found.get("answer") if isinstance(found, dict) else None
    return letter if isinstance(letter, str) and len(letter) == 1 and letter in letters else None
