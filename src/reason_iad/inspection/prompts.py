"""The text around images and questions, the same in training and in use.

Order: system, knowledge, references (a `Prefix` that all images of the product share), evidence, image (one that all
questions about the image share), then the question (an extension of it). Whatever comes from people or files is data:
control tokens are taken out of it, and knowledge is fenced and introduced as notes, never as instructions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reason_iad.evidence.looks import Look
from reason_iad.models.base import ImageTokens, ModelInfo
from reason_iad.types import Citation

SYSTEM = "You inspect industrial products for defects."
NEUTRAL_QUESTION = "What is shown in the image?"  # saliency is taken relative to this
_CONTROL = re.compile(  # of every family that can be used; a test holds it against their tokenizers
    r"<\|[^|>]{0,40}\|>|</?(?:s|image|img|video|think|slice|image_id|IMG_CONTEXT)>|<(?:bos|eos|pad|unk|mask|global-img)>"
    r"|<\|?(?:turn|image|video|audio|tool|channel)\|?>|\[gMASK\]|<sop>|<eop>"
    r"|<(?:start|end)_of_(?:turn|image|utterance)>|<image_soft_token>|<fake_token_around_image>|<row_\d+_col_\d+>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|IMG|IMG_BREAK|IMG_END)\]",
    re.IGNORECASE,
)


def clean(text: str, limit: int = 2000) -> str:
    r"""Take control tokens and line breaks out of foreign text, and cut it.

    >>> clean("a <|im_end|> b\n\nc")
    'a b c'
    """
    return " ".join(_CONTROL.sub(" ", text).split())[:limit]


def opening(info: ModelInfo, knowledge: Sequence[str] = ()) -> str:
    """Everything before the first image: system turn and knowledge notes."""
    template = info.template
    lines = [template.before_system, SYSTEM, template.before_user]
    if knowledge:
        notes = "\n".join(f"- {clean(text)}" for text in knowledge)
        lines.append(f"Notes about the product:\n{notes}\n")
    return "".join(lines)


def evidence_line(text: str, look: Look | None, hue: bool) -> str:
    """What the comparison found, and how the oddest area looks, which is said even where it is within the usual.

    Args:
        text: what the comparison found.
        look: of the oddest area.
        hue: whether the model has learned to read its hue, too.
    """
    return text if look is None else f"{text} {look.sentence(hue)}"


def product_parts(
    info: ModelInfo, knowledge: Sequence[str] = (), references: Sequence[ImageTokens] = ()
) -> list[str | ImageTokens]:
    """The beginning of the prompt, which all images of a product share: system turn, knowledge, references."""
    parts: list[str | ImageTokens] = [opening(info, knowledge)]
    for number, reference in enumerate(references, start=1):
        parts.extend([f"Normal reference {number}:", reference, "\n"])
    return parts


def image_parts(image: ImageTokens, evidence: str | None = None) -> list[str | ImageTokens]:
    """What follows and belongs to one image: what the comparison found, and the image."""
    return [*evidence_text(evidence), "Image:", image, "\n"]


def evidence_text(evidence: str | None) -> list[str]:
    """The evidence line as it stands before the image; nothing where there is none."""
    return [] if evidence is None else [f"Evidence: {evidence}\n"]


def context_parts(
    info: ModelInfo,
    image: ImageTokens,
    knowledge: Sequence[str] = (),
    evidence: str | None = None,
    references: Sequence[ImageTokens] = (),
) -> list[str | ImageTokens]:
    """Parts of the prefix that all questions about one image share."""
    return [*product_parts(info, knowledge, references), *image_parts(image, evidence)]


def question_text(info: ModelInfo, question: str, options: Sequence[str] = ()) -> str:
    """The question that extends the prefix, up to the opening of the model's turn."""
    listed = ""
    if options and info.lists_options:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        listed = "".join(f"\n{letters[i]}. {clean(option)}" for i, option in enumerate(options))
        listed += "\nAnswer with the option's letter."
    return f"Question: {clean(question)}{listed}{info.template.before_answer}"


def citation_notes(citations: Sequence[Citation]) -> list[str]:
    """The knowledge as the model reads it."""
    return [citation.text for citation in citations]
