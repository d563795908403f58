"""Four languages: nothing marked is left untranslated, and what reports keep is found again when it is shown."""

from __future__ import annotations

import argparse
import ast
import json
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import reason_iad
from reason_iad import languages
from reason_iad.errors import InputError
from reason_iad.evidence import conformal, suitability
from reason_iad.evidence.looks import Look
from reason_iad.inspection.verdict import VerdictOptions, decide
from reason_iad.knowledge.translations import text_of, told, translated
from reason_iad.languages import LANGUAGES, _, moment, number, several, speaking
from reason_iad.locale import extract, places
from reason_iad.types import PLACES, EvidenceSummary

PACKAGE = Path(reason_iad.__file__).parent
OTHERS = tuple(code for code in LANGUAGES if code != "en")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))


def marked_in_python() -> set[str]:
    """Every plain text under `_`, `several` and `translatable`, found by the syntax tree: in f-strings, too."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "several", "translatable"):
                texts = node.args[: 2 if node.func.id == "several" else 1]
                found |= {one.value for one in texts if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return found


def marked_in_scripts() -> set[str]:
    """Every text under `_` and `several` in the page's scripts, also inside of template strings."""
    found = set()
    for path in PACKAGE.rglob("web/*.js"):
        source = path.read_text("utf-8")
        found |= set(re.findall(r'\b_\("((?:[^"\\]|\\.)*)"', source))
        for pair in re.findall(r'\bseveral\("([^"]*)", "([^"]*)"', source):
            found |= set(pair)
    return found


def holes(text: str) -> set[str]:
    return {name for _text, name, _form, _kind in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_has_a_translation_with_the_same_holes(code):
    from reason_iad.locale import catalogs

    wanted, catalog = catalogs.template(), catalogs.read(code)
    known = {message.id: message for message in catalog if message.id}
    missing = [message.id for message in wanted if message.id and message.id not in known]
    assert missing == [], "run `python -m reason_iad.locale.catalogs`, then translate what is empty"
    assert set(known) <= {message.id for message in wanted if message.id}, "run `python -m reason_iad.locale.catalogs`"
    for message in known.values():
        assert all(catalogs.strings(message)), f"{code} has no translation of {message.id!r}"
        assert not message.fuzzy, f"{code} is not sure of {message.id!r}"
        forms = message.id if isinstance(message.id, tuple) else (message.id,)
        for text in catalogs.strings(message):
            assert holes(text) <= set().union(*map(holes, forms)), message.id
            assert holes(text) >= holes(forms[0]) - {"count"}, message.id
    flat = {one for key in known for one in (key if isinstance(key, tuple) else (key,))}
    assert marked_in_python() <= flat
    assert marked_in_scripts() <= flat


@pytest.mark.parametrize("code", OTHERS)
def test_the_compiled_catalog_is_that_of_the_text(code):
    from reason_iad.locale import catalogs

    assert catalogs.path_of(code).with_suffix(".mo").read_bytes() == catalogs.compiled(catalogs.read(code))


def found_sentences() -> list[str]:
    return sorted({text for found in extract.found_in_python() for text in found.texts if isinstance(text, str)})


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_of_the_source_is_found_again_when_it_is_shown(code):
    with speaking(code):
        for text in found_sentences():
            filled = {name: f"x{position}y" for position, name in enumerate(sorted(holes(text)))}
            fixed = sum(len(plain) for plain, *_rest in string.Formatter().parse(text))
            if filled and (fixed <= 5 or (fixed < 15 and text[0] == "{" and text[-1] == "}")):
                continue  # too little to know it by, but inside of another
            assert not re.search(r"[}][{]", text), f"holes side by side cannot be told apart: {text}"
            template = bool(filled) or "{{" in text
            shown, wanted = (one.format(**filled) if template else one for one in (text, _(text)))
            assert languages.told(shown) == wanted


def worded(node: ast.AST) -> list[str]:
    """Literals with a word inside of an expression, but those under a mark, in JSON and in keys."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (*places.MARKS, "told", "counted"):
        return []
    if isinstance(node, ast.Subscript) or (isinstance(node, ast.Call) and ast.unparse(node.func) == "json.dumps"):
        return []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        plain = node.value.replace("reason-iad", "").replace("UTC", "")
        return [node.value] if re.search(r"[A-Za-z]{3}", plain) else []
    return [text for child in ast.iter_child_nodes(node) for text in worded(child)]


PASSED_ON = {"message.replace(', or set REASON_IAD_MAX_PIXELS', '')"}  # a message that was made elsewhere, cut


def test_every_message_of_an_error_is_a_sentence_that_extraction_can_read():
    unread = []
    for path in places.sources():
        reader = extract.Reader(path, path.name)
        for call, local in reader.calls():
            if isinstance(call.func, ast.Name) and call.func.id in {*places.errors(), "HttpProblem"}:
                reader.local = local
                unread += [
                    f"{path.name}:{call.lineno}: {ast.unparse(text)}"
                    for text in places.said_by(call)
                    if worded(text) and not reader.sentences(text, []) and ast.unparse(text) not in PASSED_ON
                ]
    assert unread == [], "write the message as an f-string where it is raised, or mark it with translatable(f'...')"


def test_every_note_of_a_report_is_a_sentence_that_extraction_can_read():
    unread, read = [], 0
    for path in places.sources():
        reader = extract.Reader(path, path.relative_to(PACKAGE).as_posix())
        for call, local in reader.calls():
            reader.local = local
            for text in reader.noted(call):
                read += bool(found := reader.sentences(text, []))
                if worded(text) and not found:
                    unread.append(f"{reader.name}:{call.lineno}: {ast.unparse(text)}")
    assert unread == [], "write the note as an f-string where it is added, or mark it with translatable(f'...')"
    assert read > 30


def help_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every text of a command's help and of those below it."""
    yield from (text for text in (parser.description, parser.epilog) if text)
    for action in parser._actions:
        if action.help and action.help != argparse.SUPPRESS:
            yield action.help
        if isinstance(action, argparse._SubParsersAction):
            yield from (choice.help for choice in action._choices_actions if choice.help)
            for below in action.choices.values():
                yield from help_of(below)


def without_commands(text: str) -> str:
    """A text without its lines that show a command, such as those of examples."""
    return re.sub(r"^  reason-iad .*$", "", text, flags=re.MULTILINE).lower()


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_of_any_commands_help_is_shown_in_english(code):
    from reason_iad.cli.app import build_parser

    texts = set(help_of(build_parser()))
    assert len(texts) > 250
    english = {"the", "of", "and", "with", "to", "a", "is", "for", "this", "what", "each"}
    with speaking(code):
        same = [text for text in texts if len(text.split()) > 2 and languages.told(text.replace("%%", "%")) == text]
        half = [
            shown
            for text in texts
            if len(english & set(without_commands(shown := languages.told(text.replace("%%", "%"))).split())) > 1
        ]
    assert (same, half) == ([], [])


def test_no_line_of_the_terminal_stands_outside_the_catalogs():
    """`print` and `write` are for programs, and for what is translated already; people are told by `say` and `note`."""
    left = []
    for path in (PACKAGE / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "sys.stderr.write",
                "sys.stdout.write",
            ):
                left += [f"{path.name}:{node.lineno}: {text}" for one in node.args for text in worded(one)]
    assert left == []


def visible_text_of_templates() -> list[str]:
    """Words in the pages that no `_` would translate: what Babel does not see and a reader does."""
    left = []
    for path in (*PACKAGE.rglob("web/*.html"), *PACKAGE.glob("reporting/templates/*.html")):
        body = path.read_text("utf-8").partition("<body")[2] or path.read_text("utf-8")
        body = re.sub(r"<(script|style|svg)\b.*?</\1>", "", body, flags=re.DOTALL)
        plain = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|<[^>]*>", "\n", body, flags=re.DOTALL)
        left += [line.strip() for line in plain.split("\n") if re.search(r"[A-Za-z]{3}", line)]
    return left


def test_no_word_of_a_page_stands_outside_the_catalogs():
    assert set(visible_text_of_templates()) <= {"Reason-IAD", "SHA-256"}


@pytest.mark.parametrize("code", OTHERS)
def test_sentences_that_reports_keep_are_shown_in_the_language(code):
    calm, odd = np.full((40, 40, 3), 255, np.uint8), EvidenceSummary(12, 0.55, 0.05, True, "", num_normals=60)
    kept = [
        decide(0.5, None, VerdictOptions(0.02))[1][0],
        decide(0.9, odd, VerdictOptions(0.02))[1][0],
        decide(0.9, EvidenceSummary(12, 0.1, 0.9, True, "", num_normals=60), VerdictOptions(0.02))[1][0],
        decide(0.9, odd, VerdictOptions(0.02), (0.1, 0.9))[1][0],
        decide(0.9, odd, VerdictOptions(0.02), None, suitability.why_empty(calm))[1][0],
        conformal.describe_promise(12, 0.02), conformal.describe_promise(120, 0.02),
        "Compared with 8 normal references: differs at center (strong), top left (clear) (score 0.97).",
        "Compared with 8 normal references: no area differs more than normal parts do (score 0.12); the oddest is at "
        "top left (weak). Odder than each of the 8 references beside the others.",
        "Defect on the tablet: chipped edge, top left; tiny and compact, darker than its surroundings.",
        "Possible defect on the tablet: type not certain, perhaps crack or chipped edge, place not certain.",
        "plate.png was turned upright by its EXIF orientation (6)",
        *PLACES,
    ]  # fmt: skip
    english = {"the", "because", "normal", "defective", "uncertain", "with", "references", "look", "part", "of"}
    with speaking(code):
        for text in kept:
            shown = told(text)
            assert shown != text
            assert not english & set(shown.lower().replace(",", " ").split()), shown


@pytest.mark.parametrize("code", OTHERS)
def test_how_the_bundled_model_was_calibrated_is_told_in_the_language(code):
    fusion = json.loads((PACKAGE / "data" / "nano" / "adapter.json").read_text("utf-8"))["fusion"]
    with speaking(code):
        for form in fusion.values():
            assert not {"the", "on", "that", "may"} & set(told(form["note"]).split()), told(form["note"])


@pytest.mark.parametrize("code", OTHERS)
def test_what_is_measured_of_an_areas_look_is_told_in_the_language(code):
    looks = [
        Look("center", size, shape, tone, hue, direction, sharpness, border).phrase + "."
        for size, shape, direction in (("tiny", "compact", "no direction"), ("large", "elongated", "upright"))
        for tone in ("darker than", "about as bright as")
        for hue in ("redder", "of the same hue")
        for sharpness in ("sharp", "gradual", "")
        for border in ("at the edge", "inside")
    ]
    assert len(set(looks)) > 40
    with speaking(code):
        for text in looks:
            shown = told(f"Defect on the part: crack, center; {text}")
            assert not re.search(r"[a-z]*(than|surroundings|border|bounded|tiny|large|edge|bright)\b", shown), shown


@pytest.mark.parametrize("code", OTHERS)
def test_what_has_no_translation_is_shown_as_it_is(code):
    with speaking(code):
        for text in ("A sentence nobody has seen. And one more.", "", "part_017.png", "{odd}", "100/3"):
            assert told(text) == text


@pytest.mark.parametrize("code", OTHERS)
def test_free_words_of_a_model_are_no_sentence_of_the_program(code):
    free = "A thin line runs from the middle left to the center; a scratch above the hole lies between rim and edge."
    with speaking(code):
        assert told(free) == free


def test_a_name_that_stands_as_a_sentence_is_known_too():
    with speaking("de"):
        assert [told(text) for text in ("Chipped edge.", "Center.", "Yes.", "Nobody knows.")] == [
            "Ausgebrochene Kante.", "Mitte.", "Ja.", "Nobody knows.",
        ]  # fmt: skip
    with speaking("ja"):
        assert told("Chipped edge.") == "縁欠け。"


def test_numbers_dates_and_counts_follow_the_language():
    at = datetime(2026, 11, 28, 14, 5)
    with speaking("de"):
        assert (number(1234.5, 1), _("under 0.1 %")) == ("1.234,5", "unter 0,1 %")
        assert several("{count} image", "{count} images", 1) == "1 Bild"
        assert several("{count} image", "{count} images", 1200) == "1.200 Bilder"
        assert moment(at, "short").startswith("28.11.26")
        assert told("about 2 % is 0.35") == "about 2 % is 0.35"
    with speaking("ja"):
        assert several("{count} image", "{count} images", 2) == "画像 2 枚"
        assert moment(at, "short").startswith("2026/11/28")
    with pytest.raises(InputError, match="expected one of en, de, zh, ja"):
        languages.speak("fr")


@pytest.mark.parametrize("code", OTHERS)
def test_knowledge_is_shown_in_the_language_and_falls_back_to_the_entry(code, tmp_path):
    pairs = translated(code)
    assert {known.category for known, _other in pairs} >= {"any_product", "tablet"}
    assert all(other.language == code for _known, other in pairs)
    with speaking(code):
        assert text_of("tablet/defect/crack", "as it was cited") != "as it was cited"
        assert text_of("gear/defect/crack", "as it was cited") == "as it was cited"
    assert text_of("tablet/defect/crack", "as it was cited") == "as it was cited"


def test_ones_own_translation_goes_before_that_of_the_program(tmp_path):
    folder = tmp_path / "knowledge" / "translations" / "de"
    folder.mkdir(parents=True)
    (folder / "tablet.yaml").write_text(
        "category: tablet\nname: Pille\nsource: Werk 3\nlanguage: de\nnormal: [Sie ist ganz.]\n"
        "defects:\n- {type: crack, name: Sprung, look: Eine Linie., cause: Druck., consequence: Bruch., "
        "check: Ansehen.}\n"
    )
    with speaking("de"):
        assert text_of("tablet/defect/crack", "x") == "Pille, Sprung: Eine Linie. Mögliche Folge: Bruch."
        assert told("tablet") == "Pille"


def test_the_terminal_speaks_by_option_and_by_environment_and_json_stays_english(tmp_path):
    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "reason_iad.cli.app", *arguments], capture_output=True, text=True, check=False,
            env={"PATH": "", "PYTHONPATH": str(PACKAGE.parent), "REASON_IAD_HOME": str(tmp_path), "PYTHONUTF8": "1",
                 **environment},
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        return done.stderr

    missing = ("threshold", "green plate")
    assert "reason-iad: error: there is no profile of 'green plate'" in run(*missing)
    assert "reason-iad: Fehler: es gibt kein Profil von 'green plate'" in run(*missing, LANG="de_DE.UTF-8")
    assert "reason-iad: エラー：'green plate' のプロファイルはありません" in run("--language", "ja", *missing)
    assert "invalid choice: 'fr'" in run("--language", "fr", *missing)
