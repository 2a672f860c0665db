"""A generator with narrower residual blocks that has learned to do what it did, by examples/slim.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from damgan_cli import Inpainter
from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights
from tests.evaluation.random_lpips import random_weights

WIDE = GeneratorConfig((4, 4, 4), (2,), (32, 16, 16, 32), (1, 2), (1, 2))


@pytest.fixture
def slim(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    monkeypatch.delitem(sys.modules, "slim", raising=False)
    import slim

    monkeypatch.setattr(slim, "BATCH", 2)
    monkeypatch.setattr(slim, "EXAMPLES", 4)
    return slim


@pytest.fixture
def slimming(slim):
    torch.manual_seed(0)
    teacher = Generator(WIDE)
    with torch.no_grad():
        for block in (teacher.dam_stage.encode0.block, *teacher.dam_stage.middle):
            block.conv2.weight *= 5  # which a new generator's are too small for
            block.conv2.weight[:, ::2] *= 0.01  # every second inner channel gives little
    photos = list(np.random.default_rng(0).integers(0, 255, (4, 256, 256, 3)).astype(np.uint8))
    return slim.Slimming(teacher, photos, lambda a, b: (a - b).abs(), 0.5)


def test_the_channels_that_give_most_stay(slimming):
    slimming.narrow()
    assert slimming.student.config.inner_channels == (16, 16, 16, 16)
    for name in ("encode0.block", "middle.0", "middle.1"):
        teacher, student = slimming.blocks[name]
        kept = teacher.conv2.weight[:, 1::2].flatten(2).permute(1, 0, 2).flatten(1)
        found = student.conv2.weight.flatten(2).permute(1, 0, 2).flatten(1)
        assert torch.allclose(found.sum(1).sort()[0], kept.sum(1).sort()[0], atol=1e-6)
    for part in ("coarse_stage.stem.weight", "dam_stage.dam0.fuse.weight", "dam_stage.encode0.conv.bias"):
        assert torch.equal(slimming.student.get_parameter(part), slimming.teacher.get_parameter(part))


def test_blocks_and_the_stage_come_nearer_to_the_teacher(slim, slimming, monkeypatch):
    slimming.narrow()
    _, mask, whole, _ = slimming.batch()

    def off(student):
        with torch.no_grad():
            fills = [stage(whole, mask)[0] for stage in (slimming.teacher.dam_stage, student.dam_stage)]
        return float((fills[0] - fills[1]).abs().mean())

    pruned = off(slimming.student)
    monkeypatch.setattr(slim, "BLOCK_STEPS", 10)
    slimming.teach_blocks()
    by_blocks = off(slimming.student)
    before = {name: each.clone() for name, each in slimming.student.coarse_stage.named_parameters()}
    average = slimming.teach(24)
    assert off(average) < by_blocks < pruned
    assert all(torch.equal(before[name], each) for name, each in average.coarse_stage.named_parameters())


def test_from_weights_to_weights_that_fill(slim, monkeypatch, tmp_path):
    monkeypatch.setattr(slim, "BLOCK_STEPS", 1)
    info = {"name": "wide", "training": {"light_share": 0.5}, "fit": "smooth"}
    save_weights(tmp_path / "wide", Generator(WIDE), info, "wide")
    save_file(random_weights("alex"), tmp_path / "lpips-alex.safetensors")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (260, 300, 3)).astype(np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    paths = [str(tmp_path / name) for name in ("wide", "photos", "", "slim")]
    slim.main(*paths, "2")
    info = load_weights(tmp_path / "slim").info
    assert info["generator"]["dam_inner_channels"] == [16, 16, 16, 16]
    assert (info["name"], info["init"], info["fit"]) == ("slim", "wide", "smooth")
    assert "middle.0.conv1" in str(info["int8"])
    filled = Inpainter(tmp_path / "slim", device="cpu", dtype="float32")(pixels, np.eye(260, 300) > 0)
    assert (filled != pixels).any()
