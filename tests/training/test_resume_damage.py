"""``damgan train --resume`` in a run folder that was damaged."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch

from damgan_cli.errors import ImageFileError
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
