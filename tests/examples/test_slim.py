"""A generator with narrower residual blocks that do what they did, by examples/slim.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from damgan_cli import Inpainter
from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.runtime import speed
from damgan_cli.training.config import PRESETS
from damgan_cli.training.data import Batches
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights

WIDE = GeneratorConfig((4, 4, 4), (2,), (4, 4, 8, 16), (1, 2), (1, 2))


@pytest.fixture
def slim(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    monkeypatch.delitem(sys.modules, "slim", raising=False)
    import slim

    monkeypatch.setattr(slim, "BATCH", 2)
    monkeypatch.setattr(slim, "EXAMPLES", 4)
    return slim


@pytest.fixture
def watch(slim):
    torch.manual_seed(0)
    old = Generator(WIDE)
    with torch.no_grad():
        for block in slim.deepest_blocks(old).values():
            block.conv2.weight *= 5  # a new generator's blocks do little
            block.conv1.bias.uniform_(-0.1, 0.1)
            block.conv2.weight[:, ::2] = 0  # nothing comes of every second inner channel: it is not read,
            block.conv2.weight[:, ::4] = 1  # or there is nothing in it
            block.conv1.weight[::4] = block.conv1.bias[::4] = 0
    photos = list(np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3)).astype(np.uint8))
    config = PRESETS["best"].with_settings({"size": 64, "batch_size": 2})
    return slim.Watch(old, Batches(photos, config, 0))


def test_the_channels_that_give_most_stay(slim, watch):
    new, old = slim.narrowed(watch, 8), watch.generator
    assert new.config.inner_channels == (4, 4, 8, 8)
    for name, block in slim.deepest_blocks(new).items():
        before = slim.deepest_blocks(old)[name]
        for kept, all_of_them in (
            (block.conv1.weight, before.conv1.weight),
            (block.conv2.weight.transpose(0, 1), before.conv2.weight.transpose(0, 1)),
        ):
            assert torch.allclose(kept.sum((1, 2, 3)).sort()[0], all_of_them[1::2].sum((1, 2, 3)).sort()[0])
    image, mask = watch.batches.tensors(0, torch.device("cpu"))
    with torch.no_grad():
        found, wanted = new(image, mask).result, old(image, mask).result
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    for part in (
        "coarse_stage.stem.weight",
        "dam_stage.dam3.fuse.weight",
        "dam_stage.decode2.block.conv1.bias",
    ):
        assert torch.equal(new.get_parameter(part), old.get_parameter(part))


def test_blocks_learn_what_the_old_ones_do(slim, watch, monkeypatch):
    new = slim.narrowed(watch, 8)
    with torch.no_grad():
        for block in slim.deepest_blocks(new).values():
            block.conv2.weight *= 0.5
    watch.next()
    image, mask = watch.batches.tensors(0, torch.device("cpu"))

    def off():
        with torch.no_grad():
            return float((new(image, mask).result - watch.generator(image, mask).result).abs().mean())

    before = off()
    monkeypatch.setattr(slim, "STEPS", 100)
    monkeypatch.setattr(slim, "RATE", 0.01)
    slim.teach(new, watch)
    assert off() < 0.5 * before
    for name, value in watch.generator.state_dict().items():
        taught = "middle" in name or "decode3.block" in name
        assert taught or torch.equal(value, new.state_dict()[name]), name


@pytest.mark.parametrize(("channels", "left"), [((), 8), (("6",), 6)])
def test_from_weights_to_weights_that_fill(slim, monkeypatch, tmp_path, channels, left):
    monkeypatch.setattr(slim, "STEPS", 1)
    faster = {True: torch.float32}  # not what is fastest for inference: int8, in which nothing can learn
    monkeypatch.setattr(speed, "fastest", lambda *, training: faster[training])
    info = {"name": "wide", "training": {"light_share": 0.5}, "fit": "smooth", "validation": {"psnr": 20.0}}
    save_weights(tmp_path / "wide", Generator(WIDE), info, "wide")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (260, 300, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    slim.main(*(str(tmp_path / name) for name in ("wide", "photos", "slim")), *channels)
    written = load_weights(tmp_path / "slim").info
    assert written["generator"]["dam_inner_channels"] == [4, 4, 8, left]
    assert (written["name"], written["init"], written["fit"]) == ("slim", "wide", "smooth")
    assert "validation" not in written
    filled = Inpainter(tmp_path / "slim", device="cpu", dtype="float32")(pixels, np.eye(260, 300) > 0)
    assert (filled != pixels).any()
