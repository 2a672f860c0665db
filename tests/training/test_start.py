"""``damgan_cli.training.train``, the Python face of ``damgan train``."""

from __future__ import annotations

import math
import subprocess
import sys
import threading

import numpy as np
import pytest

from damgan_cli import Inpainter
from damgan_cli.errors import TrainingError
from damgan_cli.training import train
from damgan_cli.training.config import PRESETS, going_on, parse_settings
from tests.training.small import TINY, stats


def test_train_returns_weights_that_an_inpainter_takes(photos, tmp_path):
    told, warned = [], []
    (photos / "broken.png").write_bytes(b"not a picture")
    arguments = {"settings": TINY, "images": 8, "say": told.append, "warn": warned.append}
    result = train(photos, tmp_path / "run", **arguments)
    assert (result.finished, result.images) == (True, 8)
    assert len([line for line in told if " images " in line]) == len(stats(tmp_path / "run"))
    assert [line for line in warned if "broken.png" in line] == warned != []
    image = np.zeros((40, 48, 3), np.uint8)
    mask = np.zeros((40, 48), np.uint8)
    mask[8:20, 8:20] = 255
    filled = Inpainter(result.weights)(image, mask)
    assert filled[mask > 0].any()
    assert not filled[mask == 0].any()


def test_several_folders_and_silence(photos, tmp_path, capfd):
    more = tmp_path / "more"
    more.mkdir()
    for path in sorted(photos.iterdir())[:2]:
        path.rename(more / path.name)
    train([photos, str(more)], tmp_path / "run", settings=TINY, images=4)
    assert capfd.readouterr() == ("", "")


def test_a_thread_can_train(photos, tmp_path):
    """Signals cannot be caught there, which must not keep it from training."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(photos, tmp_path / "run", settings=TINY, images=4))
    )
    thread.start()
    thread.join()
    assert results[0].finished


def test_settings_are_checked_by_name_and_kind(photos, tmp_path):
    for settings, message in (
        ({"nonsense": 1}, "Unknown training setting 'nonsense'"),
        ({"batch_size": "many"}, "Bad value for batch_size: many"),
        ({"betas": 0.5}, "Bad value for betas: 0.5"),
        ({"masks": object()}, "Bad value for masks"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"refined_share": 0.9, "batch_size": 4}, "refined_share leaves no other image in a batch"),
        ({"light_share": 0.1}, "light_share is no whole image of a batch"),
        ({"refined_share": math.inf}, "refined_share must be at least 0 and less than 1"),
        ({"light_share": math.nan}, "light_share must be at least 0 and less than 1"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(photos, tmp_path / "run", settings=settings, images=4)
    assert not (tmp_path / "run").exists()


def test_settings_as_text():
    texts = ["crop_scale=photo", "betas=[0.0, 0.99]", "perceptual=", 'masks={"center": 1}']
    assert parse_settings(texts) == {
        "crop_scale": "photo",
        "betas": [0.0, 0.99],
        "perceptual": "",
        "masks": {"center": 1},
    }
    with pytest.raises(TrainingError, match="NAME=VALUE"):
        parse_settings(["batch_size"])


def test_the_face_imports_no_torch():
    script = "import sys, damgan_cli.training; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("way", ["refined_share", "light_share"])
def test_the_ways_of_filling_that_weights_have_learned_go_on_unless_set(photos, tmp_path, way):
    """Without, they would unlearn them, and `damgan inpaint` would no longer fill so."""
    first = train(photos, tmp_path / "first", settings={**TINY, way: 0.5}, images=4)
    plain = {name: value for name, value in TINY.items() if name != "generator"}
    for name, settings, share in (("second", plain, 0.5), ("third", {**plain, way: 0}, 0)):
        result = train(photos, tmp_path / name, settings=settings, images=4, init=first.weights)
        inpainter = Inpainter(result.weights)
        assert inpainter.weights.info["training"][way] == share
        assert inpainter.generator.config.dam_channels == (4, 4, 4, 4)
    resumed = train(photos, tmp_path / "second", settings=plain, images=4, resume=True)
    assert Inpainter(resumed.weights).weights.info["training"][way] == 0.5


def test_shares_that_suit_the_batch_go_on_with_it(photos, tmp_path):
    """Though they are none of whole images with the preset's; smaller batches go without."""
    settings = {**TINY, "batch_size": 10, "light_share": 0.11}
    first = train(photos, tmp_path / "run", settings=settings, images=10)
    assert train(photos, tmp_path / "run", settings=settings, images=10, resume=True).finished
    plain = {**TINY, "batch_size": 2}
    for name, more, share in (
        ("small", {}, 0),
        ("same", {"batch_size": 10}, 0.11),
        ("unset", {"light_share": 0}, 0),
    ):
        result = train(photos, tmp_path / name, settings={**plain, **more}, images=10, init=first.weights)
        assert Inpainter(result.weights).weights.info["training"]["light_share"] == share
    for wrong in (math.nan, math.inf, 1.5):  # of a damaged checkpoint
        with pytest.raises(TrainingError, match="light_share must be"):
            going_on(PRESETS["paper"], {"light_share": wrong}, {})
    with pytest.raises(TrainingError, match="light_share is no whole image"):
        train(photos, tmp_path / "no", settings={**plain, "light_share": 0.1}, images=4, init=first.weights)
