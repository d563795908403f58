"""The published sizes: counted again on models that transformers builds from the same configurations."""

from __future__ import annotations

import pytest
import torch
import transformers

from reason_iad.models.families import FAMILIES
from reason_iad.models.published import PUBLISHED


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda p: p.hub_id)
def test_parameters_are_those_of_the_model_that_transformers_builds(published) -> None:
    architecture = getattr(transformers, FAMILIES[published.family].architecture)
    with torch.device("meta"):
        model = architecture(published.config())
    assert sum(parameter.numel() for parameter in model.parameters()) == published.num_parameters


def test_every_family_has_a_published_size() -> None:
    assert {published.family for published in PUBLISHED} == set(FAMILIES)
