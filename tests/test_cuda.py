"""What only a GPU can show. Written without one: `DAMGAN_TEST_DEVICE=cpu` rehearses it on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from damgan_cli.inpainting.inpainter import Inpainter
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.runtime.device import choose_dtype
from tests.training.small import settings, stats

DEVICE = os.environ.get("DAMGAN_TEST_DEVICE", "cuda")
REAL = DEVICE == "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(REAL and not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
DTYPES = ("float32", "bfloat16", "float16") if REAL else ("float32", "bfloat16")


def photos(count, side=128):
    """Smooth pictures and their irregular holes."""
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 256, (6, 6, 3), np.uint8) for _ in range(count)]
    images = [cv2.resize(cell, (side, side), interpolation=cv2.INTER_CUBIC) for cell in cells]
    masks = [
        make_mask("irregular", side, side, mask_rng(0, n), hole_share=(0.2, 0.3)) > 0 for n in range(count)
    ]
    return images, masks


def filled(inpainter, images, holes):
    return np.stack([fill.rgb for fill in inpainter.fill_batch(images, holes)]).astype(int)


@pytest.fixture(scope="module")
def on_cpu():
    return filled(Inpainter(device="cpu", dtype="float32"), *photos(4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_type_fills_as_the_cpu_does(dtype, on_cpu):
    """To 2 levels of 255; bfloat16, with its 8 bits, nearly everywhere."""
    difference = abs(filled(Inpainter(device=DEVICE, dtype=dtype), *photos(4)) - on_cpu)
    if dtype == "bfloat16":
        assert (difference <= 2).mean() > 0.95
        assert difference.mean() < 0.5
    else:
        assert difference.max() <= 2


def test_auto_takes_a_number_type_that_the_card_has():
    dtype = choose_dtype("auto", torch.device(DEVICE))
    assert str(dtype)[6:] in DTYPES
    if REAL and torch.cuda.get_device_capability() >= (8, 0):
        assert dtype is torch.bfloat16


@pytest.mark.parametrize("side", [128, 200])
def test_batches_give_what_single_photos_give(side):
    images, holes = photos(9, side)
    inpainter = Inpainter(device=DEVICE, dtype="float32", batch_size=8)
    together = filled(inpainter, images, holes)
    alone = np.concatenate(
        [filled(inpainter, [image], [hole]) for image, hole in zip(images, holes, strict=True)]
    )
    assert abs(together - alone).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_runs_give_the_same_bits(dtype):
    first, second = (filled(Inpainter(device=DEVICE, dtype=dtype), *photos(8)) for _ in range(2))
    assert (first == second).all()


def test_threads_that_copy_from_pinned_memory_do_not_mix_photos_up():
    images, holes = photos(32)
    inpainter = Inpainter(device=DEVICE, dtype="float32")
    inputs = [(images[n : n + 4], holes[n : n + 4]) for n in range(0, 32, 4)] * 3
    expected = [filled(inpainter, *given) for given in inputs[:8]] * 3
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda given: filled(inpainter, *given), inputs))
    assert all((result == right).all() for result, right in zip(results, expected, strict=True))


@pytest.mark.skipif(not REAL, reason="the CPU's memory is not limited here")
def test_batches_are_halved_where_memory_runs_out():
    images, holes = photos(256)
    expected = filled(Inpainter(device=DEVICE, dtype="float32", batch_size=8), images, holes)
    inpainter = Inpainter(device=DEVICE, dtype="float32", batch_size=256)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (768 << 20)) / total)
    try:
        result = filled(inpainter, images, holes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert inpainter.batch_size < 256
    assert abs(result - expected).max() <= 1


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "photos"
    place.mkdir()
    for number, image in enumerate(photos(24, 48)[0]):
        cv2.imwrite(str(place / f"{number:02}.png"), image)
    return place


@pytest.mark.parametrize("compiled", [[], ["--compile"]])
def test_a_training_resumes_and_its_weights_fill(damgan, folder, tmp_path, compiled):
    arguments = ["train", folder, "--out", tmp_path / "run", "--device", DEVICE, *settings(), *compiled]
    begun = damgan(*arguments, "--images", 32)
    assert begun.code == 0, begun.err
    ended = damgan(*arguments, "--images", 64, "--resume")
    assert ended.code == 0, ended.err
    ticks = stats(tmp_path / "run")
    assert ticks[-1]["images"] == 64
    assert all(np.isfinite(list(tick.values())).all() for tick in ticks)
    images, holes = photos(1)
    assert filled(Inpainter(tmp_path / "run" / "weights", device=DEVICE), images, holes).shape[0] == 1


def test_several_gpus_train_and_fill_together(folder, tmp_path):
    if REAL and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "damgan_cli"]
    training = ["train", folder, "--out", tmp_path / "run", "--device", DEVICE, "--images", "64", *settings()]
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), photos(1, 48)[1][0].astype(np.uint8) * 255)
    filling = ["inpaint", folder, "--mask", mask, "-o", tmp_path / "out", "--device", DEVICE]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for arguments in (training, [*filling, "--weights", tmp_path / "run" / "weights"]):
        command = [*torchrun, *map(str, arguments)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 24
