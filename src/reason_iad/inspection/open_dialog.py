"""A dialog with a model whose inside is open: one stored prompt, latents, injection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reason_iad.inspection.dialog import Reply, answer_of
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import NEUTRAL_QUESTION, clean, question_text
from reason_iad.models.base import OpenModel, Prefix
from reason_iad.reasoning.answers import cue_ending, reader_for
from reason_iad.reasoning.injection import injector_named
from reason_iad.reasoning.latents import LatentOptions, LatentReasoner, LatentResult
from reason_iad.reasoning.rewards import EntropyReward
from reason_iad.reasoning.scoring import ask
from reason_iad.types import Answer


class OpenDialog:
    """A dialog with a model whose inside is open: one stored prompt, latents, injection."""

    def __init__(
        self,
        model: OpenModel,
        prefix: Prefix,
        options: InspectorOptions,
        patch_evidence: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Hold a processed context.

        Args:
            model: what answers.
            prefix: system, knowledge, evidence and image, processed.
            options: say how to think.
            patch_evidence: calibrated evidence on the model's patch grid (rows, columns), in [0, 1].
        """
        self._model, self.prefix = model, prefix
        self._latents = options.latent_options()
        self._injector = injector_named(options.injection if self._latents is not None else "off")
        self._patch_evidence = patch_evidence
        flat = None if patch_evidence is None else patch_evidence.astype(np.float32).ravel()
        self._evidence = None if flat is None else torch.from_numpy(flat)
        self._neutral: Tensor | None = None

    def under(self, options: InspectorOptions) -> OpenDialog:
        """The same prepared image, asked under other settings of latents and injection."""
        return OpenDialog(self._model, self.prefix, options, self._patch_evidence)

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; see `Dialog`."""
        options = [clean(option) for option in options]
        reader = reader_for(self._model, options)
        text = question_text(self._model.info, question, options)
        prefix, base = ask(self._model, self.prefix, text, reader)
        thinks = think and self._latents is not None
        settings = self._latents if thinks and self._latents is not None else LatentOptions(num_steps=0)
        reasoner = LatentReasoner(self._model, settings, injector=self._injector if think else None)
        result = reasoner.run(prefix, reader, self._neutral_attention, self._evidence, base)
        trace = result.trace if thinks else replace(result.trace, mode="off", stopped="off")
        return Reply(answer_of(question, options, result.probabilities), trace)

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer a question in free words, decoded behind the latents and patches that were kept; see `Dialog`."""
        prefix = self._ask(question)
        result = self._think_freely(prefix)
        cue = self._model.embed(self._model.tokenize(self._model.info.template.cue))
        suffix = cue if result.suffix is None else torch.cat([result.suffix.to(cue.dtype), cue])
        text = self._model.generate(prefix, suffix, max_new_tokens, on_text)
        return Reply(Answer(clean(question), text), result.trace)

    def _think_freely(self, prefix: Prefix) -> LatentResult:
        """Think before an answer in free words, which has no options to be sure of: the latents' entropy alone counts.

        Raises:
            ModelError: the model returns numbers that are not finite.
        """
        reader, undecided = _CueReader(self._model), torch.full((2,), 0.5).log()
        if self._latents is None:
            result = LatentReasoner(self._model, LatentOptions(num_steps=0)).run(prefix, reader, base=undecided)
            return replace(result, trace=replace(result.trace, mode="off", stopped="off"))
        weights = dataclasses.replace(self._latents.weights, answer=0.0)
        reasoner = LatentReasoner(self._model, self._latents, EntropyReward(weights), injector=self._injector)
        return reasoner.run(prefix, reader, self._neutral_attention, self._evidence, undecided)

    def _ask(self, question: str) -> Prefix:
        return self._model.extend(self.prefix, [question_text(self._model.info, question)])

    def _neutral_attention(self) -> Tensor:
        """Attention under the neutral question: once for an image."""
        if self._neutral is None:
            reasoner = LatentReasoner(self._model, self._latents or LatentOptions())
            self._neutral = reasoner.neutral_attention(self._ask(NEUTRAL_QUESTION), _CueReader(self._model))
        return self._neutral


class _CueReader:
    """Reads nothing: a question in free words, or the neutral one, has no options."""

    def __init__(self, model: OpenModel) -> None:
        self.ending = cue_ending(model.tokenize(model.info.template.cue))

    def read(self, logits: Tensor) -> Tensor:
        """Two equal options, so that the pass is defined: (M, R, V) to (M, 2)."""
        return logits.new_full((logits.shape[0], 2), 0.5).log()
