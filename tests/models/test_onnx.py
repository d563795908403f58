"""The graphs for onnxruntime compute what torch computes, and the cache gives them whole or not at all."""

from __future__ import annotations

import errno
import os
import time

import numpy as np
import pytest
import torch

from reason_iad.errors import ModelError
from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.attention import AttentionCapture
from reason_iad.models.base import Prefix
from reason_iad.models.graph_cache import GraphSource, NoRoomError, faults, new_session, open_graph
from reason_iad.models.llama import Llama, TiedHead
from reason_iad.models.llama_graph import write_llama
from reason_iad.models.nano import NanoModel
from reason_iad.models.onnx_layers import OnnxLayers
from reason_iad.models.onnx_writer import GraphWriter
from reason_iad.models.torch_layers import TorchLayers
from reason_iad.models.vision import BLOCKS, IMAGENET_MEAN, IMAGENET_STD, TAPS
from reason_iad.models.vision_graph import write_efficientnet, write_vit
from reason_iad.models.vision_onnx import OnnxVision
from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner
from reason_iad.reasoning.scoring import ask


def state_of(model):
    decoder, head = model.layers.text_model, model.layers.lm_head
    return {f"model.{n}": t for n, t in decoder.state_dict().items()} | {"lm_head.weight": head.weight}


@pytest.fixture(scope="module")
def shape(tiny_nano):
    from reason_iad.models.llama_graph import LlamaShape

    return LlamaShape.from_config(tiny_nano.layers.text_model.config.to_dict(), 2048)


def with_layers(nano, shape, layers):
    settings = {"version": "tiny", "answer_scale": 4.0}
    return NanoModel(layers, shape, nano.tokenizer, nano.vision, nano.projector, nano.latents, settings)


@pytest.fixture(scope="module")
def own(tiny_nano, shape):
    """The miniature with our torch decoder."""
    state = state_of(tiny_nano)
    head = torch.nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
    head.weight = torch.nn.Parameter(state["lm_head.weight"])
    return with_layers(tiny_nano, shape, TorchLayers(Llama.of(shape, state.__getitem__), head))


@pytest.fixture(scope="module")
def graph(tiny_nano, own, shape, tmp_path_factory):
    """The miniature run by onnxruntime."""
    folder, state = tmp_path_factory.mktemp("graph"), state_of(tiny_nano)
    write_llama(folder, "tiny", shape, lambda name: state[name].numpy())
    layers = OnnxLayers(
        new_session(folder / "tiny.onnx", 1), state["model.embed_tokens.weight"], shape.num_layers, lambda: own.layers
    )
    return with_layers(tiny_nano, shape, layers)


@pytest.fixture(scope="module", params=["own", "graph"])
def other(request):
    """Each of our ways to run the decoder, to be compared with transformers'."""
    return request.getfixturevalue(request.param)


def prefix_of(model, photo, question="Is it good?"):
    image = model.encode_image(photo)
    context = model.extend(Prefix(), context_parts(model.info, image, ["A nut is brown."], "Calm."))
    return model.extend(context, [question_text(model.info, question)])


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_prompt_leaves_the_same_keys_and_values(tiny_nano, other, photo):
    ours, theirs = prefix_of(other, photo), prefix_of(tiny_nano, photo)
    assert (ours.length, ours.next_position) == (theirs.length, theirs.next_position)
    for mine, reference in zip(ours.segments, theirs.segments, strict=True):
        for part in ("keys", "values"):
            for a, b in zip(getattr(mine, part), getattr(reference, part), strict=True):
                close(a, b)


@pytest.mark.parametrize("rows", [1, 5])
def test_suffixes_after_a_shared_prompt_give_the_same_logits(tiny_nano, other, photo, rows):
    suffix = torch.randn(rows, 7, 48, generator=torch.Generator().manual_seed(0)) * 0.2
    found = [m.logits(m.run_suffix(prefix_of(m, photo), suffix).hidden) for m in (other, tiny_nano)]
    close(*found)


def test_a_first_pass_without_a_past_gives_the_same(tiny_nano, other):
    embeds = tiny_nano.embed(tiny_nano.tokenize("A nut."))[None]
    close(other.run_suffix(Prefix(), embeds).hidden, tiny_nano.run_suffix(Prefix(), embeds).hidden)


def test_options_packed_under_a_mask_are_read_the_same(tiny_nano, other, photo):
    answers = []
    for model in (other, tiny_nano):
        context = model.extend(Prefix(), context_parts(model.info, model.encode_image(photo)))
        reader = ContentReader(model, ("Yes.", "Yes, very.", "No."))
        answers.append(ask(model, context, question_text(model.info, "Is it good?"), reader)[1])
    close(*answers)


@pytest.mark.parametrize("layers", [{1, 2}, {0}])
def test_attention_is_captured_of_the_same_rows_and_layers(tiny_nano, other, photo, layers):
    suffix = torch.randn(3, 6, 48, generator=torch.Generator().manual_seed(1)) * 0.2
    found = []
    for model in (other, tiny_nano):
        prefix = prefix_of(model, photo)
        span = prefix.query_image
        capture = AttentionCapture(frozenset(layers), 4, span.start, span.stop, torch.tensor([3, 0, 9]))
        model.run_suffix(prefix, suffix, capture=capture)
        found.append(capture.mean())
    assert found[0].shape == (3, 4, 3)
    close(*found)


@pytest.mark.parametrize("mode", ["reinforce", "gradient"])
def test_thoughts_end_where_they_end_in_transformers(tiny_nano, other, photo, mode):
    found = []
    for model in (other, tiny_nano):
        reader = ContentReader(model, ("Yes.", "No."))
        reasoner = LatentReasoner(model, LatentOptions(mode=mode, num_steps=2, sure_entropy=0.0))
        found.append(torch.tensor(reasoner.run(prefix_of(model, photo), reader).probabilities))
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)


def test_words_are_written_the_same(tiny_nano, other, photo):
    cue = tiny_nano.embed(tiny_nano.tokenize(tiny_nano.info.template.cue))
    texts = [model.generate(prefix_of(model, photo), cue, max_new_tokens=8) for model in (other, tiny_nano)]
    assert texts[0] == texts[1]


def test_a_prompt_that_grows_is_joined_again(graph, photo):
    first, second = prefix_of(graph, photo, "One?"), prefix_of(graph, photo, "A second question?")
    suffix = torch.randn(1, 3, 48) * 0.2
    alone = graph.run_suffix(first, suffix).hidden
    graph.run_suffix(second, suffix)
    close(graph.run_suffix(first, suffix).hidden, alone)


def test_what_the_graph_does_not_take_is_refused(graph):
    embeds = torch.zeros(2, 3, 48)
    with pytest.raises(ModelError, match="2 rows to record"):
        graph.layers.run((), embeds, torch.arange(3)[None], record=True)


@pytest.fixture(scope="module")
def towers(tiny_nano, tmp_path_factory):
    folder, vision = tmp_path_factory.mktemp("towers"), tiny_nano.vision
    vit, convolutional = vision.transformer.state_dict(), vision.convolutional.state_dict()
    write_vit(folder, "vit", lambda name: vit[name].numpy(), 12, 6, IMAGENET_MEAN, IMAGENET_STD)
    write_efficientnet(folder, "efficientnet", lambda name: convolutional[name].numpy(), BLOCKS, TAPS)
    sessions = [new_session(folder / f"{name}.onnx", 1) for name in ("vit", "efficientnet")]
    return OnnxVision(*sessions, vit["embeddings.position_embeddings"])


@pytest.mark.parametrize("size", [56, 98])
def test_the_vit_gives_the_hidden_states_of_torch(tiny_nano, towers, photo, size):
    layers = (0, 5, 12)
    ours, theirs = (vision.vit([photo, photo[::-1]], size, layers) for vision in (towers, tiny_nano.vision))
    assert ours.keys() == theirs.keys() == set(layers)
    for layer in layers:
        close(ours[layer], theirs[layer])


def test_the_vit_runs_no_layer_beyond_the_highest_that_is_asked_for(tiny_nano, towers, photo):
    pixels = np.ascontiguousarray(photo[:56, :56])[None]
    feeds = {"pixels": pixels, "positions": np.zeros((1, 17, 384), np.float32)}
    outputs = [f"hidden.{layer}" for layer in (4, 5, 6, 12)]
    four, five, six, last = towers._transformer.run(outputs, {**feeds, "depth": np.array(5)})
    assert not np.allclose(four, five)
    np.testing.assert_array_equal(five, six)
    np.testing.assert_array_equal(five, last)


@pytest.mark.parametrize("size", [32, 80, 96])
def test_the_convolutions_give_the_features_of_torch(tiny_nano, towers, photo, size):
    images = [np.ascontiguousarray(np.rot90(photo, i)) for i in range(3)]
    ours, theirs = (vision.efficientnet(images, size) for vision in (towers, tiny_nano.vision))
    for stride in (8, 16):
        close(ours[stride], theirs[stride])


def write_sum(folder):
    """A graph that adds a weight large enough to lie beside it."""
    writer = GraphWriter(folder, "sum")
    added = writer.weight("weight", np.full(5000, 2, dtype=np.float32))
    writer.output("result", writer.node("Add", writer.input("x", (5000,)), added), (5000,))
    writer.save()


SUM = GraphSource("sum", 1, ("one",))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    return tmp_path


def run_sum(source=SUM, write=write_sum):
    return open_graph(source, write).run(None, {"x": np.ones(5000, dtype=np.float32)})[0][0]


def test_a_graph_is_written_once_and_told(home, capfd):
    assert run_sum() == 3
    assert "Preparing the sum for onnxruntime, once (it is not there yet)" in capfd.readouterr().err
    assert run_sum(write=None) == 3
    assert capfd.readouterr().err == ""
    assert faults(SUM) is None


@pytest.mark.parametrize("name", ["sum.bin", "sum.onnx", "graph.json"])
def test_a_graph_that_is_cut_short_is_written_again_and_told(home, capfd, name):
    run_sum()
    path = SUM.folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    capfd.readouterr()
    assert run_sum() == 3
    told = capfd.readouterr().err
    assert "Preparing the sum" in told
    assert (f"{name} has" in told) or name == "graph.json"
    assert faults(SUM) is None


def test_a_changed_graph_is_seen_at_once_and_changed_weights_by_every_byte(home):
    run_sum()
    path = SUM.folder / "sum.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert "sum.bin has another SHA-256" in (faults(SUM) or "")


def test_versions_of_the_program_share_a_cache_and_what_nothing_opens_for_a_month_is_removed(home, capfd):
    run_sum()
    newer = GraphSource("sum", 2, ("one",))
    assert run_sum(newer) == 3
    assert SUM.folder.exists()
    month_ago = time.time() - 31 * 86400
    for source in (SUM, newer):
        os.utime(source.folder, (month_ago, month_ago))
    assert run_sum() == 3  # opened: used again
    assert run_sum(GraphSource("sum", 3, ("one",))) == 3
    assert f"Removing {newer.folder}, which nothing has opened for 31 days" in capfd.readouterr().err
    assert SUM.folder.exists()
    assert not newer.folder.exists()


def test_weights_of_another_adapter_have_a_graph_of_their_own(home):
    run_sum()
    assert run_sum(GraphSource("sum", 1, ("two",))) == 3
    assert SUM.folder.exists()


def test_a_full_disk_is_said_and_leaves_nothing(home):
    def fail(folder):
        (folder / "sum.bin").write_bytes(b"part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(NoRoomError, match=r"No space left on device.*set REASON_IAD_HOME"):
        run_sum(write=fail)
    assert [p.name for p in (home / "graphs").iterdir() if not p.name.endswith(".lock")] == []


def test_a_graph_that_onnxruntime_cannot_run_is_explained(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"onnxruntime .* cannot run"):
        new_session(path, 1)


def test_the_arithmetic_of_richer_processors_stays_near_float32_here_too(tiny_nano, shape, photo):
    """Products and keys in bfloat16 run anywhere, slowly: what AMX machines compute is compared on all."""
    state = state_of(tiny_nano)
    decoder = Llama.of(shape, state.__getitem__, torch.bfloat16)
    rich = with_layers(tiny_nano, shape, TorchLayers(decoder, TiedHead(decoder.embed_tokens.weight)))
    suffix = torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(0)) * 0.2
    kept = prefix_of(rich, photo)
    assert {t.dtype for s in kept.segments for t in (*s.keys, *s.values)} == {torch.bfloat16}
    found, exact = (m.logits(m.run_suffix(prefix_of(m, photo), suffix).hidden) for m in (rich, tiny_nano))
    assert found.dtype == torch.float32
    # an entry of bfloat16 is wrong by up to 0.4 %, and 17 products follow each other here
    assert 0 < float((found - exact).norm() / exact.norm()) < 0.05
