"""Outputs of an earlier run: made with which settings, and in a folder of whose photos."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from damgan_cli.errors import ImageFileError
from damgan_cli.inpainting.record import RECORD, Record
from tests.cli.inpaint_files import HOLE, files, one_error, stop_after_one
from tests.files import pixels, save
from tests.photos.photo_kinds import noise

FOLDERS = ("photos", "--mask", "masks", "-o", "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--dilate", "6"), "--dilate 0, now 6"),
        (("--fit", "smooth"), "--fit auto, now smooth"),
        (("--invert-mask",), "--invert-mask off, now on"),
        (("--quality", "80"), "--quality not given, now 80"),
        (("--resize-mask",), "--resize-mask off, now on"),
        (("--weights", "scenes"), "now scenes"),
    ],
)
def test_changed_options_are_refused_for_outputs_that_exist(inpaint, tree, change, words):
    assert inpaint(*FOLDERS).code == 0
    before = pixels("out/a.png")
    for extra in ((), ("--dry-run",)):
        result = inpaint(*FOLDERS, *change, *extra)
        one_error(result, "3 of the outputs that exist were made with other settings", words, "--overwrite")
    assert np.array_equal(pixels("out/a.png"), before)
    assert "3 skipped" in inpaint(*FOLDERS).err


def test_overwriting_makes_them_anew_and_is_remembered(inpaint, tree):
    assert inpaint(*FOLDERS).code == 0
    assert inpaint(*FOLDERS, "--dilate", 6, "--overwrite").code == 0
    assert "3 skipped" in inpaint(*FOLDERS, "--dilate", 6).err
    one_error(inpaint(*FOLDERS), "--dilate 6, now 0")


def test_another_mask_or_other_weights_of_the_same_name(inpaint, photo, mask, tiny_weights, tmp_path):
    shutil.copytree(tiny_weights, "mine")
    arguments = ("photo.png", "--mask", "mask.png", "--weights", "mine")
    assert inpaint(*arguments).code == 0
    assert "1 skipped" in inpaint(*arguments).err
    config = json.loads(Path("mine/config.json").read_text())
    Path("mine/config.json").write_text(json.dumps({**config, "sha256": "0" * 64}))
    one_error(inpaint(*arguments), "--weights mine", "now mine 000000000000")
    Path("mine/config.json").write_text(json.dumps(config))
    save("mask.png", np.roll(HOLE, 3))
    one_error(inpaint(*arguments), "--mask mask.png")


def test_single_photos_of_one_folder_may_have_settings_of_their_own(inpaint, tree):
    assert inpaint("photos/a.png", "--mask", "masks/a.bmp", "-o", "out/").code == 0
    save("photos/b.png", noise())
    assert inpaint("photos/b.png", "--mask", "masks/a.bmp", "-o", "out/", "--dilate", 3).code == 0
    one_error(inpaint("photos/b.png", "--mask", "masks/a.bmp", "-o", "out/"), "--dilate 3, now 0")
    assert "1 skipped" in inpaint("photos/a.png", "--mask", "masks/a.bmp", "-o", "out/").err


def test_outputs_of_before_there_were_records_are_skipped(inpaint, tree):
    assert inpaint(*FOLDERS).code == 0
    for path in Path("out").rglob(RECORD):
        path.unlink()
    assert "3 skipped" in inpaint(*FOLDERS, "--dilate", 9).err


def test_an_overwriting_run_that_was_stopped_leaves_no_doubt(inpaint, tree, monkeypatch):
    assert inpaint(*FOLDERS).code == 0
    stop_after_one(monkeypatch)
    assert inpaint(*FOLDERS, "--dilate", 6, "--overwrite", "--batch-size", 1).code == 130
    monkeypatch.undo()
    os.chdir(tree)
    one_error(inpaint(*FOLDERS, "--dilate", 6), "a run that was to replace them was stopped")
    assert inpaint(*FOLDERS, "--dilate", 6, "--overwrite").code == 0


def test_the_record_grows_only_by_news_and_survives_damage(inpaint, tree):
    assert inpaint(*FOLDERS).code == 0
    record = Path("out", RECORD)
    before = record.read_bytes()
    Path("out/a.png").unlink()
    assert inpaint(*FOLDERS).code == 0
    assert inpaint(*FOLDERS, "--overwrite").code == 0
    assert record.read_bytes() == before
    record.write_bytes(before[:-10] + b"\xff[]{")
    assert inpaint(*FOLDERS).code == 0
    assert inpaint(*FOLDERS, "--dilate", 2, "--overwrite").code == 0
    one_error(inpaint(*FOLDERS), "--dilate 2, now 0")


def test_a_record_that_cannot_be_written(tmp_path):
    (tmp_path / RECORD).mkdir()
    with pytest.raises(ImageFileError, match="records what made"):
        Record().begin([tmp_path / "x.png"], {"dilate": 1})


def test_results_are_reported_though_the_record_cannot_be_closed(inpaint, tree, monkeypatch):
    def full(*_):
        raise ImageFileError("Cannot write out/.damgan.jsonl (No space left on device).")

    assert inpaint(*FOLDERS).code == 0
    monkeypatch.setattr(Record, "end", full)
    result = inpaint(*FOLDERS, "--dilate", 6, "--overwrite", "--json")
    assert result.code == 0
    assert "No space left" in result.err
    assert json.loads(result.out)["counts"]["filled"] == 3


# ------------------------------------------------------------------------------------------ photos in OUT
def test_a_folder_of_photos_in_input_is_no_place_for_results(inpaint, tree, mask):
    for arguments in (("-o", "photos/sub"), ("-o", "out", "--attention", "photos/sub/deep")):
        for overwrite in ((), ("--overwrite",)):
            result = inpaint("photos", "--mask", "mask.png", *arguments, *overwrite)
            one_error(result, "is a folder of INPUT with photos of its own", "Choose a new folder")
    assert np.array_equal(pixels("photos/sub/b.png"), noise(seed=1))
    assert inpaint("photos", "--mask", "mask.png", "-o", "photos/new").code == 0
    assert "3 skipped" in inpaint("photos", "--mask", "mask.png", "-o", "photos/new").err
    save("photos/new/mine.png", noise())
    one_error(inpaint("photos", "--mask", "mask.png", "-o", "photos/new"), "(1: photos/new/mine.png)")
    assert files("photos/new") == ["a.png", "mine.png", "sub/b.png", "sub/deep/c.png"]
