"""`reason-iad learn --each`: learn every product of a folder, in several processes or on Ray.

A process, or an actor, has the vision towers and learns a product at a time. The profile is written where it was
learned; with Ray it is looked for here afterwards, so that a folder which is not shared is no silent loss.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad import __version__
from reason_iad.errors import EvidenceError, InputError, ReasonIADError, WorkerLostError
from reason_iad.languages import _, note, say, told
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.evidence.profile_summary import ProfileSummary
    from reason_iad.workers import Handler, Tell

Source = tuple[Path | bytes, str]  # an image's file or its bytes, and its place
GOOD = ("train/good", "good")  # folders of good parts inside a product's, as data sets lay them out
LoadVision = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Product:
    """A product to be learned: its name and the images of its good parts."""

    category: str
    images: tuple[Source, ...]


@dataclass(frozen=True)
class Learned:
    """What came of a product.

    Attributes:
        category: of it.
        facts: of its profile, as they stand in the folder where it was learned.
        summary: what it promises.
        folder: where it lies.
        bad: images that could not be used, and why.
    """

    category: str
    facts: dict[str, Any]
    summary: ProfileSummary
    folder: str
    bad: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `learn` that are about many products."""
    group = parser.add_argument_group("many products")
    group.add_argument(
        "--each", metavar="ROOT",
        help="learn every product of a folder: ROOT/PRODUCT holds images of good parts, or good/, or train/good/",
    )  # fmt: skip
    group.add_argument("--jobs", type=int, default=1, metavar="N", help="of --each: products at a time (default: 1)")
    group.add_argument(
        "--ray", metavar="ADDRESS",
        help="of --each: learn on a Ray cluster (auto, ray://host:10001, or local) by --jobs actors with a processor "
        "each; REASON_IAD_HOME has to be a folder that its machines share",
    )  # fmt: skip


def run(args: argparse.Namespace, load_vision: LoadVision) -> int:
    """Learn every product; 0 when all images could be used, 2 when some, or a product, could not.

    Raises:
        InputError: the arguments do not go together, or there is no product.
    """
    from reason_iad.cli.progress import Progress

    _check(args)
    products, bad = find_products(Path(args.each))
    for message in bad:
        note(_("error: {message}", message=told(message)))
    progress = Progress(len(products), verb="learning products: ended last was")
    found: list[Learned] = []
    for product, result in learn_all(products, args, load_vision, progress.say):
        progress.clear()
        messages = [f"{product.category}: {result}"] if isinstance(result, Exception) else result.bad
        for message in messages:
            note(_("error: {message}", message=told(message)))
        bad += messages
        if isinstance(result, Learned):
            found.append(result)
            if not args.json:
                print(result.summary.text(result.folder), end="\n\n", flush=True)
        progress.begin(len(found), product.category)
    progress.close()
    if args.json:
        summaries = [one.summary.as_dict() for one in sorted(found, key=lambda one: one.category)]
        print(json.dumps(summaries, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        say(f"learned {len(found)} of {counted(len(products), 'product')}")
    return 2 if bad else 0


def find_products(root: Path) -> tuple[list[Product], list[str]]:
    """The products of a folder, by name, and what cannot be learned there.

    Raises:
        InputError: it is no folder, or holds no product.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; expected one with a folder for each product")
    products, bad = [], []
    for folder in sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith(".")):
        try:
            products.append(_product(folder))
        except (InputError, EvidenceError) as error:
            bad.append(str(error))
    if not products:
        raise InputError("; ".join(bad[:3]) or f"{root} holds no folder; expected one for each product")
    return products, bad


def _product(folder: Path) -> Product:
    from reason_iad.evidence.profile_store import profile_folder
    from reason_iad.images import find_lot

    profile_folder(folder.name)  # refuses a name that no folder of a profile can have
    good = next((folder / name for name in GOOD if (folder / name).is_dir()), folder)
    inside = sorted(one.name for one in good.iterdir() if one.is_dir() and not one.name.startswith("."))
    if inside:  # an image of a defect that is learned as good would be found good ever after
        raise InputError(
            f"{good} holds the folders {', '.join(inside[:3])}; expected images of good parts alone, or a folder good"
        )
    lot = find_lot([good])
    if not lot.images:
        raise InputError(f"{good} holds no image; expected images of good parts")
    return Product(folder.name, tuple((one.path, one.place) for one in lot.images))


def learn_all(
    products: Sequence[Product], args: argparse.Namespace, load_vision: LoadVision, say: Callable[[str], None]
) -> Iterator[tuple[Product, Learned | Exception]]:
    """Learn products in processes or actors, and yield each with what came of it, as they end.

    Raises:
        InputError: Ray is not installed, or the cluster not reached.
        ReasonIADError: the towers cannot be loaded.
        TaskFailedError: a fault of the program.
    """
    from reason_iad.workers import WorkerPool

    plain = argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "run"})
    factory = functools.partial(load, plain, load_vision, __version__)
    count = min(args.jobs, len(products))
    pool: Any = WorkerPool(factory, count)
    tasks: Iterator[Product] = iter(products)
    if args.ray is not None:
        from reason_iad.workers.ray_pool import RayPool

        pool, tasks = RayPool(factory, count, args.ray), map(_with_bytes, products)
    say(f"loading vision towers in {counted(count, 'process', 'processes')}")
    with pool as running:
        for event in running.events(tasks):
            if event.kind == "done":
                yield event.task, _here(event.content) if isinstance(event.content, Learned) else event.content
            elif isinstance(event.content, WorkerLostError):
                yield event.task, event.content
            elif event.kind == "failed":  # the towers cannot be loaded, or a fault of the program
                raise event.content


def load(args: argparse.Namespace, load_vision: LoadVision, version: str, tell: Tell) -> Handler:
    """Load the towers in a process; the handler learns a product."""
    from reason_iad.cli.learn import evidence_options_of
    from reason_iad.cli.method import method_options

    if version != __version__:
        raise InputError(
            f"found reason-iad {__version__} on a machine of the cluster; expected {version} as here: install the same"
        )
    options, vision = evidence_options_of(args), load_vision(method_options(args).bundled_device)

    def learn_one(product: Product, tell: Tell) -> Learned | ReasonIADError:
        try:
            return _learn(product)
        except ReasonIADError as error:  # about this product alone
            return error

    def _learn(product: Product) -> Learned:
        from reason_iad.cli.learn import read_all, summary_of
        from reason_iad.evidence.profile_store import profile_folder, read_facts
        from reason_iad.profiles import learn

        images, bad = read_all(product.images)
        if not images:
            raise InputError(bad[0])
        profile = learn(product.category, images, options, vision)
        summary = summary_of(profile, args.max_overkill)
        folder = str(profile_folder(product.category))
        return Learned(product.category, read_facts(product.category), summary, folder, tuple(bad))

    return learn_one


def _with_bytes(product: Product) -> Product:
    """The product with its files' bytes: other machines do not see the folder."""
    images: list[Source] = []
    for source, place in product.images:
        try:
            images.append((source.read_bytes() if isinstance(source, Path) else source, place))
        except OSError:  # reading it there says what is wrong
            images.append((source, place))
    return replace(product, images=tuple(images))


def _here(learned: Learned) -> Learned | ReasonIADError:
    """What was learned, if it is found on this machine."""
    from reason_iad.evidence.profile_store import profile_folder, read_facts

    try:
        if read_facts(learned.category) == learned.facts:
            return learned
    except EvidenceError:
        pass
    return InputError(
        f"the profile was learned on another machine and is not at {profile_folder(learned.category)}; expected "
        "REASON_IAD_HOME to be a folder that all machines share"
    )


def _check(args: argparse.Namespace) -> None:
    given = [
        name
        for name, value in (
            ("CATEGORY", args.category), ("--add", args.add), ("--remove", args.remove), ("--defects", args.defects),
            ("--examples", args.examples), ("--forget", args.forget), ("--move", args.move), ("--undo", args.undo),
        )
        if value
    ]  # fmt: skip
    if given:
        raise InputError(f"found --each and {given[0]}; expected one of them: products are named by their folders")
    if args.jobs < 1:
        raise InputError(f"found --jobs {args.jobs}; expected 1 or more")
