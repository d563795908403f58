"""Every setting of the method, once: its default, its help, what it may be.

The flags of the command line, of the server and of the benchmark, and the keys of a benchmark's file are derived from
`InspectorOptions` (`cli/method.py`, `benchmark/setting.py`). A new setting is a field here and the code that reads it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from reason_iad.errors import InputError
from reason_iad.knowledge import TOP_K
from reason_iad.types import KnowledgeMode, LatentMode

if TYPE_CHECKING:
    from reason_iad.models.loading import LoadOptions
    from reason_iad.reasoning.latent_options import LatentOptions

Group = Literal["method", "model"]
_KEY = "setting"
USUAL_OVERKILL = 0.02  # share of good parts that may be stopped, where nobody set another
NOTHING_TO_COMPARE = (
    "found --reason never and nothing to compare the image with; expected normal references or a learned profile: add "
    "--reference, or leave --reason out"
)


@dataclass(frozen=True)
class About:
    """What is known of one setting besides its name, type and default.

    Attributes:
        help: one line for people; the default is added to it.
        low: smallest number allowed.
        high: largest number allowed.
        open_ends: whether `low` and `high` themselves are refused.
        metavar: what stands for the value in a usage line; the type's own where None.
        group: method, or how an open model is loaded.
        told: what the default does, in words, where its value alone does not say it.
    """

    help: str
    low: float = -math.inf
    high: float = math.inf
    open_ends: bool = False
    metavar: str | None = None
    group: Group = "method"
    told: str | None = None


def setting(default: Any, text: str, **more: Any) -> Any:
    """A dataclass field that is a setting; `more` are fields of `About`."""
    return field(default=default, metadata={_KEY: About(text, **more)})


@dataclass(frozen=True)
class Declared:
    """One setting of `InspectorOptions`, read off its field."""

    name: str
    default: Any
    kind: type  # str, int or float
    choices: tuple[str, ...]  # empty where any value of the kind is allowed
    optional: bool  # whether None is allowed
    about: About

    @property
    def flag(self) -> str:
        """As it is given on a command line."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any) -> Any:
        """The value, of the right type.

        Raises:
            InputError: it is of another type, or not allowed.
        """
        if value is None and self.optional:
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, self.kind) or isinstance(value, bool):
            raise InputError(f"{self.name} is {value!r}; expected {self._expected}")
        if self.choices and value not in self.choices:
            raise InputError(f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}")
        if isinstance(value, int | float) and not self._inside(value):
            raise InputError(f"{self.name} is {value}; expected {self._expected}")
        return value

    def read(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            InputError: it stands for none that is allowed.
        """
        try:
            value = self.kind(text)
        except ValueError:
            raise InputError(f"{self.name} is {text!r}; expected {self._expected}") from None
        return self.check(value)

    def _inside(self, value: float) -> bool:
        low, high = self.about.low, self.about.high
        return low < value < high if self.about.open_ends else low <= value <= high

    @property
    def _expected(self) -> str:
        low, high, open_ends = self.about.low, self.about.high, self.about.open_ends
        kind = {int: "a whole number", float: "a number", str: "a text"}[self.kind]
        if math.isinf(low) and math.isinf(high):
            return kind
        if math.isinf(high):
            return f"{kind} above {low:.10g}" if open_ends else f"{kind} from {low:.10g} on"
        return f"{kind} between {low:.10g} and {high:.10g}" if open_ends else f"{kind} from {low:.10g} to {high:.10g}"


@dataclass(frozen=True)
class InspectorOptions:
    """Every part can be switched alone; on by default is what measurably helps (docs/results.md)."""

    model: str = setting(
        "nano",
        "nano (the bundled one), a hub id, a folder, or openai:NAME on a server; several make a panel",
        metavar="ID",
    )
    knowledge: KnowledgeMode = setting("retrieved", "use of knowledge: none, the best entries, or all of the category")
    top_k: int = setting(TOP_K, "most knowledge entries in the prompt", low=1, metavar="K")
    latents: LatentMode = setting(
        "off",
        "latent reasoning: on is by policy gradient, gradient by the exact one, paper the published form; walk (at "
        "random) and sample (the best of many draws) are its controls",
    )
    num_steps: int = setting(10, "most steps of latent reasoning", low=0, metavar="N")
    time_budget: float | None = setting(
        None, "most seconds of latent reasoning a question", low=0, open_ends=True, metavar="S", told="no limit"
    )
    injection: Literal["off", "on", "random"] = setting(
        "off", "visual injection: of the patches looked at most, or of random ones as a control"
    )
    details: Literal["off", "on", "random"] = setting(
        "off",
        "regions read again at the image's own resolution, beside the same place of a good part: those looked at "
        "most, or random ones as a control",
    )
    reward: Literal["entropy", "anchored"] = setting(
        "entropy", "what a thought is worth: how sure it is, or also how well it knows what was measured"
    )
    latent_depth: float = setting(
        0.0, "share of the layers behind which latents act; 0 is at the embeddings", low=0, high=0.75, metavar="X"
    )
    evidence: Literal["off", "on", "set", "paired"] = setting(
        "on", "use of references: a set of good parts, or one that shows this very object; on decides"
    )
    streams: Literal["default", "fast"] = setting(
        "default", "features that references are compared by: fast leaves the ViT out; profiles keep their own"
    )
    backbone: str | None = setting(
        None, "a transformer, by hub id or folder, that the references are compared by instead", metavar="ID",
        told="the bundled towers",
    )  # fmt: skip
    reason: Literal["auto", "always", "never"] | None = setting(
        None,
        "whether the language model is asked: auto is where its answer could change the verdict",
        told="always for single images; auto for lots, hot folders, the server and benchmarks of detection",
    )
    offset: Literal["auto", "on", "off"] = setting(
        "auto",
        "subtract the model's log-odds of a defect on good parts from those on the image: auto is where references "
        "are given and no stored fit of the model says otherwise",
    )
    max_overkill: float | None = setting(
        None, "share of good parts that may be called defective", low=0, high=1, open_ends=True, metavar="X",
        told=f"what was set for the profile, else {USUAL_OVERKILL}",
    )  # fmt: skip
    seed: int = setting(0, "seed of every random choice", low=0, high=2**32 - 1, metavar="N")
    thinking: int | None = setting(
        None, "most tokens of a thought in words before an answer; 0 turns thoughts off", low=0, high=32768,
        metavar="N", group="model", told="as the server does it; off for open models",
    )  # fmt: skip
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        "precision; auto is the fastest that the device computes in, for the bundled model what `docs/processors.md` "
        "says of this processor, and float32 its exact form; it has no other",
        group="model",
    )
    device: str = setting(
        "auto",
        "cpu, cuda, cuda:1 or mps; auto is the best here for open models, the processor for the bundled one",
        metavar="D",
        group="model",
    )
    quantization: Literal["none", "8bit", "4bit"] = setting(
        "none", "of the weights of an open model, with bitsandbytes or torchao where installed", group="model"
    )
    max_image_tokens: int | None = setting(
        None, "most tokens an image is read as by an open model", low=1, metavar="N", group="model",
        told="1280, 3700 for LLaVA-OneVision",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        for declared in declared_settings(type(self)):
            object.__setattr__(self, declared.name, declared.check(getattr(self, declared.name)))
        if self.backbone is not None and self.streams != "default":
            raise InputError(f"found backbone {self.backbone} and streams {self.streams}; expected one of them")
        if self.reason == "never" and self.evidence == "off":
            raise InputError(NOTHING_TO_COMPARE)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Options from parsed TOML or JSON, or from parsed arguments.

        Raises:
            InputError: a name is not known, or a value has the wrong type or no meaning.
        """
        known = {declared.name for declared in declared_settings(cls)}
        if unknown := set(values) - known:
            raise InputError(f"found the settings {sorted(unknown)}; expected some of {sorted(known)}")
        return cls(**values)

    @property
    def loading(self) -> LoadOptions:
        """How an open model is loaded."""
        from reason_iad.models.loading import LoadOptions

        return LoadOptions(self.dtype, self.device, self.quantization, self.max_image_tokens, self.thinking)

    @property
    def bundled_device(self) -> str:
        """Where the bundled towers and model run."""
        return "cpu" if self.device == "auto" else self.device

    def latent_options(self) -> LatentOptions | None:
        """The latent loop that these options ask for; None where there is to be none, and no details either."""
        from reason_iad.reasoning.latent_options import LatentOptions
        from reason_iad.reasoning.rewards import REWARDS

        if self.latents == "off" and self.details == "off":
            return None
        if self.latents == "paper":
            return LatentOptions.paper(self.num_steps, self.seed, self.time_budget)
        if self.latents == "off":
            found = LatentOptions.details_alone(self.num_steps, self.seed, self.time_budget)
            return dataclasses.replace(found, weights=REWARDS[self.reward])
        return LatentOptions(
            mode="reinforce" if self.latents == "on" else self.latents,
            num_steps=self.num_steps,
            seed=self.seed,
            time_budget=self.time_budget,
            weights=REWARDS[self.reward],
            depth=self.latent_depth,
        )


def declared_settings(options: type | None = None) -> tuple[Declared, ...]:
    """Every setting that a class of options declares, in its order; of `InspectorOptions` where None."""
    return _read_off(options or InspectorOptions)


@functools.cache
def _read_off(options: Hashable) -> tuple[Declared, ...]:
    assert isinstance(options, type)
    hints = typing.get_type_hints(options)
    found = []
    for one in dataclasses.fields(options):
        about = one.metadata.get(_KEY)
        if about is not None:
            kind, choices, optional = _kind_of(hints[one.name])
            found.append(Declared(one.name, one.default, kind, choices, optional, about))
    return tuple(found)


def _kind_of(hint: Any) -> tuple[type, tuple[str, ...], bool]:
    """Type, allowed values and whether None is allowed, of a field's annotation."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = next(one for one in typing.get_args(hint) if one is not types.NoneType)
        kind, choices, _ = _kind_of(inner)
        return kind, choices, True
    if typing.get_origin(hint) is Literal:
        return str, typing.get_args(hint), False
    return hint, (), False
