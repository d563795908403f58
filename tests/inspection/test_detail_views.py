"""The same place of a good part: registered where parts lie alike, the nearest good patch otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from simulated_model import SimulatedModel

from reason_iad.errors import ModelError, ModelUnavailableError
from reason_iad.evidence.compare import compare
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.paired import compare_paired
from reason_iad.inspection.detail_views import best_shift, odd_places, ring_of, scaled, thought_notes, views_of
from reason_iad.inspection.nearest import Compared
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.served import ServedDialog
from reason_iad.inspection.sources import Finding
from reason_iad.reasoning.details import GoodPlace, Views, cut


def noise(height=448, width=448, seed=0):
    small = np.random.default_rng(seed).integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    return small.repeat(16, axis=0).repeat(16, axis=1)


def unit(*shape, seed=1):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_shift_is_the_one_by_which_the_surroundings_agree_and_the_defect_has_no_say():
    references = unit(3, 12, 12, 16)
    query = (
        references[2].roll((-1, 2), dims=(0, 1)).clone()
    )  # what is at (r, c) lies at (r + 1, c - 2) of the good part
    query[5:7, 5:7] = unit(2, 2, 16, seed=9)  # a defect
    assert best_shift(query, references, (50, 50, 70, 70), (120, 120)) == (2, 1, -2)


def test_parts_that_do_not_lie_alike_are_told_apart():
    references = unit(2, 12, 12, 16)
    scattered = references[0].flatten(0, 1)[torch.randperm(144, generator=torch.Generator().manual_seed(0))]
    assert best_shift(scattered.view(12, 12, 16), references, (50, 50, 70, 70), (120, 120)) is None


def test_the_ring_leaves_out_what_the_box_holds():
    ring = ring_of((40, 40, 80, 80), (120, 120), (12, 12))
    assert not ring[4:8, 4:8].any()
    assert ring[2:10, 2:10].sum() == 64 - 16
    assert ring_of((0, 0, 120, 120), (120, 120), (12, 12)).all()


def test_the_same_place_shows_what_the_part_would_show_there_without_its_defect(tiny_nano):
    goods = (noise(seed=1), noise(seed=2))
    part = goods[1].copy()
    part[192:256, 128:192] = 255
    bank = MemoryBank.build(goods, tiny_nano.vision)
    evidence = compare(part, bank, tiny_nano.vision)
    views = views_of(part, evidence, Compared(bank, goods), goods, tiny_nano.vision)
    found = views.good((128, 192, 192, 256))
    assert found.reference == 1
    assert found.box_xyxy == (128, 192, 192, 256)
    np.testing.assert_array_equal(found.pixels, goods[1][192:256, 128:192])
    assert found.distance > 0.05  # the defect is not there


def test_references_of_another_size_are_cut_at_the_same_share(tiny_nano):
    part, good = noise(448, 448), noise(224, 896, seed=5)
    views = views_of(part, None, None, (good,), tiny_nano.vision)
    found = views.good((112, 224, 224, 336))
    assert found.box_xyxy == (224, 112, 448, 168)
    np.testing.assert_array_equal(found.pixels, good[112:168, 224:448])
    assert scaled((0, 0, 448, 448), (448, 448), (3, 5)) == (0, 0, 5, 3)
    assert scaled((440, 0, 448, 8), (448, 448), (448, 448), (0.0, 0.5)) == (440, 0, 448, 8)  # kept inside


def test_a_golden_template_is_cut_as_it_was_laid_under_the_image(tiny_nano):
    good = noise(320, 320, seed=4)
    part = np.roll(good, 6, axis=1)
    evidence = compare_paired(part, good)
    found = views_of(part, evidence, None, (good,), tiny_nano.vision).good((100, 100, 180, 180))
    held = cut(part, (100, 100, 180, 180)).astype(int)
    assert np.abs(found.pixels.astype(int) - held).mean() < 0.5 * np.abs(good[100:180, 100:180] - held).mean()


def test_without_references_a_detail_stands_alone_and_the_report_says_so(tiny_nano):
    views = views_of(noise(), None, None, (), tiny_nano.vision)
    assert views.good((0, 0, 9, 9)) is None
    assert not views.has_good
    nothing = Finding(None, None, (), ())
    told = thought_notes(InspectorOptions(details="on", reward="anchored"), nothing)
    assert len(told) == 2
    assert "stand alone" in told[0]
    assert "--reward anchored" in told[1]
    assert thought_notes(InspectorOptions(details="off"), nothing) == ()


class OnePictureModel(SimulatedModel):
    """Takes so many pictures and no more, as a server with a limit does."""

    most, away = 1, False

    def choose(self, parts, num_options, options=()):
        if self.away:
            raise ModelUnavailableError("the server is away")
        if sum(isinstance(part, np.ndarray) for part in parts) > self.most:
            raise ModelError("at most 1 image may be given")
        return super().choose(parts, num_options, options)


def served(model, details="on"):
    image = noise()
    odd = np.zeros((16, 16), dtype=np.float32)
    odd[2, 13], odd[12, 3] = 1.0, 0.8

    class Evidence:
        def grid(self, rows, columns):
            return odd

    views = Views(image, lambda box: GoodPlace(0, box, 0.1, cut(image, box)), True)
    options = InspectorOptions(details=details)
    return ServedDialog(model, image, options=options, details=lambda name: odd_places(Evidence(), views, name))


def test_a_served_model_gets_the_odd_places_as_further_pictures():
    model = SimulatedModel()
    reply = served(model).choose("Is there a defect?", ("Yes.", "No."))
    assert len(model.asked[-1]) == 1 + 2 * 2  # two odd places, each beside a good one
    assert [(d.place, d.kept) for d in reply.trace.details] == [("top right", True), ("bottom left", True)]
    plain = served(model, "off").choose("Is there a defect?", ("Yes.", "No."))
    assert len(model.asked[-1]) == 1
    assert plain.trace.details == ()
    assert served(model).under(InspectorOptions(details="off")).choose("Good?", ("Yes.", "No.")).trace.details == ()


def test_a_served_model_of_one_picture_is_asked_without_details_and_that_is_said():
    dialog = served(OnePictureModel())
    reply = dialog.choose("Is there a defect?", ("Yes.", "No."))
    assert reply.trace.details == ()
    assert "2 details were left out" in reply.trace.notes[0]
    assert "at most 1 image" in reply.trace.notes[0]


def test_a_server_that_is_away_is_no_reason_to_leave_details_out():
    model = OnePictureModel()
    model.away = True
    with pytest.raises(ModelUnavailableError):
        served(model).choose("Is there a defect?", ("Yes.", "No."))
