"""Fit how far the words of the knowledge fit what is measured of an area, and how much the model's answer counts.

    python -m reason_iad.training.fit_wording --rows DIR [--root ROOT:CATEGORY:KNOWN ...] [--write]

Products are synthetic lines whose category the starter knowledge describes, and the training images of ROOT; KNOWN is
the category of the knowledge that names the types. Of every defective image the area that the comparison with good
parts finds is described; of those of ROOT the model is asked for the type, as in use: of those that the knowledge names
and nothing else. Both are kept in --rows; a run that was cut off goes on. Then

    log q_k = z_k + a log model_k    or    z_k + a (log model_k - mean over the product's good parts of log model_k)

is fitted by conditional logistic regression, each product in turn left out of the fit that it is measured by. --write
stores the first, on the lines alone, since results are reported on the others: z in `naming/data/wording.json`, a with
the weights of options of --adapter.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reason_iad.errors import InputError
from reason_iad.files import write_whole
from reason_iad.images import encode_png
from reason_iad.inspection.details import TYPE_QUESTION, option_of
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.option_fusion import OptionFusion
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.session import CLASSIFICATION, Session
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.naming.examples import DefectExample, DefectExamples
from reason_iad.naming.few_shot import Doubles, weighted
from reason_iad.naming.namer import Namer, NamerSettings
from reason_iad.naming.wording import SETTINGS, term_names, terms
from reason_iad.training.notes import REPORTED
from reason_iad.training.synth import CATEGORIES, Line, Synthesizer
from reason_iad.types import InspectionRequest

SEED, REFERENCES, IMAGES, GOODS = 11, 4, 3, 1
SAME_PRODUCT, SAME_TYPE = 0.85, 0.8  # cosines from which two names stand for one thing
DRAWS = 4
LEAST = 0.01  # weight of a model, which must have some
RIDGE = 10.0  # how many images' worth of likelihood a unit of weight away from `PRIOR` costs
PRIOR = {  # words at face value: what is called large is large; few products draw little away from it
    "size.whole_size": 0.5, "size.claimed": -0.1, "long.whole_elongation": 0.5, "long.claimed": -0.175,
    "tone.step": 0.25, "tone.contrast": 0.25, "edge.near_edge": 0.5, "edge.claimed": -0.2,
    "sharp.sharpness": 0.25, "sharp.claimed": -0.225, "red.red": 0.5, "yellow.yellow": 0.5, "level.across": 0.5,
    "rough.texture": 0.25, "many.areas": 0.25, "many.pieces": 0.25, "missing.near_edge": 0.25,
    "missing.claimed": -0.1, "model": 0.05,
}  # fmt: skip


Image = Path | Callable[[], bytes]  # a file, or what paints one


@dataclass(frozen=True, eq=False)
class Row:
    """One image: what was measured and said of its oddest area, and which type is right."""

    product: str
    kind: int  # index of the right type
    texts: tuple[str, ...]  # name and look of each type
    vector: np.ndarray
    model: np.ndarray | None  # probabilities (K,); None where it was not asked
    words: np.ndarray  # how likely the look in words is for each type (K,)
    good: np.ndarray  # mean log-probabilities on good parts (K,)


@dataclass(frozen=True)
class Product:
    """One product: images of defects with the types that knowledge names, and good parts."""

    name: str
    category: str
    images: tuple[tuple[str, str, Image], ...]  # id, type, file
    references: tuple[Image, ...]
    goods: tuple[Image, ...]


def synthetic(base: KnowledgeBase) -> Iterator[Product]:
    """Lines of categories that the knowledge describes, but for those that results are reported on."""
    known = [(c, n) for c in base.categories if (k := base.knowledge_of(c)) for n in (k.name, *k.aliases)]
    synthesizer = Synthesizer(SEED)
    for index in range(len(CATEGORIES)):
        line = synthesizer.make_line(index)
        category = base.find_category(line.object_name)
        if category is None:
            nearest, cosine = base.closest(line.object_name, [n for _, n in known])
            category = known[nearest][0] if cosine >= SAME_PRODUCT else None
        if category is None or category in REPORTED:
            continue
        kinds = {d.type.replace("_", " "): d.type for d in base.knowledge_of(category).defects}  # type: ignore[union-attr]
        named = {}
        for kind in line.spec.defects:
            nearest, cosine = base.closest(kind, list(kinds))
            if cosine >= SAME_TYPE:
                named[kind] = list(kinds.values())[nearest]
        if len(set(named.values())) > 1:
            images = tuple(
                (f"{kind}-{index}", known_as, functools.partial(_defective, line, index, kind))
                for kind, known_as in named.items()
                for index in range(IMAGES)
            )
            goods = tuple(functools.partial(_normal, line, 1000 + i) for i in range(REFERENCES + GOODS))
            yield Product(f"line-{line.category}", category, images, goods[:REFERENCES], goods[REFERENCES:])


def _defective(line: Line, index: int, kind: str) -> bytes:
    return encode_png(line.defective(index, kind).pixels)


def _normal(line: Line, index: int) -> bytes:
    return encode_png(line.normal(index))


def real(root: Path, category: str, known: str, base: KnowledgeBase, most: int, split: str = "train") -> Product:
    """Images of one category, at most so many of a type, spread evenly; good parts are of `train`."""
    kinds = {d.type.replace("_", " "): d.type for d in base.knowledge_of(known).defects}  # type: ignore[union-attr]
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == category]
    goods = [root / row["image"] for row in rows if row["label"] == "normal" and row["split"] == "train"]
    rows = [row for row in rows if row["label"] != "normal" and row["split"] == split]
    order = [goods[int(i)] for i in np.random.default_rng(0).permutation(len(goods))[: REFERENCES + GOODS]]
    images: list[tuple[str, str, Image]] = []
    for kind in sorted({row["defect_type"] for row in rows}):
        nearest, cosine = base.closest(kind.replace("_", " "), list(kinds))
        mine = [row for row in rows if row["defect_type"] == kind]
        if cosine >= SAME_TYPE:
            for at in np.linspace(0, len(mine) - 1, min(most, len(mine))).astype(int):
                path = root / mine[at]["image"]
                images.append((mine[at]["image"].replace("/", "-"), list(kinds.values())[nearest], path))
    return Product(category, known, tuple(images), tuple(order[:REFERENCES]), tuple(order[REFERENCES:]))


def collect(product: Product, inspector: Inspector, rows: Path) -> None:
    """Describe and ask about every image that --rows lacks."""
    asked = [file for file in product.goods if isinstance(file, Path)]
    goods = {rows / product.name / f"good-{index}.npz": file for index, file in enumerate(asked)}
    places = [(rows / product.name / f"{name}.npz", kind, file) for name, kind, file in product.images]
    if all(place.is_file() for place in (*goods, *(place for place, _, _ in places))):
        return
    with tempfile.TemporaryDirectory() as folder:
        references = tuple(_file(one, Path(folder), f"reference{i}") for i, one in enumerate(product.references))

        silent = inspector.with_options(replace(inspector.options, reason="never"))

        def ask(file: Image, name: str, model: bool) -> tuple[Session, list[float]]:
            request = InspectionRequest(_file(file, Path(folder), name), product.category, references)
            session = (inspector if model else silent).open(request)
            if not model:
                return session, []
            reply = session.dialog.choose(TYPE_QUESTION, _options(session), False)
            return session, [option.probability for option in reply.answer.options]

        for place, good in goods.items():
            if not place.is_file():
                _keep(place, model=np.array(ask(good, place.stem, True)[1]))
        for place, kind, file in places:
            if place.is_file():
                continue
            try:
                session, said = ask(file, "image", isinstance(file, Path))
            except InputError:  # a line on which this defect cannot be seen
                continue
            assert session.context.knowledge is not None
            assert session.context.area is not None
            right = [one.type for one in session.context.knowledge.defects].index(kind)
            words = np.array(session.measured(_options(session)))
            _keep(place, model=np.array(said), words=words, vector=session.context.area(), kind=np.array(right))


def _options(session: Session) -> list[str]:
    assert session.context.knowledge is not None
    return [option_of(kind.name) for kind in session.context.knowledge.defects]


def load(product: str, category: str, base: KnowledgeBase, rows: Path) -> list[Row]:
    """What was kept of a product."""
    known = base.knowledge_of(category)
    assert known is not None
    texts = tuple(f"{kind.name}: {kind.look}" for kind in known.defects)
    goods = [np.load(path)["model"] for path in sorted((rows / product).glob("good-*.npz"))]
    good = np.mean(np.log(np.maximum(goods, 1e-6)), axis=0) if goods else np.zeros(len(texts))
    found = []
    for path in sorted((rows / product).glob("*.npz")):
        if not path.name.startswith("good-"):
            with np.load(path) as held:
                found.append(
                    Row(product, int(held["kind"]), texts, held["vector"], _or_none(held["model"]), held["words"], good)
                )
    return found


def _or_none(values: np.ndarray) -> np.ndarray | None:
    return values if values.size else None


def inputs(row: Row) -> Doubles:
    """The terms of each type, and last what the model adds: (K, F + 1)."""
    said = np.zeros(len(row.texts)) if row.model is None else np.log(np.maximum(row.model, 1e-6)) - row.good
    return np.concatenate([terms(row.texts, row.vector), (said - said.mean())[:, None]], axis=1)


def fit(rows: Sequence[Row], ridge: float = RIDGE) -> Doubles:
    """Weights (F + 1,) by conditional logistic regression; every type of every product counts alike."""
    from scipy.optimize import minimize

    each = [inputs(row) for row in rows]
    given = np.zeros((len(each), max(map(len, each)), each[0].shape[1]))  # (n, K, F + 1)
    there = np.zeros(given.shape[:2], dtype=bool)
    for index, one in enumerate(each):
        given[index, : len(one)], there[index, : len(one)] = one, True
    right, shares = np.array([row.kind for row in rows]), balance(rows)
    at, prior = np.arange(len(rows)), np.array([PRIOR.get(name, 0.0) for name in (*term_names(), "model")])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        z = np.where(there, given @ weights, -np.inf)
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        moved = weights - prior
        total = ridge * float(moved @ moved) - float(shares @ np.log(np.maximum(p[at, right], 1e-12)))
        p[at, right] -= 1
        return total, 2 * ridge * moved + np.einsum("n,nk,nkf->f", shares, p, given)

    found: Doubles = minimize(loss, prior, jac=True, method="L-BFGS-B").x
    return found


def balance(rows: Sequence[Row]) -> Doubles:
    """How much each row counts (n,): each type of each product alike; on average 1."""
    counts = Counter((row.product, row.kind) for row in rows)
    shares = np.array([1 / counts[row.product, row.kind] for row in rows])
    return np.asarray(shares * len(rows) / shares.sum(), np.float64)


def measure(rows: Sequence[Row], weights: Doubles) -> tuple[float, float]:
    """Mean over types of the share named rightly, and mean negative log-likelihood."""
    right: dict[int, list[float]] = {}
    lost = []
    for row in rows:
        z = inputs(row) @ weights
        p = np.exp(z - z.max())
        best = z >= z.max() - 1e-9
        right.setdefault(row.kind, []).append(float(best[row.kind]) / best.sum())
        lost.append(-float(np.log(p[row.kind] / p.sum())))
    return float(np.mean([np.mean(one) for one in right.values()])), float(np.mean(lost))


def fit_share(rows: Sequence[Row], weights: dict[str, Doubles], shots: int) -> tuple[float, dict[str, float], int]:
    """The share of `shots` examples a type in the say, beside what is said, at which right types are likeliest.

    That of their weight in the sum of both: how sure both are together is another matter.

    Args:
        rows: of all products.
        weights: of the words and the model, by product, fitted without it.
        shots: examples a type; of those left, products that have none do not count.

    Returns:
        The share, the same with each product left out, and the number of areas named.
    """
    from scipy.optimize import minimize

    asked: dict[str, list[tuple[Doubles, Doubles, int]]] = {}
    for name, mine in by_product(rows).items():
        kinds = sorted({row.kind for row in mine if sum(other.kind == row.kind for other in mine) > shots})
        usable = [row for row in mine if row.kind in kinds]
        for seed in range(DRAWS) if len(kinds) > 1 else ():
            order = np.random.default_rng(seed).permutation(len(usable))
            chosen = {int(i) for kind in kinds for i in [j for j in order if usable[j].kind == kind][:shots]}
            namer = Namer(_examples([usable[i] for i in sorted(chosen)]), NamerSettings.load())
            assert namer.rule is not None
            for index in set(range(len(usable))) - chosen:
                row = usable[index]
                scores = namer.rule.scores(weighted(row.vector[None]))[0][0] / namer.temperature
                said = (inputs(row) @ weights[name])[[int(kind) for kind in namer.types]]
                asked.setdefault(name, []).append(
                    (log_softmax(scores), log_softmax(said), namer.types.index(str(row.kind)))
                )

    def best(names: Sequence[str]) -> float:
        def lost(weights: Doubles) -> float:
            each = [
                [-log_softmax(weights[0] * seen + weights[1] * said)[right] for seen, said, right in asked[name]]
                for name in names
            ]
            return float(np.mean([np.mean(one) for one in each]))

        found = minimize(lost, np.array([0.7, 0.3]), bounds=[(0, 5), (0, 5)], method="L-BFGS-B").x
        return round(float(found[0] / max(found.sum(), 1e-9)), 2)

    left = {name: best([other for other in asked if other != name]) for name in asked} if len(asked) > 1 else {}
    return best(list(asked)), left, sum(map(len, asked.values()))


def log_softmax(scores: Doubles) -> Doubles:
    """Scores (K,) as log-probabilities."""
    moved = scores - scores.max()
    found: Doubles = moved - np.log(np.exp(moved).sum())
    return found


def by_product(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the name of their product."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.product, []).append(row)
    return found


def _examples(rows: Sequence[Row]) -> DefectExamples:
    found = [
        DefectExample(
            str(r.kind), str(i), str(i), (1, 1), (i, 0, i + 1, 1), r.vector[None].astype(np.float32), b"", "", ""
        )
        for i, r in enumerate(rows)
    ]
    return DefectExamples("", tuple(found), 1)


def _keep(place: Path, **arrays: np.ndarray) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.part.npz")
    np.savez(draft, **arrays)  # type: ignore[arg-type]
    draft.replace(place)


def _file(source: Image, folder: Path, name: str) -> str:
    if isinstance(source, Path):
        return str(source)
    path = folder / f"{name}.png"
    path.write_bytes(source())
    return str(path)


def main() -> None:
    """Collect, fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--root", nargs="*", default=[], help="ROOT:CATEGORY:KNOWN")
    parser.add_argument("--most", type=int, default=12, help="images of a type")
    parser.add_argument("--adapter", type=Path, default=Path("src/reason_iad/data/nano"))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    base = KnowledgeBase.load()
    products = [real(Path(r), c, k, base, args.most) for r, c, k in (one.rsplit(":", 2) for one in args.root)]
    products += synthetic(base)
    inspector = Inspector.load(InspectorOptions(latents="off", injection="off"))
    rows: list[Row] = []
    for product in products:
        collect(product, inspector, args.rows)
        rows += load(product.name, product.category, base, args.rows)
        print(f"{product.name}: {len(product.images)} images, {len(rows)} in all", flush=True)
    report(rows, "less its answer on good parts")
    rows = [replace(row, good=np.zeros(len(row.texts))) for row in rows]
    apart = report(rows, "as it is")
    for shots in (1, 2, 4):
        print(shots, "a type:", fit_share(rows, apart, shots))
    if args.write:
        write(fit([row for row in rows if row.product.startswith("line-")]), args.adapter / "adapter.json")


def report(rows: Sequence[Row], model: str) -> dict[str, Doubles]:
    """Print how each product is named by the fit on the others, by all there is and by parts; the fits."""
    apart: dict[str, Doubles] = {}
    print(f"the model's answer {model}: accuracy and loss by words and model, words alone, model alone, chance")
    for name, mine in by_product(rows).items():
        apart[name] = fit([row for row in rows if row.product != name])
        words, said = apart[name].copy(), np.zeros_like(apart[name])
        words[-1], said[-1] = 0.0, 1.0
        told = [measure(mine, one) for one in (apart[name], words, said)]
        each = ", ".join(f"{accuracy:.3f} {lost:.3f}" for accuracy, lost in told)
        print(f"{name}: {each}, {1 / len(mine[0].texts):.3f} {np.log(len(mine[0].texts)):.3f}, n={len(mine)}")
    names = (*term_names(), "model")
    print({name: round(float(w), 3) for name, w in zip(names, fit(rows), strict=True)})
    return apart


def write(weights: Doubles, adapter: Path) -> None:
    """Store the weights of words, and that of the model beside them."""
    stored = {"weights": {n: round(float(w), 4) for n, w in zip(term_names(), weights, strict=False)}}
    write_whole(SETTINGS, (json.dumps(stored, indent=1) + "\n").encode())
    settings = json.loads(adapter.read_text())
    of_model = {"model": round(max(float(weights[-1]), LEAST), 4), "evidence": 1.0}
    settings["options"]["weights"][CLASSIFICATION] |= of_model
    OptionFusion.from_settings(settings)  # what cannot be read back is not written
    write_whole(adapter, (json.dumps(settings, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
