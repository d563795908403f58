"""The typed result of an inspection: plain frozen data, to and from JSON.

Axes of the whole package: B images, P image patches, N prompt tokens, L latents, M candidates, K top-k tokens,
V vocabulary, D width, R references. Boxes are `box_xyxy` in pixels of the original image after EXIF rotation,
with x1 and y1 exclusive; sizes are `image_hw`.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from reason_iad.errors import InputError

SCHEMA_VERSION = "2"  # 2 adds the nearest normal patch, what to check next, and faithfulness
READABLE_VERSIONS = ("1", "2")

Verdict = Literal["normal", "defective", "uncertain"]
EntryKind = Literal["normal", "defect", "standard", "process"]
CategorySource = Literal["given", "recognized", "unknown"]
KnowledgeMode = Literal["none", "retrieved", "oracle"]
LatentMode = Literal["off", "paper", "on"]
PLACES = (
    "top left", "top center", "top right",
    "middle left", "center", "middle right",
    "bottom left", "bottom center", "bottom right",
)  # fmt: skip


def place_of(x: float, y: float, image_hw: tuple[int, int]) -> str:
    """Name the cell of a 3 x 3 grid over the image that holds the point (x, y), in pixels.

    >>> place_of(10, 10, (300, 300)), place_of(150, 290, (300, 300))
    ('top left', 'bottom center')
    """
    height, width = image_hw
    row = min(max(int(y / height * 3), 0), 2)
    column = min(max(int(x / width * 3), 0), 2)
    return PLACES[row * 3 + column]


@dataclass(frozen=True)
class NearestNormal:
    """The patch of the normal references that is most like the oddest patch of a region."""

    reference: int  # which of the references that the report shows, from 0
    box_xyxy: tuple[int, int, int, int]  # in pixels of that reference, as large as the region
    distance: float  # cosine distance of the two patches, in [0, 2]


@dataclass(frozen=True)
class Region:
    """A connected area that differs from the normal references."""

    box_xyxy: tuple[int, int, int, int]
    place: str
    strength: float  # calibrated, in [0, 1]: 0.99 quantile of the anomaly map inside
    area: float  # share of the image, in [0, 1]
    nearest: NearestNormal | None = None
    weak: bool = False  # the oddest place of an image that no place of is odder than normal parts show


@dataclass(frozen=True)
class Citation:
    """A knowledge entry that was put into the prompt."""

    entry_id: str
    category: str
    kind: EntryKind
    text: str
    source: str
    score: float  # fused retrieval score, see knowledge.retrieve; only its order has meaning
    defect_type: str | None = None


@dataclass(frozen=True)
class OptionProbability:
    """One answer option and its probability among the options asked."""

    text: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """The answer to one question, read from probabilities."""

    question: str
    text: str
    options: tuple[OptionProbability, ...] = ()  # empty for a free-form answer
    entropy: float | None = None  # of the options, divided by log(#options): 0 sure, 1 undecided
    grounds: tuple[str, ...] = ()  # what joined the model in the probabilities of the options


@dataclass(frozen=True)
class InjectedPatch:
    """An image patch whose visual embedding joined the latent tokens and decoded the answer."""

    index: int  # row-major in the model's patch grid
    box_xyxy: tuple[int, int, int, int]
    step: int
    saliency: float  # relative to a neutral question: 1 means no more than usual


@dataclass(frozen=True)
class LatentStep:
    """One step of test-time optimization of the latents."""

    step: int
    rewards: tuple[float, ...]  # of the candidates, in the order drawn
    mean_reward: float  # of the updated mean, scored in the following pass
    best_reward: float  # best state so far
    answer: tuple[float, ...]  # distribution over the options at the mean
    answer_entropy: float
    latent_entropy: float
    proposed: tuple[int, ...]  # patches tried in this step
    kept: tuple[int, ...]  # patches in the set after it
    milliseconds: float


@dataclass(frozen=True)
class LatentTrace:
    """What the latent reasoning did, step by step."""

    mode: str  # off, paper, reinforce, gradient
    steps: tuple[LatentStep, ...]
    start_reward: float | None
    best_reward: float | None
    base_answer: tuple[float, ...]  # distribution of the plain model
    answer: tuple[float, ...]  # distribution that counts
    stopped: str  # sure, patience, steps, time, off
    unstable: bool
    patches: tuple[InjectedPatch, ...] = ()
    milliseconds: float = 0.0


@dataclass(frozen=True)
class EvidenceSummary:
    """What the comparison with normal references says about the whole image."""

    num_references: int
    anomaly_score: float  # calibrated, in [0, 1]; at 0.5 about one good part in twenty looks at least this odd
    p_value: float | None  # rank among known normals as a share (conformal); None without enough of them
    gate_open: bool  # an odd area is larger than the references explain
    text: str  # the line the model reads
    streams: tuple[str, ...] = ()
    num_normals: int = 0  # that the p-value is a rank among: held-out ones, or the references, each left out in turn
    normal_share: float | None = None  # estimated share of good parts at least this odd, from the references' spread
    unsuitable: str | None = None  # why the image is no picture of this product


@dataclass(frozen=True)
class FaithfulnessRow:
    """How far the probability of a defect moves when one thing the report names is taken away or kept alone."""

    change: str  # what was done, in plain words
    probability: float  # afterwards, in [0, 1]
    moved: float  # how far that is from the report's, signed, in [-1, 1]
    random_moved: tuple[float, ...] = ()  # the same done to random places or patches of equal size


@dataclass(frozen=True)
class Faithfulness:
    """Whether the answer really rests on what the report says it rests on, measured on the image itself."""

    rows: tuple[FaithfulnessRow, ...]
    seed: int
    milliseconds: float


@dataclass(frozen=True)
class InspectionReport:
    """Everything the tool says about one image."""

    image: str
    image_hw: tuple[int, int]
    image_sha256: str
    verdict: Verdict
    probability: float  # calibrated probability that the part is defective, in [0, 1]
    probability_note: str  # how it was calibrated, in plain words
    anomaly_score: float  # in [0, 1]
    category: str  # "unknown" where none was given or recognized
    category_source: CategorySource
    category_probability: float | None
    defect_type: str | None
    description: str
    consequence: str | None
    regions: tuple[Region, ...] = ()
    evidence: EvidenceSummary | None = None
    answers: tuple[Answer, ...] = ()  # the question that was asked, if any, and those the verdict rests on
    citations: tuple[Citation, ...] = ()
    trace: LatentTrace | None = None
    notes: tuple[str, ...] = ()  # anything unusual a person should know
    milliseconds: dict[str, float] = field(default_factory=dict)  # by stage
    versions: dict[str, str] = field(default_factory=dict)
    schema_version: str = SCHEMA_VERSION
    check_next: str | None = None  # what to examine on the part, from the knowledge of the defect
    faithfulness: Faithfulness | None = None  # only where it was asked for: it takes many passes

    def to_json(self, indent: int | None = 2) -> str:
        """Serialize; `from_json` reads it back to an equal report."""
        return json.dumps(dataclasses.asdict(self), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> InspectionReport:
        """Read a report written by `to_json`.

        Raises:
            InputError: the text is not JSON, has another schema version, or lacks a field.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"the report is not JSON ({error}); expected the output of `reason-iad inspect --json`"
            ) from error
        if not isinstance(data, dict):
            raise InputError(f"the report is a JSON {type(data).__name__}; expected one object")
        if data.get("schema_version") not in READABLE_VERSIONS:
            found = data.get("schema_version")
            raise InputError(
                f"the report has schema version {found!r}; expected {SCHEMA_VERSION!r}: inspect the image again"
            )
        result = _build(cls, data, "report")
        assert isinstance(result, cls)
        return result


def _build(hint: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into the dataclass, tuple or scalar that `hint` names."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise InputError(f"{where} is {type(value).__name__}; expected an object")
        hints = typing.get_type_hints(hint)
        names = {f.name for f in dataclasses.fields(hint)}
        required = {
            f.name
            for f in dataclasses.fields(hint)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        if unknown := set(value) - names:
            raise InputError(f"{where} has unknown fields {sorted(unknown)}; expected {sorted(names)}")
        if missing := required - set(value):
            raise InputError(f"{where} lacks the fields {sorted(missing)}")
        return hint(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _build(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} is {type(value).__name__}; expected a list")
        item = arguments[0]
        return tuple(_build(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        return {str(k): _build(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} is {value!r}; expected one of {list(arguments)}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        raise InputError(f"{where} is {type(value).__name__}; expected {hint.__name__}")
    return value
