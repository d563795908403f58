"""The type of each odd area: by labeled examples of the category, by what the knowledge says of looks, by the model.

The model is asked once, about the image; what the measured look of an area makes of its answer differs from area to
area. Without examples that is all; with them, it joins what they say (`naming.namer`).
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reason_iad.datasets.names import plain
from reason_iad.images import Pixels
from reason_iad.inspection.details import SURE, TYPE_QUESTION, option_of
from reason_iad.inspection.dialog import Reply
from reason_iad.inspection.session import Session
from reason_iad.knowledge.entries import DefectKnowledge
from reason_iad.naming.describe import DescribedArea, describe_areas
from reason_iad.naming.examples import Box
from reason_iad.naming.namer import NONE, Namer, Naming, namer_of
from reason_iad.naming.teach import standing_out, strongest
from reason_iad.types import DefectNaming, LikeExample, OptionProbability, Region

if TYPE_CHECKING:
    from reason_iad.models.base import VisionTowers

CLASSIFICATION = "Defect Classification"
SAME_NAME = 0.8  # cosine from which two names mean the same
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
        boxes = [region.box_xyxy for region in regions] or [self._oddest(pixels)]
        bank = None if context.compared is None else context.compared.bank
        template = None if context.evidence is None else context.evidence.template
        areas = describe_areas(pixels, boxes, self.vision, bank, template)
        asks = len(self._kinds) > 1
        found, told, replies = [], [], []
        for index, area in enumerate(areas):
            look = context.look if index == 0 and context.look is not None else area.look  # measured before
            about = dataclasses.replace(self.session, context=dataclasses.replace(context, look=look))
            reply = self._reply(about) if asks else None
            named = None if self.namer is None else self.namer.name(area.vector, self._said(reply), self._same)
            found.append(named)
            replies.append(reply)
            told.append(self._told(named, reply))
        kept = tuple(dataclasses.replace(r, naming=one) for r, one in zip(regions, told, strict=False))
        return NamedDefects(kept, told[0], _examples(found), replies[0], areas)

    def _oddest(self, pixels: Pixels) -> Box:
        """The area of an image (H, W, 3) that has no region: the oddest, or what stands out in the image itself."""
        context = self.session.context
        if context.evidence is None:
            return standing_out(pixels, self.vision)
        return strongest(context.evidence, context.image.image_hw)

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
        sure = best.probability >= SURE and best.text != NONE
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
        """Which of some types means the same: of the same name or identifier, else nearest in meaning."""
        if not others:
            return None
        identifiers: Mapping[str, str] = {kind.name: kind.type for kind in self._kinds}
        for index, other in enumerate(others):
            if plain(name) in (plain(other), plain(identifiers.get(other, other))):
                return index
        if self.session.knowledge is None:
            return None
        nearest, cosine = self.session.knowledge.closest(name, list(others))
        return nearest if cosine >= SAME_NAME else None


def _examples(found: Sequence[Naming | None]) -> tuple[LikeExample, ...]:
    """The nearest examples of all areas, each once, with pictures."""
    kept = {example.id: example for named in found if named is not None for example in named.nearest}
    return tuple(
        LikeExample(
            one.id, one.defect_type, one.image, one.date, base64.b64encode(one.picture_jpeg).decode("ascii")
        )
        for one in kept.values()
    )  # fmt: skip
