"""examples/gpu_session.py and gpu_train.py as they would go with a GPU, on the CPU with tiny budgets."""

from __future__ import annotations

import os
import shutil
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


@pytest.fixture
def session(packs, tmp_path):
    """A call on the machine, given some of the packs under the names they are carried by: what it says."""
    places = ("--work", tmp_path / "work", "--out", tmp_path / "home", "--wheels", tmp_path / "none")
    carried = tmp_path / "carried"
    carried.mkdir()

    def call(verb, *options, carry=(), code=0):
        for name in carry:
            shutil.copy(packs / name.replace("001", "000"), carried / name)  # there is but one
        begun = start("gpu_session.py", verb, *places, "--packs", carried, *options)
        said, _ = begun.communicate(timeout=120)  # to the end of its output: the training's is elsewhere
        assert begun.returncode == code, said
        return said

    return call


def test_photos_arrive_while_it_trains_and_what_is_taken_home_goes_on(session, tmp_path, tiny_weights):
    """Batches of the first pack, then of both; D and weights start the next training."""
    start_of_it = load_weights(tiny_weights).generator
    small = settings(size=SIZE, discriminator="patch", generator=None)  # of the weights
    training = ("--device", "cpu", "--pixels", 200_000, "--graphs", 3, *small)
    first = ["masks.npz", "photos-000.tar"]
    refined = ("--set", "refined_share=0.5")
    session("train", "--init", tiny_weights, "--minutes", 0.2, *training, *refined, carry=first)
    time.sleep(6)
    (tmp_path / "carried" / "damaged.tar").write_bytes(b"no tar")
    session("bring", carry=["photos-001.tar"])
    session("bring", "--wait", 100)
    said = (tmp_path / "home" / "train.log").read_text()
    assert "photos-000.tar: 30 photos" in said
    assert "damaged.tar is left out: ReadError" in said
    assert "photos-001.tar: 60 photos" in said
    assert "those of the whole training" in said

    home = tmp_path / "home"
    assert {path.name for path in home.iterdir()} == {
        "weights", "D.pt", "sheet.png", "stats.jsonl", "train.log",
    }  # fmt: skip
    before, *_, after = stats(home)
    assert before["images"] == 0 < after["images"]
    assert after["learning_rate"] < 1e-4
    trained = load_weights(home / "weights")
    assert trained.info["training"]["refined_share"] == 0.5
    assert trained.info["images_seen"] == after["images"]
    assert trained.generator.config == start_of_it.config
    learned = trained.generator.state_dict()
    assert any(not torch.equal(value, learned[name]) for name, value in start_of_it.state_dict().items())

    judge = torch.load(home / "D.pt", weights_only=True)
    went_on = ("--init", home / "weights", "--discriminator", home / "D.pt", "--minutes", 0.001)
    session("train", *went_on, *training)
    session("bring", "--wait", 100)
    assert "those of the whole training" in (home / "train.log").read_text()
    assert load_weights(home / "weights").info["training"]["refined_share"] == 0.5  # as it had learned
    later = torch.load(home / "D.pt", weights_only=True)
    names = [name for name in judge if name.endswith("original")]
    assert len(names) == 5
    assert all(torch.allclose(judge[name], later[name], atol=2e-3) for name in names)  # a step or two later


def test_a_training_that_cannot_start_is_told_and_not_waited_for(session):
    begun = time.monotonic()
    said = session("train", "--init", "nothing-of-this-name", carry=["masks.npz", "photos-000.tar"])
    assert "nothing-of-this-name" in said
    session("bring", "--wait", 100)
    assert time.monotonic() - begun < 60


def test_a_new_machine_is_told(session):
    assert "this is a new machine" in session("bring", "--wait", 100, code=1)


def test_what_there_is_lies_ready_while_a_call_waits(session, tmp_path, tiny_weights):
    """It may be stopped before its time, and what lies there still goes home."""
    small = settings(size=SIZE, discriminator="patch", generator=None)
    training = ("--device", "cpu", "--pixels", 200_000, "--graphs", 0, *small)
    session(
        "train", "--init", tiny_weights, "--minutes", 0.15, *training, carry=["masks.npz", "photos-000.tar"]
    )
    places = ("--work", tmp_path / "work", "--out", tmp_path / "home")
    waiting = start("gpu_session.py", "bring", *places, "--wait", 100)
    while not (tmp_path / "home" / "weights" / "model.safetensors").exists():
        assert waiting.poll() is None
        time.sleep(0.1)
    assert not (tmp_path / "work" / "ended").exists()
    time.sleep(1)  # what has begun to be copied is whole
    unfinished = load_weights(tmp_path / "home" / "weights").info
    assert unfinished["training"]["size"] == SIZE
    assert "images_seen" not in unfinished
    waiting.kill()
    waiting.communicate()
    assert (tmp_path / "home" / "train.log").exists()
    session("bring", "--wait", 100)


def test_what_fails_or_takes_too_long_in_a_check_does_not_keep_the_rest(session, tmp_path):
    """The time is up in the first, the bench of a size that takes long."""
    said = session("check", "--device", "cpu", "--sizes", 1024, "--seconds", 3)
    assert said.count("stopped after") == 4
    assert {path.name for path in (tmp_path / "home").iterdir()} == {
        "bare.txt", "batches-of-256.txt", "tests.txt", "folders.txt",
    }  # fmt: skip


def test_a_failing_test_does_not_end_a_check(session, tmp_path):
    """There is no such device, so all four end with an error at once."""
    session("check", "--device", "cuda:99", "--sizes", 128, "--seconds", 200)
    assert len(list((tmp_path / "home").iterdir())) == 4
    assert "cuda:99" in (tmp_path / "home" / "folders.txt").read_text()


def test_an_unknown_option_is_not_passed_over(session, tmp_path):
    begun = start("gpu_session.py", "bring", "--wiat", 100, "--work", tmp_path, "--out", tmp_path)
    said, _ = begun.communicate(timeout=120)
    assert begun.returncode == 2
    assert "--wiat" in said
