"""What is asked of an inspection and what comes of it: plain frozen data, checked where it is made.

Axes of the whole package: B images, P image patches, N prompt tokens, L latents, M candidates, K top-k tokens,
V vocabulary, D width, R references. Boxes are `box_xyxy` in pixels of the original image after EXIF rotation,
with x1 and y1 exclusive; sizes are `image_hw`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from reason_iad.errors import InputError
from reason_iad.words import counted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from reason_iad.images import LoadedImage, Pixels

    ImageSource: TypeAlias = str | Path | bytes | Pixels | LoadedImage

SCHEMA_VERSION = "2"  # 2 adds the nearest normal patch, what to check next, and faithfulness
READABLE_VERSIONS = ("1", "2")

Verdict = Literal["normal", "defective", "uncertain"]
EntryKind = Literal["normal", "defect", "standard", "process"]
CategorySource = Literal["given", "recognized", "unknown"]
KnowledgeMode = Literal["none", "retrieved", "oracle"]
LatentMode = Literal["off", "paper", "on", "gradient", "walk", "sample"]
MAX_CHOICES = 26  # as many as there are letters
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


@dataclass(frozen=True, eq=False)
class InspectionRequest:
    """One image and what to inspect it with: the one form that every entrance of the program hands on.

    Attributes:
        image: path, bytes of an image file, pixels (H, W, 3) uint8, or an image that was read before.
        category: what it shows, as knowledge or profiles name it; recognized where None.
        references: images of good parts to compare with, in any of the same forms.
        question: asked besides the verdict.
        choices: answers to choose from, 2 to 26 different ones; free words where empty.
        name: what people call an image that is given as bytes or pixels; never opened.

    Raises:
        InputError: choices without a question or that cannot be told apart, an empty question, a null character.
    """

    image: ImageSource
    category: str | None = None
    references: tuple[ImageSource, ...] = ()
    question: str | None = None
    choices: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        if self.image is None or (isinstance(self.image, str) and not self.image):
            raise InputError("the request has no image; expected a path, bytes of an image file, or pixels")
        category = _text("category", self.category)
        question = _text("question", self.question)
        object.__setattr__(self, "category", category or None)
        if question == "":
            raise InputError("the question is empty; expected some text: write it after --question, or leave that out")
        object.__setattr__(self, "question", question)
        given: tuple[object, object] = (self.choices, self.references)  # whatever an untyped caller brought
        if isinstance(given[0], str):
            raise InputError(f"the choices are the text {given[0][:80]!r}; expected a sequence of answers")
        choices = tuple(_text("choices", choice) or "" for choice in self.choices)
        object.__setattr__(self, "choices", choices)
        if isinstance(given[1], str | bytes | Path):
            raise InputError("the references are one path or file; expected a sequence of images")
        object.__setattr__(self, "references", tuple(self.references))
        if choices and question is None:
            raise InputError(
                f"found {counted(len(choices), 'choice')} and no question; expected both: add --question TEXT"
            )
        if choices and (not 2 <= len(choices) <= MAX_CHOICES or len(set(choices)) < len(choices) or "" in choices):
            raise InputError(
                f"the choices are {', '.join(choices):.200}; expected 2 to {MAX_CHOICES} different answers: "
                "name each once"
            )

    @classmethod
    def of(
        cls,
        image: ImageSource | InspectionRequest,
        category: str | None = None,
        references: Sequence[ImageSource] = (),
        question: str | None = None,
        choices: Sequence[str] = (),
    ) -> InspectionRequest:
        """The request itself, or one about an image."""
        if isinstance(image, InspectionRequest):
            return image
        return cls(image, category, tuple(references), question, tuple(choices))


def _text(name: str, value: object) -> str | None:
    """A text without blanks around it.

    Raises:
        InputError: it is no text, or holds a null character.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{name} is {type(value).__name__}; expected text")
    if "\x00" in value:
        raise InputError(f"{name} holds a null character; expected plain text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name} holds half of a character; expected valid Unicode")
    return value.strip()


class _Checked:
    """Settings by which pydantic checks a part of a report: nothing unknown, and finite numbers."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class NearestNormal(_Checked):
    """The patch of the normal references that is most like the oddest patch of a region."""

    reference: int  # which of the references that the report shows, from 0
    box_xyxy: tuple[int, int, int, int]  # in pixels of that reference, as large as the region
    distance: float  # cosine distance of the two patches, in [0, 2]


@dataclass(frozen=True)
class OptionProbability(_Checked):
    """One answer option and its probability among the options asked."""

    text: str
    probability: float


@dataclass(frozen=True)
class LikeExample(_Checked):
    """A labeled defect that a region looks like."""

    id: str  # in the category's examples
    defect_type: str
    image: str
    date: str  # when it was named, YYYY-MM-DD
    picture: str = ""  # small JPEG of it in base64; empty where there is none


@dataclass(frozen=True)
class DefectNaming(_Checked):
    """What one odd area is called, and what speaks for and against it."""

    defect_type: str | None  # None where nothing is sure enough, or it is none of the known types
    types: tuple[OptionProbability, ...]  # likeliest first, with "none of these" where there are examples
    like: tuple[str, ...] = ()  # ids of the nearest examples of the likeliest type
    against: str | None = None  # what speaks against the second type
    consequence: str | None = None
    check_next: str | None = None
    num_examples: int = 0  # that it rests on, of all types


@dataclass(frozen=True)
class Region(_Checked):
    """A connected area that differs from the normal references."""

    box_xyxy: tuple[int, int, int, int]
    place: str
    strength: float  # calibrated, in [0, 1]: 0.99 quantile of the anomaly map inside
    area: float  # share of the image, in [0, 1]
    nearest: NearestNormal | None = None
    weak: bool = False  # the oddest place of an image that no place of is odder than normal parts show
    naming: DefectNaming | None = None  # None where neither knowledge nor examples name types


@dataclass(frozen=True)
class Citation(_Checked):
    """A knowledge entry that was put into the prompt."""

    entry_id: str
    category: str
    kind: EntryKind
    text: str
    source: str
    score: float  # fused retrieval score, see knowledge.retrieve; only its order has meaning
    defect_type: str | None = None


@dataclass(frozen=True)
class Voice(_Checked):
    """What one model of a panel, or the comparison with good parts, said of the options of a question."""

    name: str
    probabilities: tuple[float, ...]  # in the order of the options
    weight: float  # of a defect: log-odds that its vote added; else the log-likelihood ratio of its vote


@dataclass(frozen=True)
class Answer(_Checked):
    """The answer to one question, read from probabilities."""

    question: str
    text: str
    options: tuple[OptionProbability, ...] = ()  # empty for a free-form answer
    entropy: float | None = None  # of the options, divided by log(#options): 0 sure, 1 undecided
    grounds: tuple[str, ...] = ()  # what joined the model in the probabilities of the options
    voices: tuple[Voice, ...] = ()  # of a panel


@dataclass(frozen=True)
class InjectedPatch(_Checked):
    """An image patch whose visual embedding joined the latent tokens and decoded the answer."""

    index: int  # row-major in the model's patch grid
    box_xyxy: tuple[int, int, int, int]
    step: int
    saliency: float  # relative to a neutral question: 1 means no more than usual


@dataclass(frozen=True)
class TriedDetail(_Checked):
    """A region of the image that was read again at its own resolution, beside the same place of a good part."""

    box_xyxy: tuple[int, int, int, int]
    place: str
    step: int  # in which it was tried; 0 where no step was taken
    saliency: float  # relative to a neutral question, times evidence: 1 means no more than usual
    kept: bool  # whether the answer was decoded with it
    good: NearestNormal | None = None  # the same place of a good part; None where there was none


@dataclass(frozen=True)
class LatentStep(_Checked):
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
    detail: int | None = None  # which of the trace's details was tried in it
    agreement: float | None = None  # of its best candidate with the measured facts: 0 sure of all, -1 guessing


@dataclass(frozen=True)
class LatentTrace(_Checked):
    """What the latent reasoning did, step by step."""

    mode: str  # off, paper, reinforce, gradient, walk, sample, still
    steps: tuple[LatentStep, ...]
    start_reward: float | None
    best_reward: float | None
    base_answer: tuple[float, ...]  # distribution of the plain model
    answer: tuple[float, ...]  # distribution that counts
    stopped: str  # sure, patience, steps, time, off
    unstable: bool
    patches: tuple[InjectedPatch, ...] = ()
    milliseconds: float = 0.0
    details: tuple[TriedDetail, ...] = ()
    notes: tuple[str, ...] = ()  # what was left out, and why


@dataclass(frozen=True)
class EvidenceSummary(_Checked):
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
class ServerCost(_Checked):
    """What a model on a server was asked, and what that cost."""

    requests: int
    tokens_read: int  # as the server counts them; 0 where it does not
    tokens_written: int

    def __add__(self, other: ServerCost) -> ServerCost:
        return ServerCost(
            self.requests + other.requests,
            self.tokens_read + other.tokens_read,
            self.tokens_written + other.tokens_written,
        )

    def __sub__(self, other: ServerCost) -> ServerCost:
        return ServerCost(
            self.requests - other.requests,
            self.tokens_read - other.tokens_read,
            self.tokens_written - other.tokens_written,
        )


@dataclass(frozen=True)
class AnswerOffset(_Checked):
    """What the model says of good parts, which was subtracted from what it says of the image."""

    log_odds: tuple[float, ...]  # of a defect, of each good part beside the others
    mean: float
    scores: tuple[float, ...] = ()  # anomaly scores of the same good parts; empty without a comparison

    @property
    def pairs(self) -> list[list[float]]:
        """Log-odds and anomaly score of each good part; none without a comparison."""
        return [list(pair) for pair in zip(self.log_odds, self.scores, strict=False)]


@dataclass(frozen=True)
class FaithfulnessRow(_Checked):
    """How far the probability of a defect moves when one thing the report names is taken away or kept alone."""

    change: str  # what was done, in plain words
    probability: float  # afterwards, in [0, 1]
    moved: float  # how far that is from the report's, signed, in [-1, 1]
    random_moved: tuple[float, ...] = ()  # the same done to random places or patches of equal size


@dataclass(frozen=True)
class Faithfulness(_Checked):
    """Whether the answer really rests on what the report says it rests on, measured on the image itself."""

    rows: tuple[FaithfulnessRow, ...]
    seed: int
    milliseconds: float


@dataclass(frozen=True)
class InspectionReport(_Checked):
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
    offset: AnswerOffset | None = None  # where good parts were asked about, too
    cost: ServerCost | None = None  # of a model on a server
    naming: DefectNaming | None = None  # of the part: of its oddest area
    examples: tuple[LikeExample, ...] = ()  # that areas look like, each once

    @property
    def defect_counts(self) -> dict[str, int]:
        """Number of areas of each type, the most first; an area without a sure type does not count."""
        named = [r.naming for r in self.regions if r.naming is not None] or ([self.naming] if self.naming else [])
        counts = Counter(one.defect_type for one in named if one.defect_type is not None)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

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
        from pydantic import ValidationError

        try:
            # from the text, since in JSON a list is the form of a tuple and a whole number may stand for a float
            return _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            raise InputError(f"the report cannot be used: {_first_problem(error)}") from error


@functools.cache
def _adapter() -> TypeAdapter[InspectionReport]:
    from pydantic import TypeAdapter

    return TypeAdapter(InspectionReport)


def _first_problem(error: Any) -> str:
    """Where a report is wrong, what was found there and what was expected, in one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in ("report", *first["loc"]))
    found = f"{first['input']!r:.80}" if "input" in first and first["type"] != "missing" else "nothing"
    return f"{where} is {found}; {first['msg'][0].lower()}{first['msg'][1:]}"
