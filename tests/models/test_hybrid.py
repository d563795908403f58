"""States of layers without attention: kept behind a segment, copied for candidates, the same as in one whole run."""

from __future__ import annotations

import pytest
import torch

from reason_iad.models.torch_layers import TorchLayers
from reason_iad.reasoning.scoring import middle_layers


def lfm2():
    """LFM2's decoder, whose layers without attention are short convolutions."""
    from transformers import Lfm2Config, Lfm2ForCausalLM

    config = Lfm2Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "full_attention", "conv", "full_attention"],
        block_auto_adjust_ff_dim=False,
    )  # fmt: skip
    return Lfm2ForCausalLM(config)


def qwen3_5():
    """Qwen3.5's decoder, whose layers without attention carry a recurrent state and a convolution's."""
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    config = Qwen3_5TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2,
        linear_num_value_heads=4, layer_types=["linear_attention", "full_attention"] * 2,
    )  # fmt: skip
    return Qwen3_5ForCausalLM(config)


@pytest.fixture(params=[lfm2, qwen3_5])
def decoder(request):
    torch.manual_seed(0)
    model = request.param().float().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(5)
    return model


def run(layers, segments, ids, start, **more):
    positions = torch.arange(start, start + ids.shape[1])[None].expand(ids.shape[0], -1)
    with torch.no_grad():
        return layers.run(segments, layers.text_model.get_input_embeddings()(ids), positions, **more)


@pytest.mark.parametrize("cuts", [(7,), (1, 2, 3), (5, 6, 11)])
def test_a_prompt_in_pieces_ends_as_in_one_run(decoder, cuts):
    ids = torch.randint(0, 64, (1, 13))
    with torch.no_grad():
        whole = decoder(ids, use_cache=False).logits[0]
    layers = TorchLayers.from_transformers(decoder.model, decoder.lm_head)
    segments, found = (), []
    for begin, end in zip((0, *cuts), (*cuts, 13), strict=True):
        hidden, segment = run(layers, segments, ids[:, begin:end], begin, record=True)
        segments, found = (*segments, segment), [*found, layers.logits(hidden)[0]]
    torch.testing.assert_close(torch.cat(found), whole, atol=1e-4, rtol=1e-4)
    assert segments[0].layers == layers.attention_layers == (1, 3)
    assert set(segments[0].states) == {0, 2}
    assert segments[0].num_bytes > sum(t.numel() * 4 for t in (*segments[0].keys, *segments[0].values))


def test_every_candidate_goes_on_from_the_prompt_alone(decoder):
    prompt, suffixes = torch.randint(0, 64, (1, 6)), torch.randint(0, 64, (3, 4))
    with torch.no_grad():
        whole = torch.cat([decoder(torch.cat([prompt, s[None]], 1), use_cache=False).logits for s in suffixes])[:, 6:]
    layers = TorchLayers.from_transformers(decoder.model, decoder.lm_head)
    _, segment = run(layers, (), prompt, 0, record=True)
    kept = {layer: state.copies(1) for layer, state in segment.states.items()}
    for _ in range(2):  # the first candidates leave no trace in the prompt's states
        hidden, _ = run(layers, (segment,), suffixes, 6)
        torch.testing.assert_close(layers.logits(hidden), whole, atol=1e-4, rtol=1e-4)
    for layer, state in segment.states.items():
        torch.testing.assert_close(state.convolution, kept[layer].convolution)


def test_attention_is_read_from_layers_that_attend_alone():
    assert middle_layers(8, (1, 3, 5, 7)) <= {1, 3, 5, 7}
    assert middle_layers(6) == {2, 3}
