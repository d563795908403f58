"""A dialog with a model whose inside is open: one stored prompt, latents, injection, details."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reason_iad.errors import ReasonIADError
from reason_iad.evidence.looks import Look
from reason_iad.inspection.dialog import Reply, answer_of
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import NEUTRAL_QUESTION, clean, question_text
from reason_iad.models.base import OpenModel, Prefix
from reason_iad.models.decoder import PREFILL_BLOCK
from reason_iad.reasoning.answers import AnswerReader, cue_ending, reader_for
from reason_iad.reasoning.details import Views, details_named
from reason_iad.reasoning.injection import injector_named
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner, LatentResult, Surroundings
from reason_iad.reasoning.scoring import ask, ask_all, check_length
from reason_iad.types import Answer

_Question = tuple[str, tuple[str, ...]]  # its text in the prompt, and the options
_Asked = tuple[AnswerReader, Prefix, Tensor]  # the prefix that ends with it, and the plain answer


class OpenDialog:
    """A dialog with a model whose inside is open: one stored prompt, latents, injection, details."""

    def __init__(
        self,
        model: OpenModel,
        prefix: Prefix,
        options: InspectorOptions,
        patch_evidence: npt.NDArray[np.float32] | None = None,
        ahead: dict[_Question, _Asked] | None = None,
        views: Views | None = None,
        look: Look | None = None,
    ) -> None:
        """Hold a processed context.

        Args:
            model: what answers.
            prefix: system, knowledge, evidence and image, processed.
            options: say how to think.
            patch_evidence: calibrated evidence on the model's patch grid (rows, columns), in [0, 1].
            ahead: questions that were processed already.
            views: what details are cut from; none are without.
            look: of the oddest place, as it was measured.
        """
        self._model, self.prefix = model, prefix
        self._latents = options.latent_options()
        self._injector = injector_named(options.injection if options.latents != "off" else "off")
        self._details, self._views, self._look = details_named(options.details), views, look
        self._patch_evidence = patch_evidence
        flat = None if patch_evidence is None else patch_evidence.astype(np.float32).ravel()
        self._evidence = None if flat is None else torch.from_numpy(flat)
        self._neutral: Tensor | None = None
        self._ahead = {} if ahead is None else ahead

    def under(self, options: InspectorOptions) -> OpenDialog:
        """The same prepared image, asked under other settings of latents and injection."""
        return OpenDialog(self._model, self.prefix, options, self._patch_evidence, self._ahead, self._views, self._look)

    def read_ahead(self, questions: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Process questions together, so that `choose` finds each done; one at fault is left to it."""
        waiting: dict[_Question, AnswerReader] = {}
        size = 0
        for key in dict.fromkeys(self._key(question, options) for question, options in questions):
            try:
                reader = reader_for(self._model, key[1])
                length = len(self._model.tokenize(key[0])) + len(reader.ending.token_ids)
                check_length(self._model, self.prefix, length)
            except ReasonIADError:
                continue
            if waiting and size + length > PREFILL_BLOCK:
                self._read(waiting)
                waiting, size = {}, 0
            waiting[key] = reader
            size += length
        if waiting:
            self._read(waiting)

    def _read(self, waiting: Mapping[_Question, AnswerReader]) -> None:
        with contextlib.suppress(ReasonIADError):  # whichever is at fault says so when it is asked alone
            found = ask_all(self._model, self.prefix, [(key[0], reader) for key, reader in waiting.items()])
            for (key, reader), said in zip(waiting.items(), found, strict=True):
                self._ahead[key] = (reader, *said)

    def _key(self, question: str, options: Sequence[str]) -> _Question:
        cleaned = tuple(clean(option) for option in options)
        return question_text(self._model.info, question, cleaned), cleaned

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; see `Dialog`."""
        key = self._key(question, options)
        text, options = key
        held = self._ahead.get(key)
        if held is None:
            reader = reader_for(self._model, options)
            held = (reader, *ask(self._model, self.prefix, text, reader))
        reader, prefix, base = held
        result = self._think(prefix, reader, base, self._latents if think else None)
        return Reply(answer_of(question, options, result.probabilities), result.trace)

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer a question in free words, decoded behind the latents and patches that were kept; see `Dialog`."""
        prefix, settings = self._ask(question), self._latents
        if settings is not None:  # no options to be sure of: the latents' entropy alone counts
            settings = replace(settings, weights=replace(settings.weights, answer=0.0))
        undecided = torch.full((2,), 0.5).log()
        result = self._think(prefix, _CueReader(self._model), undecided, settings)
        cue = self._model.embed(self._model.tokenize(self._model.info.template.cue))
        suffix = cue if result.suffix is None else torch.cat([result.suffix.to(cue.dtype), cue])
        text = self._model.generate(result.prefix, suffix, max_new_tokens, on_text, result.nudge)
        return Reply(Answer(clean(question), text), result.trace)

    def _think(
        self, prefix: Prefix, reader: AnswerReader, base: Tensor, settings: LatentOptions | None
    ) -> LatentResult:
        """Think about a question under some settings; the plain answer where there are none.

        Raises:
            ModelError: the model returns numbers that are not finite.
        """
        if settings is None:
            result = LatentReasoner(self._model, LatentOptions(num_steps=0)).run(prefix, reader, base=base)
            return replace(result, trace=replace(result.trace, mode="off", stopped="off"))
        known = Surroundings(self._neutral_attention, self._evidence, self._views, self._look)
        reasoner = LatentReasoner(self._model, settings, injector=self._injector, details=self._details)
        return reasoner.run(prefix, reader, known, base)

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
        self.tokens = torch.zeros(0, dtype=torch.long)

    def read(self, logits: Tensor) -> Tensor:
        """Two equal options, so that the pass is defined: (M, R, V) to (M, 2)."""
        return logits.new_full((logits.shape[0], 2), 0.5).log()
