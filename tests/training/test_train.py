"""``damgan train`` on a few tiny photos: what it writes, resuming to the bit, interrupting, budgets."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._dynamo import lookup_backend

from damgan_cli.perceptual import Lpips
from damgan_cli.training.config import PRESETS
from damgan_cli.weights.find import load_weights
from tests.evaluation.random_lpips import random_weights
from tests.training.small import TINY, settings, stats


def test_run_leaves_weights_that_inpaint_takes(damgan, photos, tmp_path):
    out = tmp_path / "run"
    result = damgan("train", photos, "-o", out, "--images", 24, *settings())
    assert result.code == 0, result.err
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if " images " in line]
    assert len(lines) == 7
    assert "0 images  before any step  |  center " in lines[0]
    assert "/s" in lines[1]
    assert "dam" in lines[1]
    assert [tick["images"] for tick in stats(out)] == [0, 4, 8, 12, 16, 20, 24]
    first, last = stats(out)[0]["val_center_psnr"], stats(out)[-1]["val_center_psnr"]
    change = result.err.splitlines()[-2]
    assert f"since the start: center {last - first:+.2f} dB ({first:.2f} to {last:.2f}), SSIM" in change
    assert {
        "loss_re",
        "loss_dam",
        "loss_adv",
        "loss_d",
        "images_per_second",
        "val_center_psnr",
        "val_irregular_ssim",
    } <= set(stats(out)[-1])
    assert list((out / "tensorboard").iterdir())
    sheet = cv2.imread(str(out / "sheets" / "000000024.png"))
    assert sheet.shape == (2 + 6 * 34, 2 + 8 * 34, 3)  # three photos under two masks; eight columns
    config = json.loads((out / "weights" / "config.json").read_text())
    assert config["images_seen"] == 24
    assert config["preset"] == "best"
    assert 'library_name: "damgan"' in (out / "weights" / "README.md").read_text()
    filled = tmp_path / "filled.png"
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), np.pad(np.full((8, 8), 255, np.uint8), ((8, 16), (8, 24))))
    result = damgan("inpaint", photos / "00.png", "--mask", mask, "-o", filled, "--weights", out / "weights")
    assert result.code == 0, result.err
    assert filled.is_file()


def test_training_lowers_the_loss(damgan, photos, tmp_path):
    out = tmp_path / "run"
    damgan("train", photos, "-o", out, "--images", 400, *settings(tick_images=40, learning_rate=3e-3), "-q")
    ticks = stats(out)
    assert ticks[-1]["loss_re"] < 0.6 * ticks[1]["loss_re"]
    assert ticks[-1]["val_center_psnr"] > ticks[0]["val_center_psnr"] + 2


def test_a_compiled_training_learns_the_same(damgan, photos, tmp_path, monkeypatch):
    """Traced as for a compiler, without waiting for one: that is for the tests on a GPU."""
    given = ["train", photos, "--images", 16, *settings(lambda_ssim=1), "-q"]
    damgan(*given, "-o", tmp_path / "plain")
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    result = damgan(*given, "-o", tmp_path / "compiled", "--compile")
    assert result.code == 0, result.err
    assert len(traced) == 1  # generator and losses as a whole, once for all steps
    for plain, compiled in zip(stats(tmp_path / "plain"), stats(tmp_path / "compiled"), strict=True):
        for name in plain.keys() - {"seconds", "images_per_second"}:
            assert compiled[name] == pytest.approx(plain[name], rel=1e-3), name


def test_without_a_compiler_compile_says_so(damgan, photos, tmp_path, monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    out = tmp_path / "run"
    result = damgan("train", photos, "-o", out, "--images", 16, *settings(), "--compile")
    assert result.code == 2
    assert "torch.compile does not work here" in result.err
    assert "no compiler found" in result.err
    assert "Train without --compile." in result.err


def test_minutes_end_the_schedule(damgan, photos, tmp_path, monkeypatch):
    """By a clock that goes on by 0.05 s each time it is asked."""
    clock = SimpleNamespace(perf_counter=itertools.count(step=0.05).__next__)
    monkeypatch.setattr("damgan_cli.training.run.time", clock)
    out = tmp_path / "run"
    result = damgan("train", photos, "-o", out, "--minutes", 0.02, *settings(warmup_images=0), "-q")
    assert result.code == 0, result.err
    last = stats(out)[-1]
    assert last["seconds"] == pytest.approx(1.2, abs=0.06)
    assert last["learning_rate"] < 0.5 * 4e-4  # the cosine has come down
    assert (out / "weights" / "model.safetensors").is_file()


def test_tensorboard_is_optional(damgan, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    result = damgan("train", photos, "-o", tmp_path / "run", "--images", 2, *settings())
    assert result.code == 0, result.err
    assert "damgan[train]" in result.err
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_init_starts_from_weights(damgan, photos, tmp_path):
    damgan("train", photos, "-o", tmp_path / "first", "--images", 8, *settings(), "-q")
    damgan(
        *(
            "train",
            photos,
            "-o",
            tmp_path / "second",
            "--images",
            2,
            "--init",
            tmp_path / "first" / "weights",
            "-q",
        ),
        *settings(learning_rate=1e-9),
    )
    first, second = (
        load_file(tmp_path / run / "weights" / "model.safetensors") for run in ("first", "second")
    )
    for name, tensor in first.items():
        assert torch.allclose(tensor.float(), second[name].float(), atol=1e-3), name


def test_init_widens(damgan, photos, tmp_path):
    damgan("train", photos, "-o", tmp_path / "first", "--images", 8, *settings(), "-q")
    wide = {**TINY["generator"], "dam_channels": [8, 4, 4, 4]}
    init = ["--init", tmp_path / "first" / "weights"]
    result = damgan("train", photos, "-o", tmp_path / "wide", "--images", 8, *init, *settings(generator=wide))
    assert result.code == 0, result.err
    assert (
        stats(tmp_path / "wide")[-1]["val_center_psnr"] > stats(tmp_path / "first")[-1]["val_center_psnr"] - 1
    )
    free = settings()[:-2]  # without the generator's: as the weights are, and as the training began
    for more in (["--images", 8, *init], ["--images", 16, "--resume"]):
        result = damgan("train", photos, "-o", tmp_path / "as it is", *more, *free)
        assert result.code == 0, result.err
    written = json.loads((tmp_path / "as it is" / "weights" / "config.json").read_text())
    assert written["generator"]["dam_channels"] == TINY["generator"]["dam_channels"]
    partly = damgan(
        "train", photos, "-o", tmp_path / "partly", "--images", 8, *init, *free,
        "--set", 'generator={"dam_channels": [8, 4, 4, 4]}',
    )  # fmt: skip
    assert partly.code == 0, partly.err
    written = json.loads((tmp_path / "partly" / "weights" / "config.json").read_text())
    assert written["generator"] == {**written["generator"], **wide}  # all else as of the weights
    narrow = {**TINY["generator"], "dam_channels": [2, 4, 4, 4]}
    refused = damgan(
        "train", photos, "-o", tmp_path / "no", "--images", 8, *init, *settings(generator=narrow)
    )
    assert (refused.code, "widths" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"gan_loss": "hinge", "discriminator": "patch", "feature_matching": 1},
        {"r1_gamma": 1},
        {"lambda_ssim": 0.5},
        {"size": 64, "perceptual": "lpips_alex", "lambda_perceptual": 1},
        {
            "size": 64,
            "perceptual": "lpips_alex",
            "lambda_perceptual": 1,
            "gan_loss": "hinge",
            "discriminator": "projected",
            "lambda_adv": 0.5,
        },
        {"hole_weight": 1, "deep_weight": 0.2, "size": 64},
        {"refined_share": 0.5},
        {"light_share": 0.5, "batch_size": 4},
    ],
    ids="-".join,
)
def test_further_losses_take_part(damgan, photos, tmp_path, changes):
    """Each is told, finite, and changes what comes out."""
    save_file(random_weights("alex"), tmp_path / "lpips-alex.safetensors")
    command = ["--images", 16, "--preset", "paper", "--perceptual-weights", tmp_path, "-q"]
    plain = {name: value for name, value in changes.items() if name in ("size", "batch_size")}
    for name, extra in (("without", plain), ("with", changes)):
        result = damgan("train", photos, "-o", tmp_path / name, *command, *settings(**extra))
        assert result.code == 0, result.err
    last = stats(tmp_path / "with")[-1]
    told = {"feature_matching": "loss_fm", "lambda_ssim": "loss_ssim", "perceptual": "loss_lpips"}
    for name in changes.keys() & told.keys():
        assert 0 < last[told[name]] < 10
    without, changed = (
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("without", "with")
    )
    network = "D" if "r1_gamma" in changes else "G"
    assert any(not torch.equal(a, changed[network][name]) for name, a in without[network].items())


def test_alexnet_looks_at_each_picture_of_a_step_once(damgan, photos, tmp_path, monkeypatch):
    """A projected discriminator sees in its own turn what G learned from."""
    save_file(random_weights("alex"), tmp_path / "lpips-alex.safetensors")
    seen, look = [], Lpips.features
    monkeypatch.setattr(
        Lpips, "features", lambda self, image, taps: seen.append(len(image)) or look(self, image, taps)
    )
    projected = {
        "size": 64,
        "batch_size": 2,
        "perceptual": "lpips_alex",
        "lambda_perceptual": 1,
        "discriminator": "projected",
        "lambda_adv": 0.5,
    }
    command = ["--images", 6, "--preset", "paper", "--perceptual-weights", tmp_path, "-q"]
    result = damgan("train", photos, "-o", tmp_path / "run", *command, *settings(**projected))
    assert result.code == 0, result.err
    assert seen == [2, 2] * 3


def test_small_and_large_photos_are_cropped_to_size(damgan, photos, tmp_path):
    cv2.imwrite(str(photos / "small.png"), np.zeros((10, 20, 3), np.uint8))
    cv2.imwrite(str(photos / "large.png"), np.zeros((200, 300, 3), np.uint8))
    (photos / "broken.png").write_bytes(b"not a picture")
    result = damgan("train", photos, "-o", tmp_path / "run", "--images", 2, *settings(crop_scale=2))
    assert result.code == 0, result.err
    assert "left out" in result.err
    assert "broken.png" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", 8, "--preset", "nonsense"], "no preset 'nonsense'"),
        ([], "--images or --minutes"),
        (["--images", 8, "--set", "nonsense=1"], "Unknown training setting"),
        (["--images", 8, "--set", "batch_size=many"], "batch_size"),
        (["--images", 8, "--set", "batch_size=0"], "batch_size"),
        (["--images", 8, "--set", "batch_size=2.5"], "whole number"),
        (["--images", 8, "--set", "lambda_adv=-1"], "negative"),
        (["--images", 8, "--set", 'masks={"stars": 1}'], "masks"),
        (["--images", 8, "--set", "betas=0.5"], "betas"),
        (["--images", 8, "--set", "perceptual=lpips_alex"], "size of 64"),
        (["--images", 8, "--set", "size=64", "--set", "perceptual=lpips_alex"], "lambda_perceptual"),
        (["--images", 8, "--set", 'generator={"dam_channels": [1]}'], "dam_channels"),
        (["--images", 8, "--device", "cuda:9"], "cuda:9"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(damgan, photos, tmp_path, arguments, message):
    result = damgan("train", photos, "-o", tmp_path / "run", *settings(), *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_single_photo_leaves_none_to_train_on(damgan, photos, tmp_path):
    one = tmp_path / "one"
    one.mkdir()
    next(path for path in photos.iterdir() if path.name != "broken.png").rename(one / "only.png")
    result = damgan("train", one, "-o", tmp_path / "run", "--images", 8, *settings())
    assert (result.code, "No photo for training" in result.err) == (2, True)


def test_a_short_training_gets_to_its_learning_rate_and_tells(damgan, photos, tmp_path):
    """The warm-up of the preset alone would take 3200 images, and its tick 4000."""
    tiny = {name: value for name, value in TINY.items() if name != "tick_images"}
    changes = [x for k, v in tiny.items() for x in ("--set", f"{k}={json.dumps(v)}")]
    result = damgan("train", photos, "-o", tmp_path / "run", "--images", 200, *changes)
    assert result.code == 0, result.err
    ticks = stats(tmp_path / "run")
    assert [tick["images"] for tick in ticks] == [*range(0, 201, 20)]
    assert ticks[2]["learning_rate"] == pytest.approx(2.5e-4)


def test_photos_without_anything_to_fill_score_infinitely(damgan, photos, tmp_path, monkeypatch):
    """Validation results that equal the truth have no finite PSNR."""
    monkeypatch.setattr(
        "damgan_cli.training.validation.score", lambda *_: {"psnr": float("inf"), "ssim": 1.0}
    )
    result = damgan("train", photos, "-o", tmp_path / "run", "--images", 2, *settings())
    assert result.code == 0, result.err
    assert "center inf dB 1.000" in result.err
    assert load_weights(tmp_path / "run").info["validation"] == {
        "val_center_ssim": 1.0,
        "val_irregular_ssim": 1.0,
    }


def test_what_can_be_told_at_once_comes_before_torch(photos, tmp_path):
    """A misspelt folder, a missing extra, weights that are not there: no slow import first."""
    script = (
        "import sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Missing(MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'torchvision'): raise AssertionError(name)\n"
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'torchmetrics' else find(name, *a)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from damgan_cli.cli import main\n"
        "for args in eval(sys.argv[1]):\n"
        "    sys.argv = ['damgan', 'train', *args]\n"
        "    try: main()\n"
        "    except SystemExit as end: print(end.code)\n"
    )
    good, run = [str(photos), "-o", str(tmp_path / "run"), "--images", "8"], settings()
    cases = [
        (good, "lpips_alex needs the package torchmetrics"),
        ([*good, *run, "--perceptual-weights", "x", "--set", "size=64", "--set", "perceptual=lpips_alex",
          "--set", "lambda_perceptual=1"], "not in x"),
        (["misspelt", *good[1:], *run], "No folder misspelt"),
        ([*good, *run, "--val", "misspelt"], "No folder misspelt"),
        ([*good, *run, "--init", "misspelt"], "no weights called 'misspelt'"),
        ([*good, *run, "--resume"], "There is no checkpoint"),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script, repr([args for args, _ in cases])],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["2"] * len(cases), done.stderr
    for _, message in cases:
        assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_paper_preset_is_the_paper():
    paper = PRESETS["paper"]
    assert (paper.lambda_re, paper.lambda_adv, paper.lambda_dam) == (1, 0.001, 0.005)
    assert (paper.size, paper.gan_loss, paper.adversarial_start) == (128, "minimax", 0)
    assert (paper.hole_weight, paper.weight_decay, paper.ema_half_life) == (0, 0, 0)
    assert set(paper.masks) == {"center", "freeform"}
