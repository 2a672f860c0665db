"""Paint, fill, undo, save: what the page asks of its server."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.files import pixels, save
from tests.photos.photo_kinds import LOSSLESS, noise, stored_pixels

BOX = (20, 10, 40, 30)
HOLE = np.zeros((60, 80), bool)
HOLE[10:30, 20:40] = True


def view(page, layer, longest=80, box="0,0,80,60", number=0):
    answer = page.get(f"/{number}/view?layer={layer}&box={box}&longest={longest}")
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content))


def hole_of(page):
    return np.asarray(view(page, "mask").convert("RGBA"))[..., 3] > 127


def test_a_photo_is_painted_filled_and_saved(page, photo):
    assert page.box(*BOX).json()["painted"]
    np.testing.assert_array_equal(hole_of(page), HOLE)
    state = page.fill()
    assert state["problem"] is None
    assert (len(state["picture"]), state["painted"], state["unsaved"]) == (1, False, True)
    assert not hole_of(page).any()
    saved = page.post("save").json()
    result = photo.with_name("photo.inpainted.png")
    assert saved["saved"] == str(result)
    assert not saved["unsaved"]
    changed = (pixels(result) != pixels(photo)).any(axis=2)
    assert changed.any()
    assert not (changed & ~HOLE).any()


@pytest.mark.parametrize("name", ["RGBA16.png", "I16.tif", "P.bmp", "LA.png", "CMYK.tif"])
def test_saving_is_that_of_inpaint(damgan, serve, tmp_path, name):
    """The same bytes as `damgan inpaint` with the mask that the page saves: known pixels, depth and all."""
    photo = tmp_path / name
    LOSSLESS[name](photo, size=(60, 80))
    page = serve(photo)
    page.box(*BOX)
    page.post("paint", kind="stroke", points=[[5, 50], [70, 45]], size=3, hardness=1)
    page.fill()
    page.post("save")
    page.post("save", what="mask")
    mask, result = (
        photo.with_name(f"{photo.stem}.mask.png"),
        photo.with_name(f"{photo.stem}.inpainted{photo.suffix}"),
    )
    other = tmp_path / f"other{photo.suffix}"
    ran = damgan("inpaint", photo, "--mask", mask, "-o", other, "--weights", page.weights, "--device", "cpu")
    assert ran.code == 0, ran.err
    assert result.read_bytes() == other.read_bytes()
    hole = pixels(mask) > 127
    np.testing.assert_array_equal(stored_pixels(result)[~hole], stored_pixels(photo)[~hole])


def test_undo_and_redo_go_through_paint_and_fills(page):
    page.box(*BOX)
    page.fill()
    filled = np.asarray(view(page, "result"))
    page.box(0, 0, 10, 10)
    assert page.fill()["redo"] is False
    for _ in range(2):
        page.post("step", by=-1)
    np.testing.assert_array_equal(np.asarray(view(page, "result")), filled)
    page.post("step", by=-1)
    assert page.state()["picture"] == []
    np.testing.assert_array_equal(hole_of(page), HOLE)
    for _ in range(5):  # more than there are
        page.post("step", by=-1)
    assert page.state()["undo"] is False
    assert not hole_of(page).any()
    for _ in range(5):
        page.post("step", by=1)
    assert len(page.state()["picture"]) == 2
    page.post("step", by=-1)
    page.post("paint", kind="clear")
    assert page.state()["redo"] is False


def test_the_same_hole_is_filled_again_with_other_settings(page):
    page.box(*BOX)
    first = page.fill()["picture"]
    state = page.fill(fit="native")
    assert len(state["picture"]) == 1
    assert state["picture"] != first
    assert state["last"]["fit"] == "native"
    page.post("step", by=-1)
    assert page.state()["picture"] == first


def test_what_the_model_doubts_is_marked_and_filled_on_top(page, photo):
    page.box(*BOX)
    page.fill()
    page.post("find", kind="fakeness", share=0.25)
    page.wait()
    worst = hole_of(page)
    assert not (worst & ~HOLE).any()
    assert worst.sum() == pytest.approx(0.25 * HOLE.sum(), rel=0.2)
    page.post("find", kind="fakeness", share=0.5, replace=True)  # another share instead
    assert page.wait()["problem"] is None
    assert hole_of(page).sum() > worst.sum()
    page.post("step", by=-1)
    assert not hole_of(page).any()
    page.post("step", by=1)
    before = np.asarray(view(page, "result")).astype(int)
    assert len(page.fill()["picture"]) == 2
    assert (np.asarray(view(page, "result")) != before).any()
    page.post("save", what="mask")
    np.testing.assert_array_equal(pixels(photo.with_name("photo.mask.png")) > 127, HOLE)


def test_an_object_is_found(serve, tmp_path):
    picture = noise(size=(120, 160)) // 16 + 40
    picture[40:80, 60:100] = (220, 60, 50)
    page = serve(save(tmp_path / "object.png", picture))
    page.post("find", kind="object", box=[50, 30, 110, 90])
    assert page.wait()["problem"] is None
    found = np.asarray(view(page, "mask", 160, "0,0,160,120").convert("RGBA"))[..., 3] > 127
    assert found[40:80, 60:100].mean() > 0.95
    assert found.sum() < 1.4 * 40 * 40
    page.post("find", kind="scratches", box=[0, 0, 30, 30], strength=0)
    assert "fainter" in page.wait()["problem"]["message"] + page.state()["problem"]["message"]


def test_two_tabs_lose_nothing(page):
    both = page.state()["revision"]
    page.box(*BOX, revision=both)
    state = page.box(50, 30, 60, 40, revision=both).json()  # of the other tab, which has not looked since
    assert hole_of(page).sum() == 500
    stale = page.post("step", by=-1, revision=both)
    assert stale.status_code == 409
    assert "another tab" in stale.json()["error"]["message"]
    assert page.post("fill", weights=page.weights, fit="auto", revision=both).status_code == 409
    assert page.state() == state


def test_painting_goes_on_while_it_fills(page):
    page.box(*BOX)
    session = page.album.session(0)
    job = session.begin("fill", session.revision)
    page.box(60, 40, 70, 50)
    assert page.post("step", by=-1).status_code == 409  # what is being filled is not undone
    session.finish(job, None)
    assert page.fill()["picture"]
    page.post("step", by=-1)
    assert hole_of(page).sum() == 500


def test_a_file_is_replaced_only_if_that_is_meant(page, photo):
    result = photo.with_name("photo.inpainted.png")
    result.write_bytes(b"precious")
    page.box(*BOX)
    page.fill()
    refused = page.post("save")
    assert (refused.status_code, refused.json()["error"]["exists"]) == (409, True)
    assert result.read_bytes() == b"precious"
    assert page.post("save", overwrite=True).status_code == 200
    assert pixels(result).shape == (60, 80, 3)
    page.post("step", by=-1)
    page.fill()
    assert page.post("save").status_code == 200  # its own result needs no question


def test_nothing_to_do_is_said(page):
    assert "Nothing is painted" in page.post("fill", weights=page.weights, fit="auto").text
    assert "Nothing is filled" in page.post("save").text
    assert "Nothing is painted" in page.post("save", what="mask").text


def test_views_are_no_larger_than_asked_and_show_their_part(page, photo):
    assert view(page, "photo", 40).size == (40, 30)
    part = np.asarray(view(page, "photo", 2000, "10,20,30,50")).astype(int)
    assert part.shape == (30, 20, 3)
    assert np.abs(part - pixels(photo)[20:50, 10:30]).mean() < 12  # a JPEG of noise
    assert view(page, "photo", 80, "-50,-50,900,900").size == (80, 60)
    assert view(page, "fakeness").size == (80, 60)


def test_a_photo_that_changed_on_the_disk_is_not_mixed_up(page, photo):
    page.box(*BOX)
    page.album.session(0).release()
    save(photo, noise(size=(10, 10)))
    assert "was changed" in page.get("/0/view?layer=result&box=0,0,9,9&longest=9").text


def test_a_folder_lists_its_photos_and_what_is_done(serve, tmp_path):
    for name in ("a.png", "sub/b.png", "c.png", "c.inpainted.png"):
        save(tmp_path / "photos" / name, noise(size=(60, 80)))
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    page = serve(tmp_path / "photos")
    names = [photo["name"] for photo in page.get().json()["photos"]]
    assert names == ["a.png", "broken.png", "c.png", "sub/b.png"]
    assert [photo["state"] for photo in page.get().json()["photos"]] == ["new", "new", "done", "new"]
    assert Image.open(BytesIO(page.get("/3/thumbnail").content)).size == (80, 60)
    assert page.get("/1/thumbnail").status_code == page.get("/1").status_code == 422
    for number in (3, 0, 2, 3):  # more than are open at once
        page.box(*BOX, number=number)
        np.asarray(view(page, "mask", number=number))
    assert sum(session.open for session in page.album.sessions) <= 2
    page.fill(3)
    page.post("save", 3)
    page.post("save", 3, what="mask")
    assert (tmp_path / "photos" / "sub" / "b.inpainted.png").exists()
    assert (tmp_path / "photos-masks" / "sub" / "b.png").exists()
    assert [photo["state"] for photo in page.get().json()["photos"]] == ["work", "new", "work", "done"]
    assert page.album.unsaved == []


def test_results_and_masks_go_where_they_are_asked_to(serve, tmp_path, damgan):
    photos = tmp_path / "photos"
    save(photos / "sub" / "a.png", noise(size=(60, 80)))
    page = serve(photos, out=tmp_path / "out", masks=tmp_path / "masks")
    page.box(*BOX)
    page.fill()
    page.post("save")
    page.post("save", what="mask")
    ran = damgan(
        "inpaint", photos, "--mask", tmp_path / "masks", "-o", tmp_path / "again", "--weights", page.weights,
        "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    again = (tmp_path / "again" / "sub" / "a.png").read_bytes()
    assert (tmp_path / "out" / "sub" / "a.png").read_bytes() == again
