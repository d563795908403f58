"""Retrieval: modes, the normal description, diversity, limits, names; and its quality with the real encoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from reason_iad import files
from reason_iad.errors import InputError, KnowledgeError
from reason_iad.knowledge.entries import Entry, load_categories, load_entries
from reason_iad.knowledge.retrieve import KnowledgeBase, RetrievalOptions, select, tell_encoding
from reason_iad.knowledge.store import Hit


@pytest.fixture(scope="module")
def base(make_encoder: Any) -> KnowledgeBase:
    return KnowledgeBase(load_entries(), make_encoder(), load_categories())


def words(text: str) -> int:
    return len(text.split())


def test_mode_none_gives_nothing_and_loads_nothing() -> None:
    base = KnowledgeBase(load_entries())  # without an encoder: only a search would load the bundled one
    assert base.retrieve("crack", "hazelnut", "none") == ()


def test_oracle_is_every_entry_of_the_category_and_needs_no_encoder() -> None:
    base = KnowledgeBase(load_entries())
    cited = base.retrieve("anything", "hazelnut", "oracle", RetrievalOptions(top_k=1, token_budget=1))
    expected = [entry for entry in load_entries() if entry.category == "hazelnut"]
    assert [citation.entry_id for citation in cited] == [entry.id for entry in expected]
    assert [citation.text for citation in cited] == [entry.text for entry in expected]
    assert base.retrieve("anything", None, "oracle") == ()


@pytest.mark.parametrize("category", [knowledge.category for knowledge in load_categories()])
def test_the_normal_description_comes_first_for_every_category(base: KnowledgeBase, category: str) -> None:
    options = RetrievalOptions(top_k=4, token_budget=120, count_tokens=words)
    cited = base.retrieve("where is the scratch?", category, "retrieved", options)
    assert cited[0].kind == "normal"
    assert {citation.category for citation in cited} == {category}
    assert len(cited) <= 4
    assert sum(words(citation.text) for citation in cited) <= 120
    scores = [citation.score for citation in cited[1:]]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(citation.score) and citation.score > 0 for citation in cited)
    assert all(citation.source for citation in cited)


def test_the_normal_description_stays_when_the_budget_is_too_small(base: KnowledgeBase) -> None:
    cited = base.retrieve("crack", "hazelnut", "retrieved", RetrievalOptions(token_budget=1))
    assert [citation.kind for citation in cited] == ["normal"]


def test_no_defect_type_comes_twice_before_all_are_there(base: KnowledgeBase) -> None:
    types = {defect.type for defect in base.knowledge_of("hazelnut").defects}  # type: ignore[union-attr]
    options = RetrievalOptions(top_k=50, token_budget=100_000)
    cited = base.retrieve(question := "crack cracked shell crack", "hazelnut", "retrieved", options)
    order = [citation.defect_type for citation in cited if citation.defect_type]
    assert set(order[: len(types)]) == types
    ranked = [hit.entry.defect_type for hit in base.search(question, "hazelnut", 50)]
    assert order[0] == next(defect_type for defect_type in ranked if defect_type)
    assert len(cited) == sum(entry.category == "hazelnut" for entry in base.entries)  # a large budget takes all


def test_encoding_many_texts_is_told_ten_times_and_few_not_at_all() -> None:
    said: list[str] = []
    tell = tell_encoding(said.append)
    for done in range(64, 1601, 64):
        tell(done, 1600)
    assert len(said) == 10
    assert said[-1] == "encoding knowledge, 1,600 of 1,600 texts"
    tell_encoding(said.append)(64, 150)
    assert len(said) == 10


def test_an_entry_that_does_not_fit_is_passed_over_for_shorter_ones() -> None:
    def hit(number: int, text: str) -> Hit:
        return Hit(Entry(str(number), "c", "defect", text, "s", f"t{number}"), 1 / number)

    hits = [hit(1, "a b"), hit(2, "a b c d e"), hit(3, "a b c")]
    chosen = select(hits, RetrievalOptions(token_budget=5, count_tokens=words))
    assert [h.entry.id for h in chosen] == ["1", "3"]


@pytest.mark.parametrize("category", [None, "unknown", "Unknown", "left-handed teapot", ""])
def test_an_unknown_category_gets_only_what_holds_for_any_product(base: KnowledgeBase, category: str | None) -> None:
    cited = base.retrieve("is the hazelnut cracked?", category)
    assert cited
    assert {citation.category for citation in cited} == {"any_product"}


def test_a_base_without_general_entries_gives_an_unknown_category_nothing(encoder: Any) -> None:
    entries = [entry for entry in load_entries() if entry.category == "hazelnut"]
    assert KnowledgeBase(entries, encoder).retrieve("crack", None) == ()
    assert encoder.encoded == []  # nothing to rank, so nothing is loaded or encoded


@pytest.mark.parametrize("name", ["light_guide_plate", "Light guide plate", "LGP", "light-guide  plate"])
def test_names_and_aliases_lead_to_the_category(base: KnowledgeBase, name: str) -> None:
    assert base.check_category(name) == "light_guide_plate"
    assert base.retrieve("scratch", name)[0].category == "light_guide_plate"


def test_an_unknown_name_lists_the_nearest_ones(base: KnowledgeBase) -> None:
    with pytest.raises(InputError, match=r"'hazlenut' is not in the knowledge base; the nearest are hazelnut"):
        base.check_category("hazlenut")
    with pytest.raises(InputError, match=r"known are alien_figure, aluminum_profile, .* and 97 more"):
        base.check_category("qqqqqqqq")


def test_bad_arguments_are_refused(base: KnowledgeBase) -> None:
    with pytest.raises(InputError, match="expected one of none, retrieved, oracle"):
        base.retrieve("q", None, "all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="top_k is 0"):
        RetrievalOptions(top_k=0)
    with pytest.raises(InputError, match="token_budget is 0"):
        RetrievalOptions(token_budget=0)
    with pytest.raises(InputError, match="question is empty"):
        base.search("  ")
    with pytest.raises(InputError, match="top_k is 0"):
        base.search("crack", top_k=0)
    with pytest.raises(KnowledgeError, match="two entries"):
        KnowledgeBase([*load_entries(), load_entries()[0]])


def test_a_question_without_known_words_is_still_answered(base: KnowledgeBase) -> None:
    assert base.retrieve("", "hazelnut")[0].kind == "normal"
    assert base.retrieve("🙂" * 3, "hazelnut")


@pytest.mark.weights
@pytest.mark.skipif(not (files.home() / "weights").is_dir(), reason="the bundled weights are not in the cache")
def test_fused_retrieval_finds_the_right_defect_and_beats_its_parts(tmp_path: Path) -> None:
    rows = yaml.safe_load((Path(__file__).parent / "queries.yaml").read_text(encoding="utf-8"))
    queries = [row for row in rows if len(row) == 3][1::2]  # the half that the fusion was not tuned on
    assert len(rows) >= 200
    base = KnowledgeBase.load(base=tmp_path)
    reciprocal = {"bm25": 0.0, "dense": 0.0, "fused": 0.0}
    found = 0
    for question, category, defect_type in queries:
        name = base.knowledge_of(category).name  # type: ignore[union-attr]
        hits = base.index.rank(f"{question} {name}")
        orders = {
            "fused": list(hits),
            "bm25": sorted(hits, key=lambda hit: (-hit.bm25, hit.entry.id)),
            "dense": sorted(hits, key=lambda hit: (-hit.similarity, hit.entry.id)),
        }
        for kind, order in orders.items():
            right = [(hit.entry.category, hit.entry.defect_type) == (category, defect_type) for hit in order]
            reciprocal[kind] += 1 / (1 + right.index(True))
            found += kind == "fused" and any(right[:5])
    assert found / len(queries) > 0.9
    assert reciprocal["fused"] > max(reciprocal["bm25"], reciprocal["dense"])


@pytest.mark.weights
@pytest.mark.skipif(not (files.home() / "weights").is_dir(), reason="the bundled weights are not in the cache")
def test_the_bundled_encoder_gives_a_text_one_vector_whatever_stands_beside_it() -> None:
    import numpy as np

    from reason_iad.knowledge.encoders import Encoder, SentenceEncoder

    encoder = SentenceEncoder.load()
    assert isinstance(encoder, Encoder)
    texts = ["a crack in the glass", "word " * 2000, "a fissure in the pane", "quarterly revenue grew"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], encoder.encode(["a crack in the glass"])[0])
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3] + 0.1
    assert encoder.encode([]).shape == (0, 384)


def test_support_is_the_best_cosine_of_an_option_alone_and_as_an_answer(make_encoder: Any) -> None:
    encoder = make_encoder()
    base = KnowledgeBase(load_entries(), encoder, load_categories())
    known = base.knowledge_of("hazelnut")
    assert known is not None
    texts = [known.name, *known.aliases, *(entry.text for entry in known.entries())]
    vectors = encoder.encode(texts)
    options = ["Filbert.", "A closed brown shell."]
    found = base.support("What is it?", options, "hazelnut")
    for option, value in zip(options, found, strict=True):
        expected = [
            float((vectors @ encoder.encode([t])[0]).max()) for t in (option.rstrip("."), f"What is it? {option}")
        ]
        assert value == pytest.approx(sum(expected), abs=1e-5)


def test_support_of_an_unknown_category_is_refused(base: KnowledgeBase) -> None:
    with pytest.raises(InputError, match="not in the knowledge base"):
        base.support("What is it?", ["A nut."], "no such thing")


def test_the_closest_text_is_the_one_with_the_largest_cosine(base: KnowledgeBase) -> None:
    assert base.closest("a dark scratch", ["a bright label", "a dark deep scratch", "nothing"])[0] == 1


@pytest.mark.weights
@pytest.mark.parametrize(
    ("category", "question", "options"),
    [
        ("hazelnut", "What is the object in the image?", ["Hazelnut.", "Solar cell.", "Ball bearing."]),
        ("ball_bearing", "What kind of part is it?", ["A ring with rolling balls.", "A woven fabric.", "A food."]),
        ("leather", "What can this defect lead to?", ["The seat cover looks worn.", "A short circuit.", "A leak."]),
    ],
)
def test_knowledge_of_the_bundled_encoder_supports_what_is_true(
    category: str, question: str, options: list[str]
) -> None:
    found = KnowledgeBase.load().support(question, options, category)
    assert max(found) == found[0]
