"""What any multimodal language model must give the method: an open one its inside, a served one its answers.

The prompt is processed once and kept as a `Prefix`; everything after it is a short suffix that M candidates run at
once. Axes: M candidates, S suffix tokens, N prefix tokens, P image tokens, L latents, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from typing_extensions import TypeIs

from reason_iad.images import Pixels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from reason_iad.models.attention import AttentionCapture, Segment

AnswerStyle = Literal["content", "letters"]


@dataclass(frozen=True)
class Capabilities:
    """What a model lets the method do."""

    latents: bool  # embeddings may be given in the place of tokens, and a prompt is processed once
    attention: bool  # attention to image tokens can be read
    option_probabilities: bool  # exact ones; else they are estimated from answers drawn


WHITE_BOX = Capabilities(latents=True, attention=True, option_probabilities=True)


@dataclass(frozen=True)
class ChatTemplate:
    """The fixed text around what the user says, with the special tokens of the model."""

    before_system: str
    before_user: str
    before_answer: str  # closes the user's turn and opens the model's
    cue: str  # follows the latents and asks for the answer; never empty, its last token predicts the answer
    end: str  # the token that ends a generated answer


@dataclass(frozen=True)
class ModelInfo:
    """Facts of a model that the method asks for."""

    name: str
    version: str
    hidden_size: int
    num_layers: int
    context_length: int
    answer_style: AnswerStyle  # how answers are read: likelihood of the option's text, or of its letter
    lists_options: bool  # whether the options stand in the prompt
    answer_scale: float  # multiplies the mean log-likelihood per token before the softmax over options
    sees_references: bool  # whether reference images join the prompt, or speak through the evidence alone
    template: ChatTemplate
    attention_layers: tuple[int, ...] | None = None  # that attend to all tokens, of a hybrid decoder; all where None
    reads_hue: bool = False  # whether it was trained on evidence that tells the oddest area's hue


@dataclass(frozen=True, eq=False)
class ImageLayout:
    """How an image stands in a prompt, where that is more than its patches one after the other.

    Its T tokens are the patches and, around and between them, marks, separators and thumbnails.
    """

    embeds: Tensor  # (T, D)
    patches: Tensor  # (P,) which of the T tokens is each patch of the grid
    positions: Tensor | None = None  # (3, T) time, row and column, from where the image begins; 0, 1, 2 ... where None
    advance: int | None = None  # how far the next position lies from where the image begins; T where None
    mutual: Tensor | None = None  # (T,) bool: tokens that see each other, later ones too
    deeper: Mapping[int, Tensor] = field(default_factory=dict)  # by decoder layer: (T, D), added to what enters it


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """One image as the language model reads it."""

    embeds: Tensor  # (P, D), after projector or merger: what is injected
    grid_hw: tuple[int, int]  # rows and columns, row-major, P = rows * columns
    image_hw: tuple[int, int]  # of the original image, in pixels
    layout: ImageLayout | None = None  # the patches alone where None
    digest: bytes | None = None  # of the pixels, where they alone decide the embeddings; stored prompts are found by it

    def box_xyxy(self, index: int) -> tuple[int, int, int, int]:
        """Pixels of the original image that patch `index` covers."""
        rows, columns = self.grid_hw
        row, column = divmod(index, columns)
        height, width = self.image_hw
        return (
            column * width // columns,
            row * height // rows,
            (column + 1) * width // columns,
            (row + 1) * height // rows,
        )


@dataclass(frozen=True, eq=False)
class ImageSpan:
    """Where an image stands in the prefix: tokens start to stop."""

    start: int
    stop: int
    tokens: ImageTokens

    @property
    def patches(self) -> Tensor | None:
        """(P,) which of the span's tokens is each patch; None where all are, in order."""
        return None if self.tokens.layout is None else self.tokens.layout.patches


@dataclass(frozen=True, eq=False)
class Prefix:
    """A processed prompt: its keys and values, and where the next token goes.

    Extending shares the stored segments, so the questions of one image share the image's part.
    """

    segments: tuple[Segment, ...] = ()
    next_position: int = 0
    images: tuple[ImageSpan, ...] = ()

    @property
    def length(self) -> int:
        """Number of tokens N."""
        return sum(segment.length for segment in self.segments)

    @property
    def query_image(self) -> ImageSpan:
        """The inspected image: references stand first, so it is the last one."""
        return self.images[-1]


@dataclass(frozen=True, eq=False)
class Nudge:
    """What is added to the first rows of a suffix behind one of the layers."""

    layer: int  # behind so many layers, from 1 on
    offsets: Tensor  # (M, L, D), in units of each row's own root mean square there


@dataclass(frozen=True, eq=False)
class SuffixOutput:
    """Result of one pass over M suffixes."""

    hidden: Tensor  # (M, S, D), final norm applied
    segment: Segment | None = None  # keys and values of the suffix where they were asked for (M = 1)


class VisionTowers(Protocol):
    """The frozen image features that the bundled model, the evidence and the recognition share."""

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, Tensor]:
        """Hidden states of images by layer: each (B, size / 14, size / 14, C)."""
        ...

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, Tensor]:
        """Features of images by stride, 8 and 16: each (B, size / stride, size / stride, C)."""
        ...


class Described(Protocol):
    """What is known of any model before it is asked."""

    @property
    def info(self) -> ModelInfo:
        """Facts of the model."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it lets the method do."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the content that its answers depend on, as far as it can be seen: 16 hexadecimal digits."""
        ...


class OpenModel(Described, Protocol):
    """A frozen multimodal language model with an open inside."""

    def encode_image(
        self, pixels: Pixels, evidence: npt.NDArray[np.float32] | None = None, most_tokens: int | None = None
    ) -> ImageTokens:
        """Turn an image (H, W, 3) into visual embeddings.

        Args:
            pixels: the image.
            evidence: a calibrated map in [0, 1] of any size, for models that read one.
            most_tokens: bound on its visual tokens, where the model lets one choose; as it was loaded where None.
        """
        ...

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text that may hold special tokens; none are added."""
        ...

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        ...

    def initial_latents(self, num_latents: int) -> Tensor:
        """Starting point of the latents: (L, D)."""
        ...

    @property
    def embedding_rms(self) -> float:
        """Root mean square of the token embeddings' entries: the unit of sigma."""
        ...

    def recall(self, parts: Sequence[str | ImageTokens]) -> Prefix:
        """Process the beginning of a prompt, or give it as it was processed before.

        Raises:
            ModelError: it is longer than the context.
        """
        ...

    def extend(self, prefix: Prefix, parts: Sequence[str | ImageTokens]) -> Prefix:
        """Process texts and images after a prefix and keep their keys and values.

        Raises:
            ModelError: the prompt grows beyond the context length.
        """
        ...

    def run_suffix(
        self,
        prefix: Prefix,
        embeds: Tensor,
        offsets: Tensor | None = None,
        mask: Tensor | None = None,
        capture: AttentionCapture | None = None,
        record: bool = False,
        nudge: Nudge | None = None,
    ) -> SuffixOutput:
        """Run M suffixes (M, S, D) after a shared prefix.

        Args:
            prefix: what came before.
            embeds: input embeddings.
            offsets: (S,) positions relative to the prefix's next one; 0, 1, 2 ... where None.
            mask: boolean (S, S), True where row may see column; causal where None.
            capture: reads attention to prefix tokens on the way.
            record: also return keys and values.
            nudge: what is added to the first rows behind a layer.
        """
        ...

    def logits(self, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Vocabulary logits of chosen hidden rows: (..., D) to (..., V).

        Args:
            hidden: rows.
            wanted: tokens that will be read; the logits of others may be anything. All where None.
        """
        ...

    def generate(
        self,
        prefix: Prefix,
        suffix: Tensor,
        max_new_tokens: int,
        on_text: Callable[[str], None] | None = None,
        nudge: Nudge | None = None,
    ) -> str:
        """Continue greedily after a prefix and a suffix (S, D), which a nudge may change, from what is stored."""
        ...


class ServedModel(Described, Protocol):
    """A model behind an interface that takes text and pictures and gives answers, and shows nothing of its inside."""

    def choose(self, parts: Sequence[str | Pixels], num_options: int, options: Sequence[str] = ()) -> Choice:
        """Probabilities of the option letters that the prompt lists; `options` are the texts behind them.

        Raises:
            ModelError: the model does not answer.
        """
        ...

    def complete(self, parts: Sequence[str | Pixels], max_new_tokens: int) -> str:
        """A greedy answer in free words.

        Raises:
            ModelError: the model does not answer.
        """
        ...


@dataclass(frozen=True)
class Choice:
    """Probabilities of options from a served model, and what they rest on."""

    probabilities: tuple[float, ...]
    source: str  # logprobs; constrained samples, where a server lets nothing but a letter pass; or samples


Model: TypeAlias = OpenModel | ServedModel


def is_open(model: Model) -> TypeIs[OpenModel]:
    """Whether a model shows its inside, as latents and the shared prefix need."""
    return model.capabilities.latents
