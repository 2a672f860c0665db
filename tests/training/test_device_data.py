"""Batches made on the device, here the CPU, against what they promise."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from damgan_cli.training.config import TrainingConfig
from damgan_cli.training.device_data import DeviceBatches

CPU = torch.device("cpu")


def batches(photos, seed=0, masks=8, **changes):
    config = TrainingConfig(**{"size": 32, "batch_size": 4, "masks": {"center": 1}, **changes})
    return DeviceBatches(photos, config, seed, CPU, masks=masks)


def as_photo(image):
    """(3, S, S) in [-1, 1] -> (S, S, 3) in 0-255."""
    return ((image + 1) * 127.5).permute(1, 2, 0).numpy()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_photos_of_the_trained_size_come_pixel_for_pixel():
    photos = [noise(32, 32, seed) for seed in range(4)]
    images, masks = batches(photos, flip=False).tensors(0, CPU)
    assert images.shape == (4, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert masks.shape == (4, 1, 32, 32)
    assert masks.sum().item() == 4 * 16 * 16
    seen = sorted(as_photo(image).round().astype(np.uint8).tobytes() for image in images)
    assert seen == sorted(photo.tobytes() for photo in photos)


def test_half_of_the_images_are_mirrored():
    ramp = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    images, _ = batches([ramp], batch_size=64).tensors(0, CPU)
    rising = sum(bool(image[0, 0, -1] > image[0, 0, 0]) for image in images)
    assert 20 <= rising <= 44


def test_larger_photos_are_cut_and_reduced_as_by_area():
    photo = cv2.GaussianBlur(noise(64, 70), (0, 0), 2)
    images, _ = batches([photo], crop_scale=2, flip=False, batch_size=1).tensors(0, CPU)
    crops = (
        photo[y : y + side, x : x + side]
        for side in range(32, 65)
        for y in range(65 - side)
        for x in range(71 - side)
    )
    reduced = (cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA) for crop in crops)
    assert min(np.abs(crop - as_photo(images[0])).mean() for crop in reduced) < 2


def test_whole_photos_are_cut_at_every_scale_and_reduced_as_by_area():
    photo = noise(160, 171)  # aliasing would show
    images, _ = batches([photo], crop_scale="photo", flip=False, batch_size=12).tensors(0, CPU)
    best = []
    for image in images:
        wanted, errors = as_photo(image), []
        for side in range(32, 161):
            small = cv2.resize(photo, None, fx=32 / side, fy=32 / side, interpolation=cv2.INTER_AREA)
            found = cv2.matchTemplate(small, wanted.round().astype(np.uint8), cv2.TM_CCOEFF_NORMED)
            errors.append((found.max(), side))
        best.append(max(errors))
        assert wanted.std() < 1.6 * 74 * 32 / best[-1][1]  # of n pixels' mean; noise has 74
    assert min(side for _, side in best) < 50
    assert max(side for _, side in best) > 100


def test_zoomed_images_are_enlarged_parts():
    ramp = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    images, _ = batches([ramp], batch_size=32, zoom_share=1, flip=False).tensors(0, CPU)
    spans = (images[:, 0, 0, -1] - images[:, 0, 0, 0]) * 127.5
    assert (spans > 110).all()
    assert (spans < 256).all()
    assert spans.std() > 10
    rows = images[spans < 200][:, 0, 0, 1:-1]  # enlarged by 1.3 at least: read at the nearest pixel, they
    assert (rows.diff(dim=1) > 0).all()  # would have steps and treads


def test_any_seed_will_do():
    photos = [noise(40, 50)]
    images = [batches(photos, seed, crop_scale=1.2).tensors(3, CPU)[0] for seed in (1, 2**40)]
    assert not torch.equal(*images)


def test_an_epoch_shows_every_photo_once():
    photos = [np.full((32, 32, 3), 10 * value, np.uint8) for value in range(6)]
    made = batches(photos)
    values = torch.cat([made.tensors(step, CPU)[0][:, 0, 0, 0] for step in range(3)])
    seen = ((values + 1) * 12.75).round().int().tolist()
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_batches_depend_on_seed_and_step_alone():
    photos = [noise(40, 50, seed) for seed in range(5)]
    options = {"crop_scale": 2.0, "zoom_share": 0.5}
    first, again, other = (
        DeviceBatches(
            photos,
            TrainingConfig(size=32, batch_size=4, masks={"irregular": 1, "center": 1}, **options),
            seed,
            CPU,
            masks=8,
        )
        for seed in (0, 0, 1)
    )
    first.tensors(0, CPU)
    for step in (3, 7):
        assert all(
            torch.equal(a, b) for a, b in zip(first.tensors(step, CPU), again.tensors(step, CPU), strict=True)
        )
    assert not torch.equal(first.tensors(3, CPU)[0], other.tensors(3, CPU)[0])


def test_masks_keep_their_hole_share_and_proportions():
    config = TrainingConfig(
        size=32, batch_size=64, masks={"irregular": 3, "center": 1}, irregular_ratio=(0.4, 0.5)
    )
    _, masks = DeviceBatches([noise(32, 32)], config, 0, CPU, masks=16).tensors(0, CPU)
    shares = masks.mean((1, 2, 3))
    centred = (shares == 0.25).sum().item()
    assert 6 <= centred <= 28
    assert ((shares[shares != 0.25] >= 0.4) & (shares[shares != 0.25] <= 0.5)).all()
