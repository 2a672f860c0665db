"""Protocols: what a method gets to see, which photo takes which mask, what is scored."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from PIL import Image

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.evaluation.metrics import psnr, score, ssim
from damgan_cli.evaluation.protocol import (
    HOLE_SHARE_BINS,
    PAPER_TABLE_1,
    load_photo,
    load_photos,
    mask_sets,
    run_protocol,
    telea,
)
from tests.cli.eval_files import CAT, COFFEE
from tests.files import save


def center():
    (only,) = mask_sets("center", 3)
    return only.holes[0]


def test_no_method_sees_the_truth_under_the_hole():
    seen = []

    def spy(images, holes):
        seen.extend(zip([image.copy() for image in images], holes, strict=True))
        return images

    photos = [CAT, 255 - CAT]
    run_protocol(spy, photos, [center()] * 2)
    for (image, hole), photo in zip(seen, photos, strict=True):
        assert (image[hole] == 0).all()
        np.testing.assert_array_equal(image[~hole], photo[~hole])


def test_known_pixels_are_pasted_back_and_each_photo_scored():
    def gray(images, holes):
        return [np.full_like(image, 100) for image in images]  # damages the known pixels too

    results = {}
    scores = run_protocol(gray, [CAT, COFFEE], [center()] * 2, results.__setitem__)
    for index, photo in enumerate((CAT, COFFEE)):
        expected = photo.copy()
        expected[32:96, 32:96] = 100
        np.testing.assert_array_equal(results[index], expected)
        assert scores[index] == score(expected, photo, center())


def test_more_photos_than_a_batch_keep_their_order():
    photos = [np.full((128, 128, 3), value, np.uint8) for value in range(0, 250, 6)]
    sizes = []

    def twenty_more(images, holes):
        sizes.append(len(images))
        return [image[:1, :1] + np.zeros_like(image) + 20 for image in images]

    results = {}
    scores = run_protocol(twenty_more, photos, [center()] * len(photos), results.__setitem__)
    assert len(scores) == len(photos)
    assert max(sizes) <= 16
    assert sum(sizes) == len(photos)
    for index, photo in enumerate(photos):
        assert results[index][0, 0, 0] == photo[0, 0, 0]
        assert results[index][64, 64, 0] == (int(photo[0, 0, 0]) + 20) % 256


def test_a_method_that_loses_a_photo_is_a_bug_that_shows():
    with pytest.raises(ValueError, match="zip"):
        run_protocol(lambda images, holes: images[:1], [CAT, COFFEE], [center()] * 2)


def test_telea_is_opencvs_with_radius_3():
    result = {}
    (scores,) = run_protocol(telea, [CAT], [center()], result.__setitem__)
    blanked = CAT.copy()
    blanked[32:96, 32:96] = 0
    expected = cv2.inpaint(blanked, np.uint8(255) * center(), 3, cv2.INPAINT_TELEA)
    np.testing.assert_array_equal(result[0], expected)
    assert scores["psnr"] == psnr(expected, CAT)
    assert scores["ssim"] == ssim(expected, CAT)
    assert 10 < scores["hole_psnr"] < scores["psnr"] < 40


def test_center_is_the_papers_square():
    assert center().sum() == 64 * 64
    assert center()[32:96, 32:96].all()


def test_freeform_masks_follow_the_seed():
    (first,), (again,), (other,) = (mask_sets("freeform", 4, seed=seed) for seed in (1, 1, 2))
    assert len(first.holes) == 4
    np.testing.assert_array_equal(first.holes, again.holes)
    assert not np.array_equal(first.holes, other.holes)
    assert len({hole.tobytes() for hole in first.holes}) == 4


def test_paper_is_center_and_freeform():
    assert [masked.name for masked in mask_sets("paper", 2)] == list(PAPER_TABLE_1) == ["center", "freeform"]


def test_bins_have_their_hole_shares_and_follow_the_seed():
    sets = mask_sets("bins", 3, seed=4)
    assert [masked.name for masked in sets] == [
        "1-10 %",
        "10-20 %",
        "20-30 %",
        "30-40 %",
        "40-50 %",
        "50-60 %",
    ]
    for masked, again, (low, high) in zip(sets, mask_sets("bins", 3, seed=4), HOLE_SHARE_BINS, strict=True):
        assert all(low <= hole.mean() <= high for hole in masked.holes)
        np.testing.assert_array_equal(masked.holes, again.holes)
    assert len({hole.tobytes() for masked in sets for hole in masked.holes}) == 18


def test_bins_from_folders_sorted_and_nearest(tmp_path):
    rng = np.random.default_rng(0)
    large = rng.integers(0, 2, (512, 512), np.uint8) * 255
    save(tmp_path / "1" / "b.png", large)
    save(tmp_path / "1" / "a.png", np.zeros((512, 512), np.uint8))
    save(tmp_path / "0" / "m.png", 255 - large)
    (tmp_path / "readme.txt").write_text("not a bin")
    sets = mask_sets("bins", 5, folder=tmp_path)
    assert [(masked.name, len(masked.holes)) for masked in sets] == [("0", 1), ("1", 2)]
    assert not sets[1].holes[0].any()
    nearest = np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.NEAREST)) > 0
    np.testing.assert_array_equal(sets[1].holes[1], nearest)
    np.testing.assert_array_equal(sets[0].holes[0], ~nearest)
    inverted = mask_sets("bins", 5, folder=tmp_path, invert=True)
    np.testing.assert_array_equal(inverted[1].holes[1], ~nearest)


def test_bins_need_folders_of_masks(tmp_path):
    with pytest.raises(ImageFileError, match="does not exist"):
        mask_sets("bins", 1, folder=tmp_path / "nowhere")
    save(tmp_path / "flat.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(MaskError, match="no subfolders"):
        mask_sets("bins", 1, folder=tmp_path)
    save(tmp_path / "0" / "m.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "1").mkdir()
    with pytest.raises(MaskError, match="no masks in 1 of"):
        mask_sets("bins", 1, folder=tmp_path)


def test_photos_of_the_size_are_untouched_and_others_fitted(tmp_path):
    pixels, fitted = load_photo(save(tmp_path / "cat.png", CAT))
    np.testing.assert_array_equal(pixels, CAT)
    assert not fitted
    # 512x256 with a red middle: halved to 256x128, the middle 128 columns kept.
    wide = np.zeros((256, 512, 3), np.uint8)
    wide[:, 128:384, 0] = 200
    pixels, fitted = load_photo(save(tmp_path / "wide.png", wide))
    assert fitted
    assert pixels.shape == (128, 128, 3)
    assert (pixels == [200, 0, 0]).all()
    for height, width in ((1, 1), (50, 77), (1000, 129)):
        assert load_photo(save(tmp_path / "odd.png", np.zeros((height, width, 3), np.uint8)))[0].shape == (
            128,
            128,
            3,
        )


def test_photos_are_sorted_limited_and_the_unreadable_keep_their_place(tmp_path):
    for name in ("c.png", "a.png", "d/e.png"):
        save(tmp_path / name, CAT)
    (tmp_path / "b.png").write_bytes(b"broken")
    photos = load_photos(tmp_path)
    assert (photos.count, photos.names, photos.positions) == (4, ["a.png", "c.png", "d/e.png"], [0, 2, 3])
    assert list(photos.failed) == ["b.png"]
    assert load_photos(tmp_path, limit=1).names == ["a.png"]


def test_no_photos_is_an_error(tmp_path):
    with pytest.raises(ImageFileError, match="no photos"):
        load_photos(tmp_path)
    (tmp_path / "b.png").write_bytes(b"broken")
    with pytest.raises(ImageFileError, match="can be read"):
        load_photos(tmp_path)


def test_an_empty_hole_scores_as_identical():
    (scores,) = run_protocol(telea, [CAT], [np.zeros((128, 128), bool)])
    assert scores["psnr"] == math.inf
    assert math.isnan(scores["hole_psnr"])
