"""Several photos on the command line, photos through pipes, and masks of another size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import damgan_cli
from damgan_cli.masks.derive import resized
from tests.cli.inpaint_files import HOLE, files, one_error
from tests.files import pixels, save
from tests.photos.photo_kinds import HEIGHT, WIDTH, noise

posix = pytest.mark.skipif(os.name == "nt", reason="pipes of a POSIX shell")


# ------------------------------------------------------------------------------------------ several photos
def test_several_photos_with_one_mask(inpaint, tree, mask):
    result = inpaint("photos/a.png", "photos/sub/b.png", "photos/a.png", "--mask", "mask.png")
    assert result.code == 0, result.err
    assert "2 filled" in result.err
    assert Path("photos/a.inpainted.png").is_file()
    assert np.array_equal(pixels("photos/sub/b.inpainted.png")[~HOLE], noise(seed=1)[~HOLE])
    result = inpaint(*sorted(Path("photos").glob("*.png")), "--mask", "mask.png", "-o", "out")
    assert "1 earlier results" in result.err
    assert files("out") == ["a.png"]
    again = ("photos/a.inpainted.png", "photos/sub/b.inpainted.png")  # named without their originals: meant
    assert inpaint(*again, "--mask", "mask.png").code == 0
    assert Path("photos/a.inpainted.inpainted.png").is_file()


def test_several_photos_with_a_folder_of_masks(inpaint, tree):
    arguments = ("photos/a.png", "photos/sub/b.png", "--mask", "masks", "-o", "out", "--attention", "maps")
    assert inpaint(*arguments).code == 0
    assert files("out") == files("maps") == ["a.png", "sub/b.png"]
    assert inpaint("photos/a.png", "--mask", "masks", "-o", "one.png").code == 0  # photos/*.png may be one
    assert Path("one.png").is_file()
    save("photos/lonely.png", noise())
    save("masks/a.png", HOLE)
    result = inpaint("photos/a.png", "photos/lonely.png", "--mask", "masks", "-o", "out2")
    one_error(result, "photos without masks: lonely (1)", "a.bmp + a.png")
    one_error(inpaint("photos/a.png", "--mask", "photos"), "would be the photo itself")


def test_several_photos_that_cannot_go_together(inpaint, tree, mask):
    mask = ("--mask", "mask.png")
    one_error(inpaint("gone.png", "photos/a.png", "x.png", *mask), "gone.png, x.png (2) do not exist")
    one_error(inpaint("photos", "photos/a.png", *mask), "photos is a folder, and goes alone")
    one_error(
        inpaint("photos/a.png", "photos/sub/b.png", *mask, "-o", "x.png"), "one file x.png", "-o x.png/"
    )
    one_error(inpaint("photos/a.png", "photos/sub/b.png", *mask, "-o", "-"), "Only one result fits on stdout")
    one_error(inpaint("photos/a.png", "-", *mask), "- is a pipe, and goes alone")


def test_one_of_several_that_cannot_be_read_fails_alone(inpaint, tree, mask):
    Path("photos/bad.png").write_bytes(b"no image")
    result = inpaint("photos/a.png", "photos/bad.png", "--mask", "mask.png", "-o", "out", "--json")
    assert result.code == 1
    assert "bad.png is not an image" in result.err
    assert json.loads(result.out)["counts"]["filled"] == 1


# ------------------------------------------------------------------------------------------ other sizes
@pytest.mark.parametrize("places", [("photos",), ("photos/a.png", "photos/sub/b.png", "photos/wide.png")])
def test_a_photo_of_another_size_than_the_one_mask_fails_alone_and_by_name(inpaint, tree, mask, places):
    save("photos/wide.png", np.tile(noise(), (1, 2, 1)))
    result = inpaint(*places, "--mask", "mask.png", "-o", "out", "--json")
    assert result.code == 1
    assert f"wide.png: The mask is {WIDTH}x{HEIGHT}, but its photo {2 * WIDTH}x{HEIGHT}" in result.err
    assert "--resize-mask" in result.err
    assert json.loads(result.out)["counts"]["failed"] == 1
    assert "wide.png" not in files("out")


def test_a_mask_that_fits_no_photo_is_an_error_before_any_work(inpaint, tree):
    save("small.png", HOLE[:9])
    one_error(inpaint("photos", "--mask", "small.png", "-o", "out"), "differ in size", "--resize-mask")
    assert not Path("out").exists()


def test_resize_mask(inpaint, tree):
    save("small.png", HOLE[::2, ::2])
    assert inpaint("photos", "--mask", "small.png", "-o", "out", "--resize-mask").code == 0
    changed = (pixels("out/a.png") != noise(seed=0)).any(-1)
    hole = resized(HOLE[::2, ::2], HEIGHT, WIDTH)
    assert not (changed & ~hole).any()
    assert changed[hole].mean() > 0.9
    assert inpaint("photos/a.png", "--mask", "small.png", "-o", "one.png", "--resize-mask").code == 0


def test_a_resized_hole_covers_all_that_was_marked():
    dot = np.zeros((400, 300), bool)
    dot[201, 77] = True
    small = resized(dot, 40, 30)
    assert small.sum() == 1
    assert small[20, 7]
    assert np.array_equal(resized(small, 400, 300), np.kron(small, np.ones((10, 10), bool)))
    assert resized(HOLE, *HOLE.shape) is HOLE


# ------------------------------------------------------------------------------------------ pipes
def shell(line, tiny_weights):
    environment = {**os.environ, "PYTHONPATH": str(Path(damgan_cli.__file__).parents[1])}
    line = line.replace("DAMGAN", f"'{sys.executable}' -m damgan_cli inpaint --weights '{tiny_weights}'")
    ran = subprocess.run(["bash", "-c", line], check=False, capture_output=True, env=environment, timeout=120)
    assert b"Traceback" not in ran.stderr
    return ran


@posix
def test_photo_and_result_through_pipes(photo, mask, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = shell("cat photo.png | DAMGAN - --mask mask.png -o - | cat", tiny_weights)
    assert "1 filled" in ran.stderr.decode()
    after = np.asarray(Image.open(BytesIO(ran.stdout)))
    assert np.array_equal(after[~HOLE], noise()[~HOLE])
    assert not np.array_equal(after[HOLE], noise()[HOLE])
    again = shell("DAMGAN - -q --mask <(cat mask.png) < photo.png", tiny_weights)  # stdout without -o
    assert again.stdout == ran.stdout
    again = shell("DAMGAN <(cat photo.png) --mask - -o x.png --attention maps < mask.png", tiny_weights)
    assert np.array_equal(pixels("x.png"), after)
    assert len(files("maps")) == 1
    assert set(files(".")) == {"mask.png", "maps/" + files("maps")[0], "photo.png", "x.png"}


@posix
def test_a_mask_that_is_made_on_the_way(photo, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = f"'{sys.executable}' -m damgan_cli mask center --like photo.png -o - -q"
    ran = shell(f"{made} | DAMGAN photo.png --mask - -o x.png", tiny_weights)
    assert ran.returncode == 0, ran.stderr
    changed = (pixels("x.png") != noise()).any(-1)
    assert 0.2 < changed.mean() <= 0.25


@posix
def test_pipes_that_hold_no_image(photo, mask, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line, words in {
        "true | DAMGAN - --mask mask.png": "- is empty",
        "echo hello | DAMGAN - --mask mask.png": "- is not an image",
        "head -c 900 photo.png | DAMGAN - --mask mask.png": "truncated or damaged",
        "DAMGAN - --mask mask.png <&-": "stdin is closed",
        "DAMGAN - --mask mask.png < /dev/zero": "a terminal or a device",
        "yes | DAMGAN - --mask mask.png --max-pixels 1000": "bytes came through",
        "DAMGAN - --mask - < photo.png": "cannot both come through one pipe",
        "cat photo.png | DAMGAN - --mask mask.png -o folder/": "has no name",
        "DAMGAN photo.png --mask mask.png -o - --json": "cannot hold both",
    }.items():
        ran = shell(line, tiny_weights)
        assert ran.returncode == 2, line
        assert words in ran.stderr.decode(), line
        assert ran.stderr.count(b"error:") == 1


@posix
def test_pipes_in_folders_are_not_read(inpaint, tree, mask):
    os.mkfifo("photos/pipe.png")
    result = inpaint("photos", "--mask", "mask.png", "-o", "out")
    assert result.code == 1
    assert "pipe.png is a pipe, not an image file" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("paint", "s3://bucket/in.png"),
        ("mask", "center", "-o", "masks", "--preview", "s3://bucket/o"),
        ("eval", "--images=file:///a"),
        ("train", "s3://bucket/photos", "--out", "run"),
        ("weights", "info", "https://huggingface.co/org/repo"),
    ],
)
def test_addresses_are_refused(damgan, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_error(damgan(*arguments), "is an address")
    assert list(tmp_path.iterdir()) == []


def test_stdout_is_no_place_for_a_folder(damgan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("photos/a.png", noise())
    save("mask.png", HOLE)
    for arguments in (
        ("inpaint", "photos", "--mask", "mask.png", "-o", "-"),
        ("mask", "center", "-o", "-", "--count", "2"),
        ("mask", "center", "-o", "-", "--preview", "p.png"),
        ("eval", "mask.png", "mask.png", "--csv", "-"),
        ("eval", "mask.png", "mask.png", "--report", "-"),
        ("export", "scenes", "-o", "-"),
        ("train", "photos", "--out", "-", "--preset", "paper", "--minutes", "1"),
    ):
        one_error(damgan(*arguments))
    assert not Path("-").exists()
