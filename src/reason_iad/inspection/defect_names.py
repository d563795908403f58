"""The type of each odd area: by labeled examples of the category, by what the knowledge says of looks, by the model.

The model is asked once, about the image; what the measured look of an area makes of its answer differs from area to
area. Without examples that is all; with them, it joins what they say (`naming.namer`).
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.images import Pixels
from reason_iad.inspection.details import SURE_OF_TYPE, TYPE_QUESTION, option_of
from reason_iad.inspection.dialog import Reply
from reason_iad.inspection.nearest import Compared
from reason_iad.inspection.session import CLASSIFICATION, Session
from reason_iad.inspection.type_names import Taught, same_name
from reason_iad.knowledge.entries import DefectKnowledge
from reason_iad.naming.describe import DescribedArea, describe_areas
from reason_iad.naming.examples import Box
from reason_iad.naming.namer import NONE, Namer, Naming, namer_of
from reason_iad.naming.teach import standing_out, strongest
from reason_iad.types import DefectNaming, LikeExample, OptionProbability, Region

if TYPE_CHECKING:
    from reason_iad.models.base import VisionTowers

MOST_TOLD = 6  # types whose probability a report gives


@dataclass(frozen=True)
class NamedDefects:
    """Areas with their types, and what the report says of them.

    Attributes:
        regions: those of the report, each named.
        naming: of the part; None where nothing names types.
        examples: that areas look like.
        reply: what the model, with look and knowledge, said of the oddest area; None where it was not asked.
        areas: every region, or the oddest area where there is none, described.
    """

    regions: tuple[Region, ...]
    naming: DefectNaming | None = None
    examples: tuple[LikeExample, ...] = ()
    reply: Reply | None = None
    areas: tuple[DescribedArea, ...] = ()


@dataclass
class DefectNamer:
    """Names the areas of one image.

    Attributes:
        session: the image as it was looked at.
        vision: the bundled towers.
        namer: of the category; None where it has no examples.
    """

    session: Session
    vision: VisionTowers
    namer: Namer | None
    _asked: Reply | None = field(default=None, init=False)

    @classmethod
    def of(cls, session: Session, vision: VisionTowers) -> DefectNamer:
        """The one for a session's category.

        Raises:
            InputError: the category's examples are damaged.
        """
        return cls(session, vision, namer_of(session.context.category))

    def name(self, regions: Sequence[Region]) -> NamedDefects:
        """Name the areas of a report; where it has none, its oddest area."""
        context = self.session.context
        pixels = context.image.pixels
        boxes = [region.box_xyxy for region in regions] or [oddest_area(context.evidence, pixels, self.vision)]
        bank = None if context.compared is None else context.compared.bank
        template = None if context.evidence is None else context.evidence.template
        areas = describe_areas(pixels, boxes, self.vision, bank, template)
        asks = len(self._kinds) > 1
        found, told, replies = [], [], []
        for index, area in enumerate(areas):
            look = context.look if index == 0 and context.look is not None else area.look  # measured before
            about = dataclasses.replace(self.session, context=dataclasses.replace(context, look=look, taught=None))
            reply = self._reply(about) if asks else None
            named = None if self.namer is None else self.namer.name(area.vector, self._said(reply), self._same)
            found.append(named)
            replies.append(reply)
            told.append(self._told(named, reply))
        kept = tuple(dataclasses.replace(r, naming=one) for r, one in zip(regions, told, strict=False))
        return NamedDefects(kept, told[0], _examples(found), replies[0], areas)

    @property
    def _kinds(self) -> tuple[DefectKnowledge, ...]:
        """The types that the knowledge of the category names."""
        known = self.session.context.knowledge
        return () if known is None else known.defects

    def _reply(self, about: Session | None = None) -> Reply:
        """The model's answer, asked once, with what is measured and known of an area."""
        session = about or self.session
        if self._asked is None:
            options = [option_of(kind.name) for kind in self._kinds]
            self._asked = self.session.dialog.choose(TYPE_QUESTION, options, False)
        return session.calibrate(self._asked, CLASSIFICATION)

    def _said(self, reply: Reply | None) -> dict[str, float]:
        """What model, look and knowledge say of each type."""
        if reply is None:
            return {kind.name: 1.0 for kind in self._kinds}
        return {kind.name: option.probability for kind, option in zip(self._kinds, reply.answer.options, strict=True)}

    def _told(self, named: Naming | None, reply: Reply | None) -> DefectNaming | None:
        """One area as the report tells it."""
        if named is None:
            if reply is None and len(self._kinds) != 1:
                return None
            said = sorted(self._said(reply).items(), key=lambda pair: -pair[1])
            types = tuple(OptionProbability(name, p) for name, p in said[:MOST_TOLD])
        else:
            types = tuple(OptionProbability(one.name, one.probability) for one in named.types[:MOST_TOLD])
        best = types[0]
        kind = self.kind_of(best.text)
        sure = best.probability >= SURE_OF_TYPE and best.text != NONE
        return DefectNaming(
            defect_type=best.text if sure else None,
            types=types,
            like=() if named is None else tuple(example.id for example in named.nearest),
            against=None if named is None else named.against,
            consequence=kind.consequence if sure and kind is not None else None,
            check_next=kind.check if sure and kind is not None else None,
            num_examples=0 if self.namer is None else len(self.namer.examples.examples),
        )

    def kind_of(self, name: str) -> DefectKnowledge | None:
        """What the knowledge says of a type of this name, or of one that means the same."""
        index = self._same(name, [kind.name for kind in self._kinds])
        return None if index is None else self._kinds[index]

    def _same(self, name: str, others: Sequence[str]) -> int | None:
        """Which of some types means the same."""
        base = self.session.knowledge
        return same_name(name, others, self.session.context.knowledge, None if base is None else base.closest)


def ask_examples(
    category: str, evidence: EvidenceMap | None, compared: Compared | None, pixels: Pixels, vision: VisionTowers
) -> Callable[[], Taught | None] | None:
    """What names the oddest area of an image (H, W, 3) by labeled examples alone, once it is asked for."""
    namer = namer_of(category)
    if namer is None:
        return None

    @functools.cache
    def ask() -> Taught | None:
        box, bank = oddest_area(evidence, pixels, vision), None if compared is None else compared.bank
        template = None if evidence is None else evidence.template
        (area,) = describe_areas(pixels, [box], vision, bank, template)
        naming = namer.name(area.vector)
        return None if naming is None else Taught(naming, namer.share)

    return ask


def oddest_area(evidence: EvidenceMap | None, pixels: Pixels, vision: VisionTowers) -> Box:
    """The oddest area of an image (H, W, 3); where nothing was compared, what stands out in the image itself."""
    if evidence is None:
        return standing_out(pixels, vision)
    return strongest(evidence, (pixels.shape[0], pixels.shape[1]))


def _examples(found: Sequence[Naming | None]) -> tuple[LikeExample, ...]:
    """The nearest examples of all areas, each once, with pictures."""
    kept = {example.id: example for named in found if named is not None for example in named.nearest}
    return tuple(
        LikeExample(
            one.id, one.defect_type, one.image, one.date, base64.b64encode(one.picture_jpeg).decode("ascii")
        )
        for one in kept.values()
    )  # fmt: skip
