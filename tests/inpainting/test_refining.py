"""Deep holes: the DAM stage refines what was filled at half the size; what objects that are alone get."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from damgan_cli import Inpainter
from damgan_cli.inpainting import exemplar
from damgan_cli.inpainting.windows import Window
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights
from tests.inpainting.holes import hole_with, photo


@pytest.mark.parametrize("light_share", [0, 0.75])
@pytest.mark.parametrize("refined_share", [0, 0.5])
@pytest.mark.parametrize("fit", ["auto", "native"])
def test_windows_are_filled_in_the_ways_that_the_weights_learned(
    tiny_weights, tmp_path, monkeypatch, refined_share, light_share, fit
):
    """Deep strokes are refined from half the size, shallow holes at full resolution are filled light.

    Of 70, 50 and 20 px depth, and a hole as compact as an object, which is reduced to 32 px; two photos each.
    """
    shares = {"refined_share": refined_share, "light_share": light_share}
    info = {"training": {"size": 256, **shares}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="float32", fit=fit, batch_size=64)
    used = []
    generator = inpainter.generator.forward

    def watched(image, mask, refined=0, sigma=None, *, given=None, light=0, margin=None):
        batch = len(image)
        assert refined in (0, batch)
        assert light in (0, batch)
        used.append((batch, refined > 0, sigma, light > 0, margin))
        return generator(image, mask, refined, sigma, given, light, margin)

    monkeypatch.setattr(inpainter.generator, "forward", watched)
    deep = (True, 3.0, False, 3) if refined_share and fit == "auto" else (False, None, False, 3)
    shallow = (False, None, bool(light_share), 3)
    reduced = (False, None, False, None if fit == "auto" else 3)
    strokes = [(100, 100 + 2 * depth, 50, 550) for depth in (70, 50, 20)]
    for box, way in zip([*strokes, (100, 240, 200, 340)], (deep, deep, shallow, reduced), strict=True):
        used.clear()
        inpainter.fill_batch([photo(300, 600)] * 2, [hole_with((300, 600), box)] * 2)
        assert (2, *way) in used
        assert {tuple(how) for _, *how in used} == {way}
    used.clear()  # of windows of the same size
    holes = [hole_with((192, 600), box) for box in ((40, 140, 50, 550), (60, 100, 50, 550))]
    inpainter.fill_batch([photo(192, 600)] * 2, holes)
    assert set(used) == ({(2, *deep)} if deep == shallow else {(1, *deep), (1, *shallow)})


def test_refining_changes_the_fill_of_deep_holes_alone(tiny_weights, tmp_path):
    """Strokes of 50 and 70 px depth, not of 20."""
    generator = load_weights(tiny_weights).generator
    holes = [hole_with((300, 600), (100, 100 + 2 * d, 50, 550)) for d in (50, 70, 20)]
    fills = []
    for share in (0, 0.5):
        info = {"training": {"size": 256, "refined_share": share}}
        save_weights(tmp_path / str(share), generator, info, "tiny")
        inpainter = Inpainter(tmp_path / str(share), device="cpu", dtype="float32")
        fills.append([fill.rgb for fill in inpainter.fill_batch([photo(300, 600)] * 3, holes)])
    assert [np.array_equal(*both) for both in zip(*fills, strict=True)] == [False, False, True]


@pytest.mark.parametrize(
    ("box", "share", "fit", "largest", "octaves"),
    [
        ((60, 260, 50, 950), 0.5, "auto", 896, [(320, 1000)]),  # 100 px deep, and reduced by two
        ((60, 260, 50, 950), 0.5, "smooth", 896, [(320, 1000)]),
        ((60, 260, 50, 950), 0.5, "native", 896, []),
        ((60, 260, 50, 950), 0, "auto", 896, []),  # weights that have not learned to refine
        ((60, 260, 50, 950), 0.5, "auto", 500, []),  # too large
        ((60, 260, 400, 600), 0.5, "auto", 896, []),  # as compact as an object
        ((60, 160, 50, 950), 0.5, "auto", 896, []),  # 50 px deep, and not reduced
    ],
)
def test_reduced_windows_are_refined_octave_by_octave(
    tiny_weights, tmp_path, monkeypatch, box, share, fit, largest, octaves
):
    info = {"training": {"size": 256, "refined_share": share, "light_share": 0.75}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="float32", fit=fit)
    monkeypatch.setattr("damgan_cli.inpainting.inpainter.LARGEST", largest)
    started = []
    generator = inpainter.generator.forward

    def watched(image, mask, *refined, given=None, light=0, margin=None):
        reduced = fit != "native" and box[1] - box[0] == 200
        assert margin == (27 if given is not None else None if reduced else 3)
        started.extend([] if given is None else [given.shape[2:]])
        assert not light
        return generator(image, mask, *refined, given=given, light=light, margin=margin)

    monkeypatch.setattr(inpainter.generator, "forward", watched)
    inpainter.fill_batch([photo(320, 1000)], [hole_with((320, 1000), box)])
    assert started == octaves


@pytest.mark.parametrize(
    ("height", "fit", "copied"),
    [
        (900, "auto", True),
        (900, "smooth", False),  # without copies there would be nothing finer
        (320, "auto", False),  # not large
    ],
)
def test_in_large_photos_deep_holes_are_reduced_until_nothing_is_left_to_refine(
    tiny_weights, tmp_path, monkeypatch, height, fit, copied
):
    info = {"training": {"size": 256, "refined_share": 0.5, "light_share": 0.75}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="float32", fit=fit)
    generator = inpainter.generator.forward
    refined, depths = [], []

    def watched(image, mask, *half, given=None, **how):
        refined.append(bool(half and half[0]) or given is not None)
        hole = mask[0, 0].numpy().astype(np.uint8)
        depths.append(cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
        return generator(image, mask, *half, given=given, **how)

    monkeypatch.setattr(inpainter.generator, "forward", watched)
    inpainter.fill_batch([photo(height, 1000)], [hole_with((height, 1000), (60, 260, 50, 950))])
    assert any(refined) != copied
    assert (max(depths) <= 48) == copied


@pytest.mark.parametrize("fit", ["auto", "native"])
@pytest.mark.parametrize(
    "box",
    [(100, 140, 50, 250), (100, 140, 50, 950), (60, 200, 50, 950), (60, 200, 400, 540), (10, 310, 50, 950)],
    ids=["shallow", "long", "refined", "object", "reduced, with octaves"],
)
def test_what_is_computed_near_holes_fills_them_as_before(tiny_weights, tmp_path, monkeypatch, box, fit):
    """So windows look no further than they say."""
    info = {"training": {"size": 256, "refined_share": 0.5, "light_share": 0.75}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="float32", fit=fit)
    photos, holes = [photo(320, 1000)], [hole_with((320, 1000), box)]
    (near,) = inpainter.fill_batch(photos, holes)
    generator = inpainter.generator.forward
    saved = []

    def of_everything(*given, margin, **how):
        near, whole = (generator(*given, margin=reach, **how).result for reach in (margin, None))
        saved.append(not torch.equal(near, whole))
        return generator(*given, **how)

    monkeypatch.setattr(inpainter.generator, "forward", of_everything)
    (whole,) = inpainter.fill_batch(photos, holes)
    reduced = fit == "auto" and box in ((60, 200, 400, 540), (10, 310, 50, 950))
    assert any(saved) != reduced
    assert abs(near.rgb.astype(int) - whole.rgb).max() <= 1
    assert np.allclose(near.fakeness, whole.fakeness, atol=1e-4)


def test_a_reduced_window_is_looked_at_beyond_its_hole(tiny_weights, tmp_path, monkeypatch):
    """An arm, 13 px wide, of a hole that is 300 px deep: on a window 15 times smaller it is known."""
    save_weights(
        tmp_path / "weights", load_weights(tiny_weights).generator, {"training": {"size": 128}}, "tiny"
    )
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="float32")
    hole = hole_with((1300, 1700), (300, 900, 200, 800), (608, 621, 800, 1600))
    prepared, beyond = Window.prepared, []

    def watched(window, fill, *given, **how):
        part = window.part[:: window.scale, :: window.scale]
        beyond.append((window.scale, int((part & ~window.hole).sum())))
        assert (fill[..., 3][part] > 0).all()
        return prepared(window, fill, *given, **how)

    monkeypatch.setattr(Window, "prepared", watched)
    inpainter.fill_batch([photo(1300, 1700)], [hole])
    assert max(beyond)[0] == 15
    assert max(beyond)[1] > 50


OBJECTS = pytest.mark.parametrize(
    ("size", "boxes", "alone"),
    [
        (256, [(156, 356, 180, 380)], True),  # compact, and reduced by four: 100 px deep
        (256, [(156, 356, 180, 380), (10, 110, 10, 500)], False),  # not all that is missing there
        (256, [(236, 276, 40, 440)], False),  # strokes are not
        (128, [(156, 356, 180, 380)], False),  # nor are objects reduced further than them for smaller weights
    ],
)


@OBJECTS
def test_an_object_gets_the_mean_of_a_fill_and_of_one_of_the_mirrored_photo(
    tiny_weights, tmp_path, monkeypatch, size, boxes, alone
):
    """So of waves that are odd about the middle nothing is left."""

    def waves(image, mask, *_):
        odd = torch.sin(torch.linspace(-20, 20, image.shape[-1])).expand_as(image)
        return torch.cat([odd, mask], dim=1)

    info = {"training": {"size": size, "refined_share": 0.5}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    inpainter = Inpainter(tmp_path / "weights", device="cpu", fit="smooth")
    monkeypatch.setattr(inpainter, "generate", waves)
    gray = np.full((512, 512, 3), 128, np.uint8)
    off = np.abs(inpainter(gray, hole_with((512, 512), *boxes)).astype(int) - 128)
    assert (off[hole_with((512, 512), boxes[0])].max() <= 1) == alone


@OBJECTS
def test_an_object_is_filled_with_large_pieces(tiny_weights, tmp_path, monkeypatch, size, boxes, alone):
    info = {"training": {"size": size, "refined_share": 0.5}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    used = []
    pieces = exemplar.in_pieces
    monkeypatch.setattr(exemplar, "in_pieces", lambda *given: used.append(1) or pieces(*given))
    Inpainter(tmp_path / "weights", device="cpu")(photo(512, 512), hole_with((512, 512), *boxes))
    assert len(used) == alone
