"""The benchmark gives figures; how good they are is for an idle machine to say."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from damgan_cli import Inpainter
from damgan_cli.inpainting import bench
from damgan_cli.inpainting.bench import limit
from damgan_cli.model.generator import ToImage
from damgan_cli.photos.read import read_rgb
from damgan_cli.runtime import speed
from tests.inpainting.tiny import save_tiny_weights

FAST = ("--device", "cpu", "--seconds", "0.05", "--batch-size", "2")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "compare", lambda *_: {"float32": 2.0, "bfloat16": 1.0, "int8": 1.0})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return save_tiny_weights(tmp_path / "tiny")


def test_rates_of_generator_and_folder_as_json(damgan, tiny):
    ran = damgan(
        "bench", "--weights", tiny, *FAST, "--size", 64, "--size", 200, "--dtype", "float32",
        "--dtype", "auto", "--layers", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert [(row["dtype"], row["size"]) for row in report["rows"]] == [
        ("float32", 64), ("float32", 200), ("bfloat16", 64), ("bfloat16", 200)
    ]  # fmt: skip
    for row in report["rows"]:
        assert min(row["bare"], row["folder"], row["without_generator"]) > 0
        assert row["ratio"] == row["folder"] / row["bare"]
        assert "of the work" in row["limit"]
    assert report["number_types"]["training"] == {"float32": 2.0, "bfloat16": 1.0, "int8": 1.0}
    assert {(row["stage"], row["level"]) for row in report["layers"]} == {  # the coarse stage at 1 and 1/2
        (stage, level) for stage in ("coarse_stage", "dam_stage") for level in range(4)
    }
    assert all(row["megaflop"] > 0 and row["milliseconds"] > 0 for row in report["layers"])


def test_all_convolutions_are_counted(tiny, monkeypatch):
    monkeypatch.setattr(ToImage, "forward", nn.Conv2d.forward)  # not with the zeros that it fills up with
    monkeypatch.setattr("damgan_cli.model.conv._at_once", lambda *_: False)  # which the counter does not know
    inpainter = Inpainter(tiny, device="cpu", dtype="float32", batch_size=1)
    rows = bench.layers(inpainter, side=64, rounds=1)
    with FlopCounterMode(display=False) as counter:
        inpainter.generate(torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64))
    assert sum(row["megaflop"] for row in rows) == pytest.approx(counter.get_total_flops() / 1e6)


def test_a_table_for_people(damgan, tiny):
    ran = damgan("bench", "--weights", tiny, *FAST, "--size", 64, "--bare")
    assert ran.code == 0, ran.err
    assert "one image of 256 px, inference: float32 2000.0 ms, bfloat16 1000.0 ms, int8 1000.0 ms" in ran.out
    assert "limited by" in ran.out
    assert ran.out.splitlines()[-1].split()[0] == "64"


def test_folders_are_written_in_the_format_asked_for(damgan, tiny, monkeypatch):
    written = []
    real = bench.fill_photos

    def fill_photos(jobs, *given):
        yield from real(jobs, *given)
        written.extend(job.output.read_bytes()[:2] for job in jobs)

    monkeypatch.setattr(bench, "fill_photos", fill_photos)
    ran = damgan("bench", "--weights", tiny, *FAST, "--size", 64, "--to", "jpg", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["output"] == "jpg"
    assert set(written) == {b"\xff\xd8"}  # JPEG
    assert "is no known image format" in damgan("bench", "--weights", tiny, "--to", "docx").err


def test_what_is_unknown_is_said_before_anything_is_measured(damgan, tiny):
    assert "no number type 'int4'" in damgan("bench", "--weights", tiny, "--dtype", "int4").err
    assert "no kind of device" in damgan("bench", "--weights", tiny, "--device", "tpu").err


def test_the_limit_is_the_slower_part():
    assert limit(bare=10, all_else=90) == "the generator (90% of the work)"
    assert limit(bare=90, all_else=10).startswith("reading, reducing, enlarging and writing photos (90%")


def test_photos_of_ones_own(damgan, tiny, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for name, size, value in (("small", (90, 60), 10), ("wide", (200, 100), 20), ("tall", (80, 300), 30)):
        photos.mkdir(exist_ok=True)
        Image.new("RGB", size, (value, 0, 0)).save(photos / f"{name}.png")
    filled = []
    real = bench.fill_photos

    def fill_photos(jobs, *given):
        filled.extend(read_rgb(job.photo) for job in jobs)
        yield from real(jobs, *given)

    monkeypatch.setattr(bench, "fill_photos", fill_photos)
    ran = damgan("bench", "--weights", tiny, *FAST, "--size", 64, "--photos", photos, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["photos"] == str(photos)
    assert {photo.shape for photo in filled} == {(64, 64, 3)}
    assert {round(photo[..., 0].mean(), -1) for photo in filled} == {20, 30}  # red; not the small one


def test_photos_that_are_all_too_small_are_told_before_anything_is_measured(damgan, tiny, tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "photo.png")
    ran = damgan("bench", "--weights", tiny, *FAST, "--size", 64, "--size", 128, "--photos", tmp_path)
    assert ran.code == 2
    assert f"No photo below {tmp_path} has 128 px in both directions" in ran.err
    assert not ran.out
