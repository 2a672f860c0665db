"""``damgan train`` interrupted and resumed, also in a run folder that was damaged."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from damgan_cli.errors import ImageFileError
from damgan_cli.training.loop import Trainer
from damgan_cli.training.ticks import drop_later_stats
from tests.training.small import settings, stats

DAMAGE = {
    "a list": lambda state: [state],
    "no step": lambda state: {k: v for k, v in state.items() if k != "step"},
    "no optimizer": lambda state: {k: v for k, v in state.items() if k != "optimizer_G"},
    "an empty optimizer": lambda state: {**state, "optimizer_D": {}},
    "a text for a step": lambda state: {**state, "step": "8"},
    "another network": lambda state: {**state, "G": {"a": torch.zeros(1)}},
    "no generator": lambda state: {**state, "config": {}},
    "no widths": lambda state: {**state, "config": {**state["config"], "generator": [4]}},
    "no random numbers": lambda state: {**state, "random": torch.zeros(3)},
    "no photos": lambda state: {**state, "photos": None},
}


def test_resume_continues_to_the_same_bits(damgan, photos, tmp_path, monkeypatch):
    """Interrupted after one tick and resumed, the checkpoint equals that of a run left alone."""
    command = ["--images", 24, *settings(refined_share=0.5), "-q"]
    assert damgan("train", photos, "-o", tmp_path / "whole", *command).code == 0

    from damgan_cli.training import loop

    step = Trainer.train_step

    def step_then_interrupt(self):
        losses = step(self)
        if self.images == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train_step", step_then_interrupt)
        result = damgan("train", photos, "-o", tmp_path / "parts", *command)
    assert result.code == 130
    assert "saved" in result.err
    assert not (tmp_path / "parts" / "weights").exists()
    assert damgan("train", photos, "-o", tmp_path / "parts", "--resume", *command).code == 0

    whole, parts = (
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts")
    )
    assert_same(whole, parts, but={"seconds"})
    ticks = [*range(0, 25, 4)]
    assert [t["images"] for t in stats(tmp_path / "parts")] == ticks
    assert (tmp_path / "whole/weights/model.safetensors").read_bytes() == (
        tmp_path / "parts/weights/model.safetensors"
    ).read_bytes()


def assert_same(left, right, but=frozenset(), where=""):
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left.keys() - but:
            assert_same(left[key], right[key], where=f"{where}/{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_same(a, b, where=f"{where}/{i}")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    else:
        assert left == right, where


def test_ctrl_c_in_a_real_process(photos, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "damgan_cli", "train", str(photos), "-o", str(out), "--minutes", "10"]
    process = subprocess.Popen([*command, *settings()], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("sheets/*[1-9]*")) and time.monotonic() < deadline:  # beyond the start
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] > 0
    assert not list(out.glob("*.tmp"))


def test_other_settings_or_damage_do_not_resume(damgan, photos, tmp_path):
    out = tmp_path / "run"
    damgan("train", photos, "-o", out, "--images", 8, *settings(), "-q")
    again = damgan("train", photos, "-o", out, "--images", 8, *settings())
    assert (again.code, "already holds a training" in again.err) == (2, True)
    other = damgan("train", photos, "-o", out, "--images", 8, *settings(lambda_dam=1), "--resume")
    assert (other.code, "other config" in other.err) == (2, True)
    (out / "checkpoint.pt").write_bytes((out / "checkpoint.pt").read_bytes()[:1000])
    damaged = damgan("train", photos, "-o", out, "--images", 8, *settings(), "--resume")
    assert (damaged.code, "damaged" in damaged.err) == (2, True)


def test_a_checkpoint_without_settings_that_are_newer_goes_on(damgan, photos, tmp_path):
    out = tmp_path / "run"
    command = ["train", photos, "-o", out, "--images", 8, *settings(), "-q"]
    damgan(*command)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    del state["config"]["light_share"]
    torch.save(state, out / "checkpoint.pt")
    assert damgan(*command, "--resume").code == 0
    state["config"]["newer_still"] = 1
    torch.save(state, out / "checkpoint.pt")
    newer = damgan(*command, "--resume")
    assert (newer.code, "of a training with other config" in newer.err) == (2, True)


def test_a_damaged_checkpoint_is_told(damgan, photos, tmp_path):
    out = tmp_path / "run"
    command = ["train", photos, "-o", out, "--images", 8, *settings()[:-2], "--preset", "paper"]
    damgan(*command, *settings()[-2:], "-q")
    whole = (out / "checkpoint.pt").read_bytes()
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    for name, damage in DAMAGE.items():
        torch.save(damage(state), out / "checkpoint.pt")
        for more in ([], settings()[-2:]):  # widths from the checkpoint, and given
            result = damgan(*command, *more, "--resume")
            told = "is damaged" in result.err or "of a training with other" in result.err
            assert (result.code, told) == (2, True), (name, result.err)
            assert "Traceback" not in result.err
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # in the midst of some tensor
    (out / "checkpoint.pt").write_bytes(flipped)
    result = damgan(*command, "--resume")
    assert (result.code, "is damaged" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (None, []),
        (b"", []),
        (b'{"images": 4, "val_center_psnr": 20.5}\n{"images": 8, "val', [4]),
        (b'\xff\xfe\n[4]\n"text"\n{"images": "4"}\n{}\n{"images": 4, "a": null}\n{"images": 8}', [8]),
        (b"[" * 100_000, []),
    ],
)
def test_damaged_statistics_do_not_keep_from_resuming(damgan, photos, tmp_path, written, kept):
    out = tmp_path / "run"
    command = ["train", photos, "-o", out, *settings()]
    damgan(*command, "--images", 8, "-q")
    (out / "stats.jsonl").unlink()
    if written is not None:
        (out / "stats.jsonl").write_bytes(written)
    for images, after in ((8, []), (20, [10, 12, 14, 16, 18, 20])):
        result = damgan(*command, "--images", images, "--resume")
        assert result.code == 0, result.err
        assert ("could not be read" in result.err) == (images == 8 and bool(written))
        assert [tick["images"] for tick in stats(out)] == kept + after
        info = json.loads((out / "weights" / "config.json").read_text())
        assert info["validation"].keys() >= {"val_center_psnr", "val_irregular_ssim"}


def test_a_full_disk_loses_nothing_of_the_run_folder(damgan, photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    command = ["train", photos, "-o", out, "--images", 8, *settings()]
    damgan(*command, "-q")
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    fdopen = os.fdopen

    def full(*args, **options):
        file = fdopen(*args, **options)
        file.write(b"as much as there was room for")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    result = damgan(*command, "--resume")  # writes config.json
    with pytest.raises(ImageFileError, match="No space left"):
        drop_later_stats(out / "stats.jsonl", 4)
    assert (result.code, "No space left" in result.err) == (2, True)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
