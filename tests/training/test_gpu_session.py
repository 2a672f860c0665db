"""examples/gpu_session.py and gpu_train.py as they would go with a GPU, on the CPU with tiny budgets."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from damgan_cli.weights.find import load_weights
from tests.training.small import settings, stats

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE = 32


def start(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.fixture
def packs(tmp_path):
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(30):
        place = photos / ("deep" if number % 2 else "") / f"{number:02}.png"
        cv2.imwrite(str(place), rng.integers(0, 256, (300, 20 + 9 * number, 3), np.uint8))
    (photos / "broken.jpg").write_bytes(b"no photo")
    made = start("gpu_session.py", "pack", tmp_path / "packs", photos, "--masks", 4, "--size", SIZE)
    said, _ = made.communicate(timeout=120)
    assert made.returncode == 0, said
    assert "left out" in said
    assert "1 packs" in said
    assert all(path.stat().st_size <= 30 << 20 for path in (tmp_path / "packs").iterdir())
    return tmp_path / "packs"


def test_packs_hold_photos_that_crops_fit_in_and_masks_of_every_kind(packs):
    with tarfile.open(packs / "photos-000.tar") as archive:
        files = [archive.extractfile(member).read() for member in archive]
    assert len(files) == 30
    shapes = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] for data in files]
    assert all(min(shape) > SIZE and max(shape) <= 1.375 * SIZE for shape in shapes)
    with np.load(packs / "masks.npz") as bank:
        shares = {kind: np.unpackbits(bank[kind], axis=-1).mean() for kind in bank}
        assert {kind: len(bank[kind]) for kind in bank} == {
            "irregular": 4, "medium": 4, "large": 4, "box": 4, "center": 1,
        }  # fmt: skip
    assert shares["center"] == 0.25
    assert shares["large"] > shares["medium"] > 0


def test_photos_arrive_while_it_trains_and_what_is_taken_home_goes_on(packs, tmp_path, tiny_weights):
    """Batches of the first pack, then of both; D and weights start the next training."""
    work = tmp_path / "work"
    (work / "packs").mkdir(parents=True)
    for name in ("masks.npz", "photos-000.tar"):
        os.link(packs / name, work / "packs" / name)
    start_of_it = load_weights(tiny_weights).generator
    small = settings(size=SIZE, discriminator="patch", refined_share=0.5, generator=None)  # of the weights
    training = ("--device", "cpu", "--pixels", 200_000, "--graphs", 3, *small)
    run = start("gpu_train.py", work, "--init", tiny_weights, "--minutes", 0.2, *training)
    os.link(packs / "photos-000.tar", tmp_path / "later.tar")
    time.sleep(6)
    (tmp_path / "later.tar").rename(work / "packs" / "photos-001.tar")
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert "photos-000.tar: 30 photos" in said
    assert "photos-001.tar: 60 photos" in said
    before, *_, after = stats(work / "run")
    assert before["images"] == 0 < after["images"]
    assert after["learning_rate"] < 1e-4
    home = load_weights(work / "out" / "weights").generator
    assert home.config == start_of_it.config
    learned = home.state_dict()
    assert any(not torch.equal(value, learned[name]) for name, value in start_of_it.state_dict().items())

    judge = torch.load(work / "out" / "D.pt", weights_only=True)
    again = start(
        "gpu_train.py", work, "--init", work / "out" / "weights", "--discriminator",
        work / "out" / "D.pt", "--minutes", 0.001, *training,
    )  # fmt: skip
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    later = torch.load(work / "out" / "D.pt", weights_only=True)
    names = [name for name in judge if name.endswith("original")]
    assert len(names) == 5
    assert all(torch.allclose(judge[name], later[name], atol=2e-3) for name in names)  # a step or two later
