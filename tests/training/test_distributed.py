"""Training in several processes by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import damgan_cli
from tests.training.small import settings, stats

ROOT = Path(damgan_cli.__file__).parents[1]


def two_processes(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "damgan_cli", "train", *map(str, arguments)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.skipif(os.name == "nt", reason="torchrun")
def test_two_processes_train_as_one_with_twice_the_batch(damgan, photos, tmp_path):
    """The same images in the same steps: losses, validation and weights agree but for rounding."""
    losses = {"adversarial_start": 0, "lambda_ssim": 0.5, "discriminator": "patch", "gan_loss": "hinge"}
    together = two_processes(
        photos, "-o", tmp_path / "two", "--images", 32, *settings(**losses, batch_size=2)
    )
    assert together.returncode == 0, together.stderr
    assert together.stderr.count("32 images") == 1  # one process speaks
    alone = damgan("train", photos, "-o", tmp_path / "one", "--images", 32, *settings(**losses, batch_size=4))
    assert alone.code == 0, alone.err
    for one, two in zip(stats(tmp_path / "one"), stats(tmp_path / "two"), strict=True):
        assert one["images"] == two["images"]
        told = ("loss_re", "loss_dam", "loss_ssim", "loss_adv", "loss_d") if one["images"] else ()
        for name in (*told, "val_center_psnr"):
            assert two[name] == pytest.approx(one[name], rel=0.02, abs=2e-3), name
    one, two = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("one", "two"))
    assert (one["step"], two["step"], two["processes"]) == (8, 8, 2)
    for name, tensor in one["G"].items():
        assert torch.allclose(tensor, two["G"][name], atol=3e-3), name
