"""`reason-iad learn`: learn a category from images of good parts, and correct what was learned.

A new image is read before anything heavy is loaded; images that cannot be read are named and left out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.cli import learn_defects, learn_each
from reason_iad.cli.method import add_setting, method_options
from reason_iad.errors import EvidenceError, ImageError, InputError
from reason_iad.languages import _, note, told, translatable

if TYPE_CHECKING:
    from reason_iad.evidence.features import EvidenceOptions
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.evidence.profile_summary import ProfileSummary
    from reason_iad.images import LoadedImage

MOST_REFERENCES = 1000
MAX_TILES = 16  # 7,168 pixels a side: larger images hold more than one picture of a part

_EPILOG = """\
examples:
  reason-iad learn hazelnut good/                                 learn from a folder of good parts
  reason-iad learn hazelnut --add part.png --as normal            it was stopped, but it is good
  reason-iad learn hazelnut --add part.png --as defective         it was let through, but it is not
  reason-iad learn hazelnut                                       say what was learned
  reason-iad learn hazelnut --defects rejects/                    name defects: rejects/crack/*.jpg, rejects/hole/*.jpg
  reason-iad learn hazelnut --examples                            list the named defects
  reason-iad learn --each products/ --jobs 4                      every product: products/hazelnut/good/*.jpg, ...
  reason-iad inspect new/ --category hazelnut                     use it

The profile is a folder under $REASON_IAD_HOME/profiles that can be copied to another machine.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `learn`."""
    parser = subparsers.add_parser(
        "learn",
        help="learn a category from images of good parts",
        description="Learn what good parts of a category look like, say how far that can be trusted, and correct it.",
        epilog=_EPILOG,
    )
    parser.add_argument("category", nargs="?", metavar="CATEGORY", help="name of the product")
    parser.add_argument("images", nargs="*", metavar="DIR", help="images of good parts, or folders of them")
    parser.add_argument("--add", nargs="+", default=[], metavar="IMAGE", help="correct the profile with these images")
    parser.add_argument("--as", dest="label", choices=("normal", "defective"), help="what the images of --add are")
    parser.add_argument("--remove", metavar="HASH", help="take an image back, by the beginning of its hash")
    for name in ("max_overkill", "streams", "backbone", "device"):
        add_setting(parser, name)
    parser.add_argument(
        "--fast", dest="streams", action="store_const", const="fast", help="short for --streams fast: twice as fast"
    )
    parser.add_argument(
        "--tiles",
        type=_tiles,
        default=1,
        metavar="N",
        help="cut images into N x N pieces, each seen at 448 pixels: for small defects on large images of parts that "
        "lie alike; leaves the ViT out and takes N x N times as long (default: 1)",
    )
    parser.add_argument(
        "--foreground",
        action="store_true",
        help="let only the place of the part count, not what lies on the background; parts must lie alike",
    )
    parser.add_argument(
        "--references",
        type=_references,
        default=32,
        metavar="N",
        help="compare with at most N of the images; the others tell how odd good parts are. From 64 on install "
        f"reason-iad[faiss], which searches them faster (default: 32, at most {MOST_REFERENCES})",
    )
    learn_defects.add_arguments(parser)
    learn_each.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, load_vision: Callable[[], Any] | None = None) -> int:
    """Learn, correct, or describe; 0 when all images could be used, 2 when some could not."""
    from reason_iad.cli.progress import Progress
    from reason_iad.evidence.profile_store import find_profile, profile_folder

    if args.each is not None:
        return learn_each.run(args, _load_vision)
    _check(args)
    profile_folder(args.category)  # refuses a name that no folder can have
    if learn_defects.asked(args):
        return learn_defects.run(args, load_vision or (lambda: _load_vision(method_options(args).bundled_device)))
    bad: list[str] = []
    progress = Progress(1)
    if args.images or args.add:
        images, bad = _read(args.category, args.images or args.add)
        if not images:
            raise InputError(bad[0])
        for message in bad:
            note(_("error: {message}", message=told(message)))
        if args.add and find_profile(args.category) is None:
            raise EvidenceError(
                f"there is no profile of {args.category!r} to correct; learn it first from a folder of good parts"
            )
        progress.say("loading vision towers")
        vision = load_vision() if load_vision is not None else _load_vision(method_options(args).bundled_device)
        profile = _correct(args, images, vision) if args.add else _learn(args, images, vision)
        if args.type:
            note(learn_defects.add_named(args, images, vision))
    else:
        from reason_iad.evidence.profile import load_profile

        profile = load_profile(args.category)
        if args.remove:
            profile = profile.without(args.remove)
            profile.save()
    progress.clear()
    if slow := _slow_search(profile):
        note(slow)
    summary = summary_of(profile, args.max_overkill)
    if args.json:
        print(json.dumps(summary.as_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(summary.text(str(profile_folder(args.category))))
    return 2 if bad else 0


def summary_of(profile: CategoryProfile, max_overkill: float | None) -> ProfileSummary:
    """What a profile promises at a false-alarm rate; at the one that was set for it, or the usual one, where None."""
    from reason_iad.evidence.profile_store import profile_folder
    from reason_iad.evidence.profile_summary import summarize
    from reason_iad.evidence.threshold import read_threshold
    from reason_iad.inspection.options import USUAL_OVERKILL

    chosen = read_threshold(profile_folder(profile.category)).current
    usual = USUAL_OVERKILL if chosen is None else chosen.max_overkill
    return summarize(profile, max_overkill or usual)


def evidence_options_of(args: argparse.Namespace) -> EvidenceOptions:
    """How the parts of a profile are compared, as the arguments say.

    Raises:
        InputError: they do not go together.
    """
    from reason_iad.evidence.features import EvidenceOptions, tiled_streams
    from reason_iad.inspection.sources import evidence_options

    chosen = evidence_options(method_options(args))
    if args.tiles > 1 and chosen.streams != EvidenceOptions().streams:
        raise InputError("found --tiles with --streams or --backbone; expected one of them: tiles have their own")
    streams = tiled_streams(args.tiles) if args.tiles > 1 else chosen.streams
    return replace(chosen, streams=streams, foreground=args.foreground, max_references=args.references)


def _learn(args: argparse.Namespace, images: Sequence[LoadedImage], vision: Any) -> CategoryProfile:
    from reason_iad.cli.progress import Progress
    from reason_iad.profiles import learn

    options = evidence_options_of(args)
    progress = Progress(len(images), verb=f"learning {args.category} from image")
    try:
        return learn(args.category, images, options, vision, lambda done, _, name: progress.begin(done, name))
    finally:
        progress.close()


def _slow_search(profile: CategoryProfile) -> str | None:
    """What a large bank costs where it cannot be indexed on this machine; None where nothing is to be said."""
    from reason_iad.evidence.patch_index import LARGE, worth_indexing

    large = [one for one in profile.bank.features.values() if math.prod(one.shape[:3]) >= LARGE]
    if not large or any(worth_indexing(one) for one in large):
        return None
    return translatable(
        f"note: {profile.category}: {profile.bank.num_references} references are searched exactly, which takes longer "
        "with each of them; pip install 'reason-iad[faiss]' searches them about nine times as fast"
    )


def _correct(args: argparse.Namespace, images: Sequence[LoadedImage], vision: Any) -> CategoryProfile:
    from reason_iad.cli.progress import Progress
    from reason_iad.evidence.profile import load_profile

    profile = load_profile(args.category)
    progress = Progress(len(images), verb=f"adding to {args.category} as {args.label}: image")
    for done, image in enumerate(images):
        progress.begin(done, image.name)
        profile = profile.add_feedback(image, args.label, vision, _embed(vision))
        profile.save()
    progress.close()
    return profile


def _check(args: argparse.Namespace) -> None:
    if args.category is None:
        raise InputError("found no CATEGORY; expected the name of the product, or --each ROOT for many")
    if args.jobs != 1 or args.ray is not None:
        raise InputError("found --jobs or --ray without --each; expected them with the folder of many products")
    if bool(args.add) != (args.label is not None):
        raise InputError("--add and --as belong together: say --add IMAGE --as normal, or --as defective")


def _read(category: str, given: Sequence[str]) -> tuple[list[LoadedImage], list[str]]:
    """Read every image once, all by one scale; those that cannot be read come back as messages."""
    from reason_iad.images import find_lot

    lot = find_lot(given)
    if lot.left_out:
        note(f"{category}: {told(lot.phrase())}")
    images, bad = read_all([(found.path, found.place) for found in lot.images])
    return images, [*(message for _, message in lot.problems), *bad]


def read_all(sources: Iterable[tuple[Path | bytes, str]]) -> tuple[list[LoadedImage], list[str]]:
    """Read images, given as files or their bytes with their places, each once and all by one scale.

    Returns:
        The images, and a message for each that cannot be read.
    """
    from reason_iad.images import alike, read_image

    images: dict[str, LoadedImage] = {}
    bad = []
    for source, place in sources:
        try:
            image = read_image(source, name=place)
        except ImageError as error:
            bad.append(str(error))
        else:
            images.setdefault(image.sha256, image)
    return alike(list(images.values()))[0], bad


def _load_vision(device: str) -> Any:
    from reason_iad.models.vision import BundledVision

    return BundledVision.load(device)


def _embed(vision: Any) -> Any:
    from reason_iad.recognition.prototypes import image_embedding

    return lambda pixels: image_embedding(pixels, vision)


def _tiles(text: str) -> int:
    return _whole(text, MAX_TILES)


def _references(text: str) -> int:
    return _whole(text, MOST_REFERENCES)


def _whole(text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number from 1 to {most}")
    return int(text)
