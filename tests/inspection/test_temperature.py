"""Calibrated option probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.errors import ModelError
from reason_iad.inspection.dialog import Reply
from reason_iad.inspection.temperature import Temperatures, fit_temperature, temper
from reason_iad.types import Answer, LatentTrace, OptionProbability


def test_the_fitted_temperature_is_the_one_that_answers_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 4))
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)  # three times too sure
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = [int(rng.choice(4, p=p)) for p in true]
    assert fit_temperature(sharp.tolist(), targets) == pytest.approx(3.0, rel=0.1)


def test_a_temperature_never_changes_the_answer_and_keeps_a_distribution() -> None:
    rng = np.random.default_rng(1)
    for p in rng.dirichlet(np.ones(5), 50):
        for t in (0.3, 1.0, 7.0):
            softened = temper(p.tolist(), t)
            assert sum(softened) == pytest.approx(1.0)
            assert int(np.argmax(softened)) == int(np.argmax(p))


def test_a_type_takes_its_own_temperature_and_an_unknown_one_the_common() -> None:
    found = Temperatures.from_settings({"temperatures": {"Defect Analysis": 2.0, "any": 1.5}})
    assert (found.of("Defect Analysis"), found.of("Something"), found.of(None)) == (2.0, 1.5, 1.5)
    assert Temperatures.from_settings({}).of("Defect Analysis") == 1.0


def test_a_softened_reply_keeps_its_text_and_the_trace_of_the_loop() -> None:
    answer = Answer("?", "a", (OptionProbability("a", 0.9), OptionProbability("b", 0.1)))
    reply = Reply(answer, LatentTrace("off", (), None, None, (0.9, 0.1), (0.9, 0.1), "off", unstable=False))
    softened = Temperatures({"any": 2.0}).soften(reply)
    assert softened.answer.text == "a"
    assert [round(o.probability, 3) for o in softened.answer.options] == [0.75, 0.25]
    assert softened.trace is reply.trace


@pytest.mark.parametrize("stored", [{"any": 0.0}, {"any": "hot"}, [1]])
def test_settings_that_hold_no_temperatures_are_refused(stored: object) -> None:
    with pytest.raises(ModelError, match="temperatures are"):
        Temperatures.from_settings({"temperatures": stored})
