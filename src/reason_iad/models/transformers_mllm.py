"""One adapter for every open multimodal model that transformers runs; the table of families says what differs.

The vision tower runs once an image. Its tokens, and the marks that the family puts around and between them, are laid
out by the family's row; the decoder then runs from stored keys and values as for the bundled model. Generated text
and option letters come from the same weights that transformers' own `generate` would use, token for token.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from reason_iad.errors import ModelError
from reason_iad.images import Pixels
from reason_iad.models.base import ChatTemplate, ImageLayout, ImageTokens, ModelInfo
from reason_iad.models.decoder import CachedDecoder
from reason_iad.models.families import Family
from reason_iad.models.fingerprint import of_tensors
from reason_iad.models.layouts import Encoded, Plan
from reason_iad.models.readouts import Features
from reason_iad.models.torch_layers import TorchLayers

_RECENT_IMAGES = 8  # four references and a few inspected ones


class TransformersMLLM(CachedDecoder):
    """A model of any family in the table; implements `OpenModel`."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        image_processor: Any,
        family: Family,
        template: ChatTemplate | None = None,
        name: str | None = None,
        version: str = "unknown",
        max_image_tokens: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: transformers' model with its language head.
            tokenizer: transformers' tokenizer of it.
            image_processor: transformers' image processor of it; `max_image_tokens` changes its settings.
            family: the row of the table.
            template: the fixed text of a conversation; the row's where None.
            name: shown in reports; the family's title where None.
            version: shown in reports.
            max_image_tokens: most visual tokens an image; the row's default where None.
            fingerprint: hash of the files that it was loaded from; of its weights where None.

        Raises:
            ModelError: the family cannot read an image in so few tokens.
        """
        config: Any = model.config
        text = config.get_text_config()
        if getattr(text, "hidden_size_per_layer_input", 0):
            raise ModelError(
                f"{name or family.title} reads tokens anew in every layer (per-layer inputs), which latents have not; "
                "expected a release without them, such as google/gemma-4-31B-it"
            )
        base: Any = model.base_model
        layers = TorchLayers.from_transformers(getattr(base, family.text_model), model.lm_head)  # type: ignore[arg-type]
        info = ModelInfo(
            name=name or family.title,
            version=version,
            hidden_size=text.hidden_size,
            num_layers=text.num_hidden_layers,
            context_length=int(text.max_position_embeddings),
            answer_style="letters",
            lists_options=True,
            answer_scale=1.0,
            sees_references=True,
            template=template or family.template,
            attention_layers=layers.attention_layers,
        )
        super().__init__(layers, tokenizer, info, lambda: fingerprint or of_tensors(model.state_dict()))
        self.model: Any = model.eval().requires_grad_(False)
        self.config, self.family, self.image_processor = config, family, image_processor
        limit = max_image_tokens or family.default_tokens
        if limit is not None:
            family.limit(image_processor, config, limit)
        self._recent: OrderedDict[bytes, ImageTokens] = OrderedDict()
        self._adds_space = tokenizer.convert_ids_to_tokens(tokenizer.encode("a", add_special_tokens=False))[0][0] == "▁"

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a piece of a prompt that may hold special tokens; none are added, nor a space in front."""
        if not self._adds_space:
            return super().tokenize(text)
        first = self.tokenizer.bos_token  # type: ignore[attr-defined]
        if first and text.startswith(first):
            return [*super().tokenize(first), *super().tokenize(text.removeprefix(first))]
        # sentencepiece would take every piece for the beginning of a text
        return super().tokenize("\n" + text)[len(super().tokenize("\n")) :]

    def encode_image(
        self, pixels: Pixels, evidence: npt.NDArray[np.float32] | None = None, most_tokens: int | None = None
    ) -> ImageTokens:
        """Turn an image (H, W, 3) into visual embeddings; evidence reaches these models as text, not in pixels.

        The images of a batch share their references, so recent ones are kept. Where the family cannot read an image in
        as few tokens as `most_tokens`, it takes the fewest that it can.
        """
        size = f"{pixels.shape}" if most_tokens is None else f"{pixels.shape} in {most_tokens}"
        key = hashlib.blake2b(size.encode() + pixels.tobytes(), digest_size=16).digest()
        if key not in self._recent:
            with self._in_few(most_tokens):
                self._recent[key] = replace(self._encode(pixels), digest=key)
            if len(self._recent) > _RECENT_IMAGES:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    @contextlib.contextmanager
    def _in_few(self, most_tokens: int | None) -> Iterator[None]:
        """Bound the visual tokens of an image for a while, by what the family's own limit does to its processor."""
        if most_tokens is None:
            yield
            return
        kept = self.image_processor, getattr(self.config, "image_grid_pinpoints", None)
        try:
            for tokens in (most_tokens << doubled for doubled in range(8)):
                self.image_processor = copy.deepcopy(kept[0])
                with contextlib.suppress(ModelError):  # where it cannot in so few, in twice as many
                    self.family.limit(self.image_processor, self.config, tokens)
                    break
            yield
        finally:
            self.image_processor = kept[0]
            if kept[1] is not None:
                self.config.image_grid_pinpoints = kept[1]

    @torch.no_grad()
    def _encode(self, pixels: Pixels) -> ImageTokens:
        image_hw = (pixels.shape[0], pixels.shape[1])
        family = self.family
        seen = pixels if family.prepare is None else family.prepare(pixels, self.image_processor, self.config)
        try:
            inputs = self.image_processor([seen], return_tensors="pt", **family.options(self.config))
        except ValueError as error:
            raise ModelError(
                f"{self._info.name} cannot read an image of {image_hw[1]} x {image_hw[0]} pixels ({error}); "
                "expected one that is not extremely narrow: crop it"
            ) from error
        output = self.model.get_image_features(**{key: self._ready(inputs[key]) for key in family.features})
        found = family.readout(output, self.config)
        plan = family.layout(Encoded(found.tokens, inputs, image_hw, self.image_processor, self.config), family.marks)
        layout = self._lay_out(found, plan)
        return ImageTokens(layout.embeds[layout.patches], plan.grid_hw, image_hw, layout)

    def _ready(self, values: Any) -> Tensor:
        """A processor's output on the model's device, in its precision where it is no count or mask."""
        tensor = torch.as_tensor(values).to(self.device)
        return tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor

    def _lay_out(self, found: Features, plan: Plan) -> ImageLayout:
        """Visual tokens with the plan's texts between them."""
        tokens, count = found.tokens, found.tokens.shape[0]
        visual = torch.ones(0, dtype=torch.bool, device=tokens.device)
        pieces, done = [], 0
        for before, text in (*plan.breaks, (count, "")):
            marks = self.embed(self.tokenize(text)) if text else tokens[:0]
            pieces += [tokens[done:before], marks.to(tokens.dtype)]
            visual = torch.cat([visual, visual.new_ones(before - done), visual.new_zeros(marks.shape[0])])
            done = before
        embeds = torch.cat(pieces)
        places = visual.nonzero()[:, 0]  # (V,)
        patches = places if plan.patches is None else places[plan.patches.to(places.device)]
        positions, advance = self._positions(plan, visual)
        deeper = {}
        for layer, level in found.deeper.items():
            deeper[layer] = embeds.new_zeros(embeds.shape)
            deeper[layer][places] = level.to(embeds.dtype)
        mutual = visual if self.family.mutual else None
        return ImageLayout(embeds.to(self.layers.dtype), patches, positions, advance, mutual, deeper)

    def _positions(self, plan: Plan, visual: Tensor) -> tuple[Tensor | None, int | None]:
        """Three-dimensional positions (3, T) of one grid between marks, and where text goes on (M-RoPE)."""
        if self.family.positions == "1-D":
            return None, None
        rows, columns = plan.grid_hw
        ahead = int(visual.nonzero()[0, 0])  # marks before the grid
        row = torch.arange(rows).repeat_interleave(columns)
        column = torch.arange(columns).repeat(rows)
        grid = torch.stack([torch.zeros_like(row), row, column]) + ahead
        before = torch.arange(ahead).expand(3, -1)
        behind = visual.shape[0] - ahead - rows * columns
        resume = ahead + max(rows, columns)
        after = torch.arange(resume, resume + behind).expand(3, -1)
        return torch.cat([before, grid, after], dim=1).to(visual.device), resume + behind
