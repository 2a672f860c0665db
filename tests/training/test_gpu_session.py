"""examples/gpu_session.py as it would go with a GPU, on the CPU with tiny budgets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.training.small import settings

SCRIPT = Path(__file__).parents[2] / "examples" / "gpu_session.py"


def session(*arguments, code=0):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture
def packs(tmp_path):
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(24):
        place = photos / ("deep" if number % 2 else "") / f"{number:02}.png"
        cv2.imwrite(str(place), rng.integers(0, 256, (300, 40, 3), np.uint8))
    (photos / "broken.jpg").write_bytes(b"no photo")
    assert "1 packs" in session("pack", tmp_path / "packs", photos)
    assert all(path.stat().st_size <= 30 << 20 for path in (tmp_path / "packs").iterdir())
    return tmp_path / "packs"


def test_slices_go_on_from_each_other_on_a_fresh_machine_too(packs, tmp_path):
    training = (
        "--packs", packs, "--device", "cpu", "--preset", "best", "--total-minutes", 60,
        *settings(tick_images=4),
    )  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    said = session("slice", "--work", one / "work", "--out", one / "out", "--minutes", 0.3, *training)
    assert "24 photos" in said
    assert "left with 130" in said
    assert (one / "out" / "weights" / "model.safetensors").stat().st_size <= 16 << 20
    assert all(part.stat().st_size <= 16 << 20 for part in (one / "out").glob("checkpoint.*"))
    assert len([path for path in (one / "out").rglob("*") if path.is_file()]) <= 8

    go_on = ("slice", "--work", two / "work", "--out", two / "out", "--minutes", 0.3, *training)
    session(*go_on, "--from", one / "out")
    steps = [
        torch.load(place / "work" / "run" / "checkpoint.pt", weights_only=True)["step"]
        for place in (one, two)
    ]
    assert 0 < steps[0] < steps[1]


def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path):
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import gpu_session
    finally:
        sys.path.pop(0)
    whole = tmp_path / "checkpoint.pt"
    whole.write_bytes(os.urandom(gpu_session.PART_BYTES + 5))
    assert gpu_session.split(whole, tmp_path / "parts") == 2
    gpu_session.join(tmp_path / "parts", tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == whole.read_bytes()
    (tmp_path / "parts" / "checkpoint.01").unlink()
    with pytest.raises(SystemExit, match=r"checkpoint\.01"):
        gpu_session.join(tmp_path / "parts", tmp_path / "run")
