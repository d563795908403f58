"""From a request's body, multipart or JSON, to checked images and options."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from reason_iad.files import sha256
from reason_iad.server import schemas
from reason_iad.server.access import AppState
from reason_iad.server.forms import read_form
from reason_iad.server.problems import HttpProblem, Upload
from reason_iad.server.schemas import TINY_PNG
from reason_iad.server.settings import Limits
from reason_iad.server.uploads import check_image, from_base64
from reason_iad.types import InspectionRequest

_FIELDS = ("name", "category", "question", "choices", "image", "references")
_BINARY = {"type": "string", "format": "binary"}
BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {**_BINARY, "description": "the image file"},
                    "references": {"type": "array", "items": _BINARY, "maxItems": 8},
                    "category": {"type": "string", "maxLength": 100},
                    "question": {"type": "string", "maxLength": 500},
                    "choices": {"type": "array", "items": {"type": "string", "maxLength": 200}, "maxItems": 26},
                },
                "additionalProperties": False,
            }
        },
        "application/json": {
            "schema": {"$ref": "#/components/schemas/InspectionRequest"},
            "examples": {
                "alone": {"summary": "the model alone", "value": {"image": TINY_PNG, "name": "plate.png"}},
                "compared": {
                    "summary": "compared with a good part, with a question",
                    "value": {
                        "image": TINY_PNG, "category": "screw", "references": [TINY_PNG],
                        "question": "What is wrong?", "choices": ["A scratch.", "A dent."],
                    },
                },
            },
        },
    },
}  # fmt: skip


_SHORT_TEXTS = (("category", 100), ("question", 500))
_LONGEST_CHOICE = 200


@dataclass(frozen=True)
class Intake:
    """A checked request."""

    request: InspectionRequest
    media_type: str


async def read_inspection(request: Request, state: AppState) -> Intake:
    """Read and check the body of a request for an inspection.

    Raises:
        HttpProblem: with what is wrong about the body or its images.
        InputError: with what is wrong about the question.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    limits = state.settings.limits
    if kind == "multipart/form-data":
        image, name, references, fields = await _from_form(request, limits)
    elif kind == "application/json":
        image, name, references, fields = await _from_json(request, limits)
    else:
        raise HttpProblem(
            415,
            "unknown_body",
            f"the body is {kind[:80] or 'of no kind'}; expected multipart/form-data or application/json",
        )
    question = (fields.get("question") or "").strip() or None  # a form sends fields that were left empty, too
    choices = tuple(fields.get("choices") or ())
    check_choices(choices)
    asked = InspectionRequest(image, fields.get("category"), tuple(references), question, choices, name)
    if asked.category is not None:
        await asyncio.to_thread(state.knowledge.check, asked.category)
    try:
        async with state.decoding:  # a few large images at once would fill the memory
            await asyncio.to_thread(check_image, image, name, limits)
            for number, reference in enumerate(references, 1):
                await asyncio.to_thread(check_image, reference, f"reference {number}", limits)
    except HttpProblem as problem:
        problem.upload = Upload(name, sha256(image), asked)
        raise
    return Intake(asked, media_type_of(image))


def check_choices(choices: Sequence[str]) -> None:
    """Refuse choices that no prompt has room for; `InspectionRequest` checks all else.

    Raises:
        HttpProblem: 422, one is too long.
    """
    if any(len(choice) > _LONGEST_CHOICE for choice in choices):
        raise HttpProblem(422, "too_long", f"a choice has over {_LONGEST_CHOICE} letters; expected fewer")


def check_text(text: str) -> None:
    """Refuse what no database and no prompt can hold.

    Raises:
        HttpProblem: 422, a null character or half of a surrogate pair.
    """
    if "\x00" in text:
        raise HttpProblem(422, "null_character", "a text holds a null character; expected plain text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise HttpProblem(422, "lone_surrogate", "a text holds half of a character; expected valid Unicode")


async def read_images(request: Request, state: AppState, most: int) -> tuple[str, list[tuple[bytes, str]]]:
    """Read the category and the images of a lesson; see `read_inspection`."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HttpProblem(415, "unknown_body", "expected multipart/form-data with `category` and `images`")
    form = await read_form(request)
    try:
        return await _lesson(form, state, most)
    finally:
        await form.close()


async def _lesson(form: Any, state: AppState, most: int) -> tuple[str, list[tuple[bytes, str]]]:
    category = form.get("category")
    if not isinstance(category, str) or not category.strip():
        raise HttpProblem(422, "no_category", "no category was named; expected the field `category`")
    check_text(category)
    files = [part for part in form.getlist("images") if isinstance(part, UploadFile)]
    if not files:
        raise HttpProblem(422, "no_images", "there is no image; expected files in the field `images`")
    if len(files) > most:
        raise HttpProblem(422, "too_many_images", f"found {len(files)} images; expected at most {most}")
    found = []
    for file in files:
        data, name = await file.read(), display_name(file.filename)
        async with state.decoding:
            await asyncio.to_thread(check_image, data, name, state.settings.limits)
        found.append((data, name))
    return category.strip(), found


def display_name(name: str | None) -> str:
    """The last part of a client's file name, for people alone: it never becomes a path."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c if c.isprintable() else "�" for c in last).strip()[:255] or "image"


def media_type_of(data: bytes) -> str:
    """The kind of a checked image, from its first bytes."""
    if data[4:8] == b"ftyp":
        return f"image/{'avif' if data[8:12] in (b'avif', b'avis') else 'heic'}"
    for magic, kind in (
        (b"\xff\xd8", "jpeg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"II", "tiff"), (b"MM", "tiff"),
        (b"RIFF", "webp"), (b"\x00\x00\x00\x0cjP", "jp2"), (b"\xff\x4f\xff\x51", "j2k"),
    ):  # fmt: skip
        if data.startswith(magic):
            return f"image/{kind}"
    return "image/x-portable-anymap"


async def _from_form(request: Request, limits: Limits) -> tuple[bytes, str, list[bytes], dict[str, Any]]:
    form = await read_form(request)
    try:
        return await _fields(form, limits)
    finally:
        await form.close()


async def _fields(form: Any, limits: Limits) -> tuple[bytes, str, list[bytes], dict[str, Any]]:
    if unknown := sorted(set(form) - set(_FIELDS)):
        raise HttpProblem(422, "unknown_field", f"unknown fields {unknown!r:.200}; expected {', '.join(_FIELDS)}")
    images = form.getlist("image")
    if len(images) != 1 or not isinstance(images[0], UploadFile):
        raise HttpProblem(422, "no_image", f"found {len(images)} parts named `image`; expected one file")
    references = form.getlist("references")
    if any(not isinstance(part, UploadFile) for part in references):
        raise HttpProblem(422, "bad_reference", "a reference is no file; expected files in `references`")
    if len(references) > limits.max_references:
        found = f"found {len(references)} references; expected at most {limits.max_references}"
        raise HttpProblem(422, "too_many_references", f"{found}: learn a profile from more")
    texts = {name: form.get(name) for name in ("category", "question", "name")}
    if doubled := [name for name in texts if len(form.getlist(name)) > 1]:
        raise HttpProblem(422, "doubled_field", f"the field `{doubled[0]}` came more than once; expected it once")
    choices = form.getlist("choices")
    if any(isinstance(value, UploadFile) for value in (*texts.values(), *choices)):
        raise HttpProblem(422, "bad_field", "a file was sent where text is expected")
    for name, longest in _SHORT_TEXTS:
        if texts[name] is not None and len(texts[name]) > longest:
            raise HttpProblem(422, "too_long", f"`{name}` has {len(texts[name])} letters; expected at most {longest}")
    name = display_name(texts["name"] or images[0].filename)
    return await images[0].read(), name, [await part.read() for part in references], {**texts, "choices": choices}


async def _from_json(request: Request, limits: Limits) -> tuple[bytes, str, list[bytes], dict[str, Any]]:
    try:
        body = schemas.InspectionRequest.model_validate(json.loads(await request.body()))
    except (ValueError, RecursionError) as error:  # ValidationError is a ValueError, and so is bad UTF-8
        detail = "it is no JSON"
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            detail = f"{'.'.join(str(part) for part in first['loc']) or 'the body'}: {first['msg']}"
        raise HttpProblem(422, "bad_body", f"the body cannot be used: {detail}; see /openapi.json") from error
    name = display_name(body.name)
    references = [from_base64(text, f"reference {n}", limits) for n, text in enumerate(body.references, 1)]
    fields = {"category": body.category, "question": body.question, "choices": body.choices}
    return from_base64(body.image, name, limits), name, references, fields
