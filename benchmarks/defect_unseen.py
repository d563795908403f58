"""Types of defects without any labeled example: what knowledge, look and the bundled model say of them.

    python benchmarks/defect_unseen.py ROOT --cache DIR --only CATEGORY [--split test] [--most 12] [--json FILE]

The benchmark's question "Defect Classification" with the category given and 4 references (of paired categories the
image's own template), as the harness asks it: by the model alone, and joined with the measured look, as it is answered.
Macro accuracy with a 95 % interval of a bootstrap over images. What was said is kept in --cache; by it
`defect_types.py --ask` measures with 0 examples.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import reason_iad
from reason_iad.inspection.details import TYPE_QUESTION, option_of
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.option_fusion import OptionFusion, OptionWeights, Spoken
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.session import CLASSIFICATION
from reason_iad.metrics.intervals import bootstrap
from reason_iad.types import InspectionRequest

REFERENCES = 4
# By category of the data: that of the knowledge, and its types that the data spell otherwise.
KNOWN: dict[str, tuple[str, dict[str, str]]] = {
    "magnetic_tile": ("magnetic_tile", {}),
    "hot_rolled_steel": ("steel_strip", {"rolled_in_scale": "rolled-in_scale", "scratch": "scratches"}),
    "bare_pcb": ("bare_pcb", {"spurious_copper": "copper", "pin_hole": "pin-hole"}),
}


@dataclass(frozen=True, eq=False)
class Answered:
    """One image: types that the knowledge names, and what each voice says of them (K,)."""

    image: str
    kind: str
    names: tuple[str, ...]  # as the data spell them
    model: np.ndarray
    words: np.ndarray

    @property
    def joined(self) -> np.ndarray:
        """Probabilities by model and look; the knowledge names all of these types, so that its support is level."""
        silent = (0.0,) * len(self.names)
        return np.array(Spoken(tuple(self.model), tuple(self.words), silent, silent).joined(shipped_weights()))


@functools.cache
def shipped_weights() -> OptionWeights:
    """Of model and look, as they come with the bundled model."""
    settings = Path(reason_iad.__file__).parent / "data" / "nano" / "adapter.json"
    return OptionFusion.from_settings(json.loads(settings.read_text())).of(CLASSIFICATION)


class Asker:
    """Asks the harness' question about images of one category."""

    def __init__(self, root: Path, category: str, rows: Sequence[dict[str, str]], cache: Path) -> None:
        self.root, self.category, self.cache = root, category, cache
        mine = [row for row in rows if row["category"] == category]
        goods = [r for r in mine if r["split"] == "train" and r["label"] == "normal"]
        order = np.random.default_rng(1).permutation(len(goods))[:REFERENCES]
        self.references = tuple(str(root / goods[int(i)]["image"]) for i in order)
        self.templates = {(r["split"], r["group"]): str(root / r["image"]) for r in mine if r["label"] == "normal"}
        self._inspector: Inspector | None = None

    def ask(self, row: dict[str, str], paired: bool = False) -> Answered:
        """What is said of one image, now or earlier."""
        known, spelled = KNOWN[self.category]
        place = self.cache / f"{self.category}-said" / f"{row['image'].replace('/', '-')}.npz"
        if not place.is_file():
            if self._inspector is None:
                self._inspector = Inspector.load(InspectorOptions(latents="off", injection="off"))
            references = (self.templates[row["split"], row["group"]],) if paired else self.references
            session = self._inspector.open(InspectionRequest(str(self.root / row["image"]), known, references))
            about = session.context.knowledge
            assert about is not None
            options = [option_of(kind.name) for kind in about.defects]
            reply = session.dialog.choose(TYPE_QUESTION, options, False)
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_suffix(".part.npz")
            np.savez(
                draft,
                types=np.array([kind.type for kind in about.defects]),
                model=np.array([option.probability for option in reply.answer.options]),
                words=np.array(session.measured(options)),
            )
            draft.replace(place)
        with np.load(place) as held:
            names = tuple(spelled.get(str(kind), str(kind)) for kind in held["types"])
            return Answered(row["image"], row["defect_type"], names, held["model"], held["words"])


@dataclass
class Tally:
    """What came of test areas, over all draws of examples."""

    right: list[list[float]]  # by test area, over draws
    kinds: list[str]
    images: list[str]

    def macro(self, chosen: np.ndarray) -> float:
        """Mean over types of the share named rightly, of some areas (with repeats)."""
        shares: dict[str, list[float]] = {}
        for index in chosen:
            if self.right[index]:
                shares.setdefault(self.kinds[index], []).append(float(np.mean(self.right[index])))
        return float(np.mean([np.mean(one) for one in shares.values()]))

    def told(self) -> dict[str, Any]:
        """The macro accuracy with its interval, images drawn again."""
        names = sorted(set(self.images))
        by_image = {name: [i for i, image in enumerate(self.images) if image == name] for name in names}
        found = bootstrap(
            range(len(names)), lambda drawn: self.macro(np.concatenate([by_image[names[int(i)]] for i in drawn]))
        )
        return {"accuracy": round(found.value, 3), "interval": [round(found.low, 3), round(found.high, 3)],
                "areas": len(self.kinds), "images": len(names)}  # fmt: skip


def main() -> None:
    """Ask, measure, print."""
    from defect_types import PAIRED, rows_of, say

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", required=True)
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--most", type=int, default=1000, help="images of a type")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = rows_of(args.root)
    asker, answered, counts = Asker(args.root, args.only, rows, args.cache), [], dict[str, int]()
    for row in rows:
        if row["category"] != args.only or row["split"] != args.split or row["label"] == "normal":
            continue
        counts[row["defect_type"]] = counts.get(row["defect_type"], 0) + 1
        if counts[row["defect_type"]] <= args.most:
            answered.append(asker.ask(row, args.only in PAIRED))
            say(f"{args.only} {args.split}: {len(answered)}")
    kinds, images = [one.kind for one in answered], [one.image for one in answered]
    found = {}
    for name in ("model", "joined"):
        right = [float(one.names[int(getattr(one, name).argmax())] == one.kind) for one in answered]
        found[name] = Tally([[one] for one in right], kinds, images).told()
        print(name, json.dumps(found[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
