"""Listings cut into slices of pairs."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damgan_cli.collection.listing import Pair, photos_of, slices
from damgan_cli.errors import StoreError


def pairs_of(photos, masks):
    cut = list(slices(photos_of(sorted(photos), "photos"), photos_of(sorted(masks), "masks")))
    assert [part.problem for part in cut if part.problem] == []
    return [pair for part in cut for pair in part.pairs]


names = st.text("ab./-", min_size=1, max_size=6).filter(
    lambda text: "/." not in f"/{text}/" and "//" not in text
)
stems = st.sets(names.filter(lambda text: not text.startswith("/") and not text.endswith(("/", "."))))


@given(stems, st.sampled_from([".png", ".jpg"]), st.sampled_from([".png", ".tif"]))
def test_whatever_pairs_in_folders_pairs_here(paths, kind, mask_kind):
    """Also names with dots, which sort differently with another extension, and folders with dots."""
    photos, masks = [path + kind for path in paths], [path + mask_kind for path in paths]
    expected = {Pair(path + kind, path + mask_kind) for path in paths}
    found = pairs_of(photos, masks)
    assert len(found) == len(expected)
    assert set(found) == expected


def test_what_does_not_pair_is_named_and_stops_its_slice_alone():
    photos = [f"{number:05d}.jpg" for number in range(1000)]
    masks = [f"{number:05d}.png" for number in range(1000) if number != 500]
    cut = list(slices(photos, masks))
    bad = [part for part in cut if part.problem]
    assert len(cut) > 3
    assert len(bad) == 1
    assert "00500.jpg" in bad[0].problem
    assert sum(len(part.pairs) for part in cut) == 1000


@pytest.mark.parametrize(
    ("photos", "masks", "named"),
    [
        (["a.jpg", "a.png"], ["a.png"], "a.jpg + a.png + mask a.png"),
        (["a.jpg"], ["a.bmp", "a.png"], "a.jpg + mask a.bmp + mask a.png"),
        ([], ["a.png"], "mask a.png"),
    ],
)
def test_ambiguous_and_unpaired_names_are_listed(photos, masks, named):
    (only,) = slices(photos, masks)
    assert named in only.problem


def test_a_new_photo_changes_the_slice_it_is_in_and_no_other():
    photos = [f"{number:06d}.jpg" for number in range(5000)]
    before = {part.record for part in slices(photos, None)}
    after = {part.record for part in slices(sorted([*photos, "002500x.jpg"]), None)}
    assert len(before) > 20
    assert len(before - after) == 1
    assert 1 <= len(after - before) <= 2


def test_other_files_and_hidden_ones_are_no_photos():
    listed = sorted([".damgan/a.png", "a.txt", "b/.x/c.png", "b/d.JPG", "e.png"])
    assert list(photos_of(listed, "here")) == ["b/d.JPG", "e.png"]


def test_a_listing_out_of_order_is_refused():
    with pytest.raises(StoreError, match="not listed in order"):
        list(photos_of(["b.png", "a.png"], "there"))


def test_memory_does_not_grow_with_the_listing():
    def peak(count):
        photos = (f"{number:09d}.jpg" for number in range(count))
        masks = (f"{number:09d}.png" for number in range(count))
        tracemalloc.start()
        total = sum(len(part.pairs) for part in slices(photos_of(photos, ""), photos_of(masks, "")))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == count
        return size

    assert peak(12_000) < 1.5 * peak(2_000)
