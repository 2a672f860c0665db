"""Training in several processes by torchrun, one of which dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import damgan_cli
from tests.training.small import settings, stats

ROOT = Path(damgan_cli.__file__).parents[1]
LOSSES = {"adversarial_start": 0, "lambda_ssim": 0.5, "discriminator": "patch", "gan_loss": "hinge"}


def train_in_two_processes(photos, run, *arguments):
    """Train with one restart allowed, and kill the second process after two ticks; returns what was said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", "-m", "damgan_cli", "train", photos, "-o", run, *arguments]
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        time.sleep(0.005)
        if has_ticked(run, 3):
            os.kill(child_of_rank(1, process.pid), signal.SIGKILL)
            break
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def has_ticked(run, times):
    """Whether that many ticks are over, so that the first process misses the other at once."""
    figures, checkpoint = run / "stats.jsonl", run / "checkpoint.pt"
    if not checkpoint.exists() or len(figures.read_text().splitlines()) < times:
        return False
    return checkpoint.stat().st_mtime_ns >= figures.stat().st_mtime_ns


def child_of_rank(rank, parent):
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    wanted = f"RANK={rank}".encode()
    return next(
        int(pid) for pid in children if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    )


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_two_processes_train_as_one_with_twice_the_batch_though_one_dies(
    damgan, photos, tmp_path, monkeypatch
):
    """The same images in the same steps: losses, validation and weights agree but for rounding."""
    told = train_in_two_processes(photos, tmp_path / "two", "--images", 32, *settings(**LOSSES, batch_size=2))
    assert told.count("32 images") == 1  # one process speaks
    assert told.count("Another process of this training has died") == 1
    assert told.count("from its checkpoint of") == 1
    alone = damgan("train", photos, "-o", tmp_path / "one", "--images", 32, *settings(**LOSSES, batch_size=4))
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

    # torchrun goes on with one process where two were: 32 images are 16 of its steps
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    arguments = ("--images", 40, *settings(**LOSSES, batch_size=2))
    fewer = damgan("train", photos, "-o", tmp_path / "two", *arguments)
    assert fewer.code == 0, fewer.err
    state = torch.load(tmp_path / "two/checkpoint.pt", weights_only=True)
    assert (state["step"], state["processes"]) == (20, 1)
    assert [tick["images"] for tick in stats(tmp_path / "two")] == [*range(0, 33, 4), 36, 40]
