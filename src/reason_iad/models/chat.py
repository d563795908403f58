"""The fixed text around a conversation, read off the chat template that a model brings with it.

The template is rendered once around marks that no text holds; what stands between the marks is the fixed text. So a
template of a release that the table of families has never seen still comes out right.
"""

from __future__ import annotations

from typing import Any

from reason_iad.models.base import ChatTemplate
from reason_iad.models.families import CUE, Family

_SYSTEM, _USER, _ANSWER = "\u2460system\u2460", "\u2461user\u2461", "\u2462answer\u2462"
_OPEN_THOUGHT, _CLOSED_THOUGHT = "<think>", "<think>\n\n</think>\n\n"


def chat_template(tokenizer: Any, family: Family, template: str | None = None) -> ChatTemplate:
    """The fixed texts of a model's own chat template, or of its family's row where it has none that can be read.

    Args:
        tokenizer: renders the template; its first token joins the front where the template leaves that to it.
        family: gives the variable that turns thinking off, and the fallback.
        template: the chat template, where the tokenizer does not hold it itself.
    """
    for as_list in (
        True,
        False,
    ):  # templates of multimodal processors take lists of parts, those of text models strings
        found = _read(tokenizer, family, template, as_list)
        if found is not None:
            return found
    return family.template


def _read(tokenizer: Any, family: Family, template: str | None, as_list: bool) -> ChatTemplate | None:
    def render(*turns: tuple[str, str], opened: bool = True) -> str:
        messages = [
            {"role": role, "content": [{"type": "text", "text": text}] if as_list else text} for role, text in turns
        ]
        switch = {} if family.thinking is None else {family.thinking: False}
        try:
            rendered = tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=opened, **switch
            )
        except Exception:  # noqa: BLE001 - a template may raise anything; another way of asking, or the row, is next
            return ""
        return str(rendered)

    with_system = render(("system", _SYSTEM), ("user", _USER))
    alone = render(("user", _USER))
    answered = render(("user", _USER), ("assistant", _ANSWER), opened=False)
    if "[{" in alone:  # written for strings: the list itself was printed
        return None
    if _count(with_system) == (1, 1):
        before_system, rest = with_system.split(_SYSTEM)
        before_user, before_answer = rest.split(_USER)
    elif _count(alone) == (0, 1):  # a template without a system's turn: what it would say opens the user's
        before_system, before_answer = alone.split(_USER)
        before_user = "\n"
    else:
        return None
    end = answered.partition(_ANSWER)[2].strip() if _ANSWER in answered else ""
    first = _first_token(tokenizer)
    if first and not before_system.startswith(first):
        before_system = first + before_system
    return ChatTemplate(before_system, before_user, close_thought(before_answer), CUE, end or family.template.end)


def close_thought(before_answer: str) -> str:
    r"""Close a thought that a template opens for the model: the answer is read at once, not after an essay.

    >>> close_thought("<|im_start|>assistant\n<think>\n")
    '<|im_start|>assistant\n<think>\n\n</think>\n\n'
    """
    if before_answer.rstrip().endswith(_OPEN_THOUGHT):
        return before_answer.rstrip().removesuffix(_OPEN_THOUGHT) + _CLOSED_THOUGHT
    return before_answer


def _count(text: str) -> tuple[int, int]:
    return text.count(_SYSTEM), text.count(_USER)


def _first_token(tokenizer: Any) -> str:
    """The token that the tokenizer itself would put in front of a whole prompt, if any."""
    front = tokenizer.encode("", add_special_tokens=True)
    if front and front[0] == tokenizer.bos_token_id:
        return str(tokenizer.bos_token)
    return ""
