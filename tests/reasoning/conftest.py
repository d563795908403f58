"""A question behind an image, as every test of a thought begins."""

import pytest

from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.base import Prefix


@pytest.fixture(scope="module")
def prefix(tiny_nano, photo):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, tiny_nano.encode_image(photo)))
    return tiny_nano.extend(context, [question_text(tiny_nano.info, "Is there a defect?")])
