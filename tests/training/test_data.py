"""Photos and batches of a training."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from damgan_cli.errors import TrainingError
from damgan_cli.training import config as presets
from damgan_cli.training.data import Batches, PhotosOnDisk, load_photos


def test_batches_depend_on_seed_and_step_alone():
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (32, 40, 3), np.uint8) for _ in range(5)]
    config = presets.TrainingConfig(size=32, batch_size=4, masks={"irregular": 1}, irregular_ratio=(0.2, 0.3))
    first, again, other = (Batches(photos, config, seed) for seed in (0, 0, 1))
    first(0)
    for step in (3, 7):
        images, masks = first(step)
        assert images.shape == (4, 32, 32, 3)
        assert set(np.unique(masks)) == {0, 1}
        assert ((masks.mean(axis=(1, 2)) >= 0.2) & (masks.mean(axis=(1, 2)) <= 0.3)).all()
        assert all(np.array_equal(a, b) for a, b in zip(first(step), again(step), strict=True))
        assert not np.array_equal(first(step)[1], other(step)[1])


def test_an_epoch_shows_every_photo_once():
    photos = [np.full((32, 32, 3), value, np.uint8) for value in range(12)]
    batches = Batches(photos, presets.TrainingConfig(size=32, batch_size=4), seed=0)
    seen = [int(image[0, 0, 0]) for step in range(3) for image in batches(step)[0]]
    assert sorted(seen) == list(range(12))


def test_zoomed_images_are_enlarged_parts():
    ramp = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    config = presets.TrainingConfig(size=64, batch_size=32, zoom_share=0.5, flip=False)
    images, _ = Batches([ramp], config, seed=0)(0)
    spans = [int(image[0, -1, 0]) - int(image[0, 0, 0]) for image in images]
    whole = sum(span == 255 for span in spans)
    assert 8 <= whole <= 24
    assert all(120 <= span <= 255 for span in spans)  # half of the ramp or more
    assert images.shape == (32, 64, 64, 3)


def _scale_of(image, photo):
    """By how much a crop of a photo with a slope along x was reduced."""
    slope = (int(image[0, -1, 0]) - int(image[0, 0, 0])) / (image.shape[1] - 1)
    return slope / (photo[0, -1, 0] / (photo.shape[1] - 1))


def test_crops_of_whole_photos_come_at_every_scale_alike():
    ramp = np.repeat(np.linspace(0, 255, 320).round().astype(np.uint8)[None, :, None], 320, 0).repeat(3, 2)
    config = presets.TrainingConfig(
        size=64, batch_size=200, crop_scale="photo", flip=False, masks={"center": 1}
    )
    images, _ = Batches([ramp], config, seed=0)(0)
    logs = np.log([max(1, _scale_of(image, ramp)) for image in images]) / math.log(5)
    assert logs.min() < 0.05
    assert logs.max() > 0.95
    assert logs.mean() == pytest.approx(0.5, abs=0.1)  # uniform in the logarithm
    assert logs.std() == pytest.approx(1 / math.sqrt(12), abs=0.05)


def test_native_crops_are_the_photos_own_pixels():
    photo = np.random.default_rng(0).integers(0, 256, (32, 90, 3), np.uint8)
    config = presets.TrainingConfig(size=32, crop_scale="photo", flip=False)
    images, _ = Batches([photo], config, seed=0)(0)
    assert all(any(np.array_equal(i, photo[:, x : x + 32]) for x in range(59)) for i in images)


def _save(folder, count=6):
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (100, 120, 3), np.uint8))
    return paths


def test_photos_too_many_for_memory_give_the_same_batches(tmp_path):
    paths = _save(tmp_path)
    config = presets.TrainingConfig(size=16, batch_size=4, crop_scale="photo", zoom_share=0.2)
    few, many = (
        load_photos(paths, 16, config.largest_crop, pytest.fail, in_memory=limit)
        for limit in (1 << 20, 6 * 80 * 96 * 3 - 1)
    )
    assert isinstance(few, list)
    assert min(few[0].shape[:2]) == 80  # reduced to five times the size
    assert isinstance(many, PhotosOnDisk)
    for step in (0, 5, 0):
        batches = [Batches(photos, config, seed=3)(step) for photos in (few, many)]
        assert all(np.array_equal(*pair) for pair in zip(*batches, strict=True))


def test_a_photo_that_breaks_while_training_is_told_once_and_stood_in_for(tmp_path):
    paths = _save(tmp_path, 3)
    (tmp_path / "x.png").write_bytes(b"no photo")
    told = []
    photos = load_photos([*paths, tmp_path / "x.png"], 16, 5, told.append, in_memory=1)
    assert (len(photos), len(told)) == (3, 1)  # what its header gives away
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[: len(data) // 2])
    for _ in range(2):
        assert np.array_equal(photos[2], photos[0])
    assert len(told) == 2
    for path in paths:
        path.unlink()
    with pytest.raises(TrainingError, match="None of the photos"):
        photos[1]


def test_crop_scale_is_a_number_or_photo():
    config = presets.PAPER.with_settings({"crop_scale": "photo"})
    assert (config.crop_scale, config.largest_crop) == ("photo", presets.WHOLE_PHOTO)
    assert config.with_settings({"crop_scale": 2}).largest_crop == 2
    for wrong in (0.5, "all", [2]):
        with pytest.raises(TrainingError):
            presets.PAPER.with_settings({"crop_scale": wrong})
