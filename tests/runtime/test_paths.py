"""Names that no file can have, wherever one is asked for: one error and exit code 2, before any work."""

from __future__ import annotations

import pytest

from damgan_cli.errors import ImageFileError
from damgan_cli.runtime.paths import check_file_can_be_written, check_folder_can_be_written, lies_in
from tests.cli.inpaint_files import HOLE, one_error
from tests.files import save
from tests.photos.photo_kinds import noise

LONG = "n" * 300
INPAINT = ("inpaint", "photo.png", "--mask", "mask.png")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("photo.png", noise())
    save("mask.png", HOLE)
    save("photos/photo.png", noise())


@pytest.mark.parametrize("name", [LONG, f"new/{LONG}.png", "x/" * 2500 + "x.png"])
@pytest.mark.parametrize(
    "command",
    [
        ("inpaint", None, "--mask", "mask.png"),
        ("inpaint", "photo.png", "--mask", None),
        (*INPAINT, "-o", None),
        (*INPAINT, "--attention", None),
        (*INPAINT, "--weights", None),
        ("inpaint", "photos", "--mask", "mask.png", "-o", None),
        ("inpaint", "photos", "--mask", None, "-o", "out"),
        ("mask", "center", "-o", None),
        ("mask", "center", "-o", "masks", "--like", None),
        ("mask", "center", "-o", "masks", "--preview", None),
        ("mask", "expand", None, "--dilate", "2", "-o", "masks"),
        ("eval", "photo.png", None),
        ("eval", None, "photo.png"),
        ("eval", "photo.png", "photo.png", "--mask", None),
        ("eval", "photo.png", "photo.png", "--csv", None),
        ("eval", "photo.png", "photo.png", "--report", None),
        ("eval", "--images", None),
        ("eval", "--images", "photos", "--save", None),
        ("eval", "--images", "photos", "--protocol", None),
        ("eval", "--images", "photos", "--mask", None),
        ("eval", "--images", "photos", "--weights", None),
        ("train", None, "--out", "run", "--preset", "paper", "--minutes", "1"),
        ("train", "photos", "--out", None, "--preset", "paper", "--minutes", "1"),
        ("train", "photos", "--out", "run", "--preset", "paper", "--minutes", "1", "--init", None),
        ("export", "scenes", "-o", None),
        ("export", None),
        ("weights", "info", None),
    ],
    ids=lambda command: " ".join(part or "NAME" for part in command),
)
def test_names_that_are_too_long(damgan, command, name):
    one_error(damgan(*(name if part is None else part for part in command)))


def test_a_result_whose_name_gets_too_long_is_found_before_any_work(damgan):
    save("n" * 245 + ".png", noise())
    result = damgan("inpaint", "n" * 245 + ".png", "--mask", "mask.png", "--weights", "not-even-looked-at")
    one_error(result, "File name too long")


def test_where_files_can_be_written(tmp_path):
    check_file_can_be_written(tmp_path / "new" / "x.png")
    check_folder_can_be_written(tmp_path / "new" / "folder")
    for path, words in (
        (tmp_path / "photo.png" / "x.png", "is a file, not a folder"),
        (tmp_path / "photos", "it is a folder"),
        (tmp_path / "new" / LONG, "too long"),
        (tmp_path / "nul\0byte", "null"),
    ):
        with pytest.raises(ImageFileError, match=words):
            check_file_can_be_written(path)


def test_what_lies_in_a_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    assert lies_in(tmp_path / "link" / "x", tmp_path / "photos")
    assert not lies_in(tmp_path / "photos2", tmp_path / "photos")
    assert not lies_in(tmp_path / "photos", tmp_path / "photos")
