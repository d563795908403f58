"""A model with known bias and skill behind the interface of served ones: it sees a white patch, more or less well."""

from __future__ import annotations

import hashlib
import math
import random

import numpy as np

from reason_iad.models.base import Capabilities, ChatTemplate, Choice, ModelInfo


class SimulatedModel:
    """Log-odds of the first option: bias, plus or minus skill by what the last picture shows, plus noise of its own.

    Attributes:
        asked: the pictures of every question, references first.
    """

    capabilities = Capabilities(latents=False, attention=False, option_probabilities=True)

    def __init__(self, name="simulated", bias=0.0, skill=2.0, noise=0.0):
        self.bias, self.skill, self.noise, self.asked = bias, skill, noise, []
        template = ChatTemplate("", "\n", "", "", "")
        self.info = ModelInfo(name, "1", 0, 0, 0, "letters", True, 1.0, True, template)
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()[:16]

    def choose(self, parts, num_options, options=()):
        pictures = [part for part in parts if isinstance(part, np.ndarray)]
        self.asked.append(pictures)
        odd = (pictures[-1] >= 250).all(axis=-1).mean() > 0.01
        seed = hashlib.sha256(pictures[-1].tobytes() + self.info.name.encode()).hexdigest()
        odds = self.bias + (self.skill if odd else -self.skill) + random.Random(seed).gauss(0, self.noise)
        first = 1 / (1 + math.exp(-odds))
        return Choice((first, *[(1 - first) / (num_options - 1)] * (num_options - 1)), "logprobs")

    def ask_at_once(self, most):
        """As a model on a server, which several threads ask."""

    def complete(self, parts, max_new_tokens):
        return "A part."
