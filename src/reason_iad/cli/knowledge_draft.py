"""Drafts of knowledge: a model describes images of good parts, a person corrects and approves.

A draft lies in `drafts/` of the base and takes no part in inspections. Its source says which model wrote it; after the
approval, who approved it and when.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

from reason_iad.errors import InputError
from reason_iad.knowledge.base import DRAFTS
from reason_iad.knowledge.changes import apply_changes, writing
from reason_iad.knowledge.commands import find_instructions
from reason_iad.knowledge.editing import approve_draft, dump_category
from reason_iad.knowledge.entries import CategoryKnowledge
from reason_iad.knowledge.names import identifier
from reason_iad.languages import note, translatable

QUESTION = "Describe the product: its shape, color, surface and parts."
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
NOTE = """\
# A machine-made draft: correct it, then approve it with
#   reason-iad knowledge draft {category} --approve "YOUR NAME"
# Say what good parts show, what varies naturally, and add the defects you know (docs/knowledge.md has the form).
"""
Describer = Callable[[Sequence[Path]], list[str]]  # images to one description each


def draft(base: Path, name: str, folder: Path, model: str, count: int, describe: Describer | None = None) -> str:
    """Write a draft and say where it lies.

    Raises:
        InputError: no images, nothing described, or a draft of that name that a person may have worked on.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected a folder of images of good parts")
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise InputError(f"{folder} holds no image; expected {', '.join(SUFFIXES)}")
    category = identifier(name)
    path = base / DRAFTS / f"{category}.yaml"
    if path.exists():
        raise InputError(f"{path} exists; approve it, or remove it to have another draft")
    step = max(1, len(images) // max(1, count))
    found = (describe or _by_model(model))(images[::step][: max(1, count)])
    texts = [text for text in dict.fromkeys(" ".join(text.split())[:900] for text in found) if text]
    texts = [text for text in texts if not find_instructions(text)]
    if not texts:
        raise InputError(f"the model {model} described none of the images; try other images, or another --model")
    source = f"machine-made draft by {model} from {len(texts)} images, {_today()}; not approved"
    knowledge = CategoryKnowledge(category, name.replace("_", " "), source, tuple(texts), ())
    with writing(base):
        apply_changes(base, {f"{DRAFTS}/{path.name}": NOTE.format(category=category) + dump_category(knowledge)})
    return translatable(f"{path}: a draft of {len(texts)} descriptions; correct it, then approve it with --approve WHO")


def approve(base: Path, name: str, who: str) -> CategoryKnowledge:
    """Move a draft into the base under the name of who approved it; a known category gains what is new in it.

    Raises:
        InputError: no such draft.
        KnowledgeError: what stands in it breaks the schema.
    """
    category = identifier(name)
    path = base / DRAFTS / f"{category}.yaml"
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a draft: make one with `draft {name} DIR`")
    return approve_draft(base, path, f"approved by {who}, {_today()}")


def _by_model(model: str) -> Describer:
    def describe(images: Sequence[Path]) -> list[str]:
        from reason_iad.inspection.inspector import Inspector
        from reason_iad.inspection.options import InspectorOptions

        options = InspectorOptions(model=model, knowledge="none", latents="off", injection="off")
        inspector = Inspector.load(options, note)
        reports = [inspector.inspect(image, question=QUESTION) for image in images]
        return [answer.text for report in reports for answer in report.answers if answer.question == QUESTION]

    return describe


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
