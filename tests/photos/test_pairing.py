"""Strict pairing by relative path without extension."""

from __future__ import annotations

import pytest

from damgan_cli.errors import ImageFileError, PairingError
from damgan_cli.photos.pairing import pair_by_relative_path


@pytest.fixture
def tree(tmp_path):
    def make(root, *names):
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / root).mkdir(exist_ok=True)
        return tmp_path / root

    return make


def test_pairs_across_extensions_and_subfolders(tree):
    photos = tree("photos", "a.jpg", "sub/a.JPG", "sub/b.v2.webp")
    masks = tree("masks", "sub/b.v2.png", "a.png", "sub/a.png", "readme.txt")
    pairs = pair_by_relative_path(photos, masks, "photos", "masks")
    assert [pair.name for pair in pairs] == ["a", "sub/a", "sub/b.v2"]
    assert [pair.right.relative_to(masks).as_posix() for pair in pairs] == [
        "a.png",
        "sub/a.png",
        "sub/b.v2.png",
    ]
    assert pairs[1].left == photos / "sub/a.JPG"


def test_everything_unpaired_is_listed_on_both_sides(tree):
    photos = tree("photos", "a.jpg", "only-photo.jpg", "sub/x.jpg")
    masks = tree("masks", "a.png", "x.png", "only-mask.png")
    with pytest.raises(PairingError) as caught:
        pair_by_relative_path(photos, masks, "photos", "masks")
    assert "photos without masks: only-photo, sub/x (2)" in caught.value.message
    assert "masks without photos: only-mask, x (2)" in caught.value.message


def test_ambiguous_names_are_an_error_on_either_side(tree):
    photos = tree("photos", "a.jpg", "a.png", "b.jpg")
    masks = tree("masks", "a.png", "b.png", "b.bmp")
    with pytest.raises(PairingError) as caught:
        pair_by_relative_path(photos, masks, "photos", "masks")
    assert "photos that differ only in their extension: a.jpg + a.png (1)" in caught.value.message
    assert "masks that differ only in their extension: b.bmp + b.png (1)" in caught.value.message


def test_long_lists_are_cut_with_a_count(tree):
    photos = tree("photos", "a.jpg", *(f"{i:03}.jpg" for i in range(25)))
    masks = tree("masks", "a.png")
    with pytest.raises(PairingError, match=r"000, 001, .* 009 and 15 more"):
        pair_by_relative_path(photos, masks, "photos", "masks")


def test_empty_or_missing_folders(tree, tmp_path):
    photos = tree("photos", "a.jpg")
    with pytest.raises(PairingError, match="there are no masks in"):
        pair_by_relative_path(photos, tree("masks"), "photos", "masks")
    with pytest.raises(ImageFileError, match="does not exist"):
        pair_by_relative_path(photos, tmp_path / "nowhere", "photos", "masks")


def test_excluded_folders_and_files_take_no_part(tree):
    photos = tree("photos", "a.jpg", "masks/a.png", "out/a.jpg", "mask.png")
    exclude = [photos / "masks", photos / "out", photos / "mask.png"]
    pairs = pair_by_relative_path(photos, photos / "masks", "photos", "masks", exclude=exclude)
    assert [(pair.name, pair.left.name) for pair in pairs] == [("a", "a.jpg")]
