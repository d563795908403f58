"""Questions about one prepared image: the prefix stands, every question extends it and is read from probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reason_iad.inspection.prompts import NEUTRAL_QUESTION, clean, question_text
from reason_iad.models.base import OpenModel, Prefix
from reason_iad.reasoning.answers import cue_ending, reader_for
from reason_iad.reasoning.injection import AttentionInjector, Injector, NoInjection
from reason_iad.reasoning.latents import LatentOptions, LatentReasoner
from reason_iad.reasoning.scoring import ask
from reason_iad.types import Answer, LatentTrace, OptionProbability


@dataclass(frozen=True)
class Reply:
    """An answer and how it was reached."""

    answer: Answer
    trace: LatentTrace

    def probability_of(self, text: str) -> float:
        """Probability of one option."""
        return next(o.probability for o in self.answer.options if o.text == text)


class Dialog:
    """One image, many questions."""

    def __init__(
        self,
        model: OpenModel,
        prefix: Prefix,
        latents: LatentOptions | None,
        injection: bool = True,
        patch_evidence: np.ndarray | None = None,
    ) -> None:
        """Hold a processed context.

        Args:
            model: what answers.
            prefix: system, knowledge, evidence and image, processed.
            latents: how to think; None answers plainly.
            injection: whether image patches may join the thoughts.
            patch_evidence: calibrated evidence on the model's patch grid (rows, columns), in [0, 1].
        """
        self._model, self.prefix = model, prefix
        self._options = latents
        self._injector: Injector = AttentionInjector() if injection and latents is not None else NoInjection()
        self._evidence = None if patch_evidence is None else torch.from_numpy(patch_evidence.astype(np.float32).ravel())
        self._neutral: Tensor | None = None

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options.

        Raises:
            InputError: the options are not answerable.
        """
        options = [clean(option) for option in options]
        reader = reader_for(self._model, options)
        text = question_text(self._model.info, question, options)
        prefix, base = ask(self._model, self.prefix, text, reader)
        settings = self._options if think and self._options is not None else LatentOptions(num_steps=0)
        reasoner = LatentReasoner(self._model, settings, self._injector if think else None)
        result = reasoner.run(prefix, reader, self._neutral_attention, self._evidence, base)
        best = max(range(len(options)), key=result.probabilities.__getitem__)
        pairs = tuple(OptionProbability(o, p) for o, p in zip(options, result.probabilities, strict=True))
        entropy = float(-sum(p * np.log(max(p, 1e-12)) for p in result.probabilities) / np.log(len(options)))
        trace = (
            result.trace if think and self._options is not None else replace(result.trace, mode="off", stopped="off")
        )
        return Reply(Answer(clean(question), options[best], pairs, round(entropy, 6)), trace)

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Answer:
        """Answer a question in free words."""
        prefix = self._ask(question, ())
        cue = self._model.embed(self._model.tokenize(self._model.info.template.cue))
        text = self._model.generate(prefix, cue, max_new_tokens, on_text)
        return Answer(clean(question), text)

    def _ask(self, question: str, options: Sequence[str]) -> Prefix:
        return self._model.extend(self.prefix, [question_text(self._model.info, question, options)])

    def _neutral_attention(self) -> Tensor:
        """Attention under the neutral question: once for an image."""
        if self._neutral is None:
            reader = _CueReader(self._model)
            reasoner = LatentReasoner(self._model, self._options or LatentOptions())
            self._neutral = reasoner.neutral_attention(self._ask(NEUTRAL_QUESTION, ()), reader)
        return self._neutral


class _CueReader:
    """Reads nothing: the neutral question is asked for its attention alone."""

    def __init__(self, model: OpenModel) -> None:
        self.ending = cue_ending(model.tokenize(model.info.template.cue))

    def read(self, logits: Tensor) -> Tensor:
        """Two equal options, so that the pass is defined: (M, R, V) to (M, 2)."""
        return logits.new_full((logits.shape[0], 2), 0.5).log()
