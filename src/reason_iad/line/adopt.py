"""Learning the profile version that an alarm proposes, when a person says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reason_iad.errors import InputError
from reason_iad.line.settings import LineSettings

if TYPE_CHECKING:
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.store.store import Store

FEWEST = 8  # parts that a profile can be learned from without being much worse than before


def adopt(store: Store, settings: LineSettings, alarm_id: str, who: str, say: Callable[[str], None]) -> CategoryProfile:
    """Learn the category anew from the parts that an alarm names, keep the new version, and acknowledge the alarm.

    Parts that a person has called defective since are left out.

    Raises:
        InputError: there is no such alarm, or it names too few parts that the record still has.
    """
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.images import LoadedImage, read_image
    from reason_iad.inspection.sources import evidence_options
    from reason_iad.models.vision import BundledVision
    from reason_iad.models.vision_cache import CachedVision
    from reason_iad.recognition.prototypes import image_embedding

    found = [one for one in store.lines.alarms(settings.line.name) if alarm_id and one.id.startswith(alarm_id)]
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'no'} alarms of {settings.line.name!r} begin with {alarm_id!r}; expected one: list them "
            "with `reason-iad line alarms`"
        )
    alarm, images = found[0], list[LoadedImage]()
    for identifier in alarm.facts["proposed_from"]:
        record = store.get(identifier)
        if record is not None and all(said.kind != "missed" for said in record.feedback):
            images.append(read_image(store.files.get(record.files["image"]), name=record.name))
    if len(images) < FEWEST:
        raise InputError(
            f"the alarm names {len(images)} parts that may be learned from; expected at least {FEWEST}: learn from "
            "pictures of good parts with `reason-iad learn`"
        )
    say(f"learning {alarm.category} from {len(images)} parts")
    vision = CachedVision(BundledVision.load(settings.method.bundled_device))
    profile = CategoryProfile.learn(
        alarm.category,
        images,
        vision,
        evidence_options(settings.method),
        lambda pixels: image_embedding(pixels, vision),
    )
    folder = profile.save()
    store.lines.acknowledge(alarm.id, who)
    store.audit(who, "", "adopt profile", f"{alarm.category}: {alarm.id}", f"{len(images)} parts")
    return CategoryProfile.load(folder)
