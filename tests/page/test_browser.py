"""The page in a real browser: paint, fill, compare, undo, save, reload; 24 megapixels; a phone; two tabs."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.chromium import CHROMIUM, FLAGS
from tests.files import pixels, save
from tests.photos.photo_kinds import noise


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path, tiny_weights):
    """Start ``damgan paint ARGS`` with tiny weights; gives its address."""
    running = []

    def serve(*arguments):
        command = [sys.executable, "-m", "damgan_cli", "paint", *arguments, "--no-browser", "--device", "cpu"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        running.append(
            subprocess.Popen(
                [*map(str, command), "--weights", str(tiny_weights)],
                cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        return running[-1].stdout.readline().strip()

    yield serve
    for process in running:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def visit(chromium):
    """Open an address: ``visit(address, width=1280, ...)``; ``page.problems`` collects what must not be."""
    contexts = []

    def visit(address, *, width=1280, height=800, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: line.type == "error" and page.problems.append(line.text))
        own = re.match(r"http://[^/]+/[^/]+/", address)[0]
        page.on(
            "request",
            lambda asked: asked.url.startswith((own, "blob:", "data:")) or page.problems.append(asked.url),
        )
        page.goto(address)
        page.wait_for_selector("#editor:visible")
        return page

    yield visit
    for context in contexts:
        context.close()


def drag(page, *points):
    """Along points of the stage, given as shares of its width and height."""
    bounds = page.locator("#stage").bounding_box()
    places = [(bounds["x"] + x * bounds["width"], bounds["y"] + y * bounds["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def shown(page, canvas):
    """The pixels of one of the canvases, (h, w, 4), once what was asked for is there."""
    page.wait_for_selector("#stage:not(.loading)")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = page.evaluate("id => document.getElementById(id).toDataURL()", canvas).partition(",")[2]
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGBA"))


def fill(page):
    page.click("#fill")
    page.wait_for_selector("#results:visible, #alert:visible")
    assert page.locator("#alert p").inner_text() == ""
    page.wait_for_selector("#working", state="hidden")


def test_paint_fill_compare_undo_save_and_reload(served, visit, tmp_path):
    photo = save(tmp_path / "photo.png", cv2.blur(noise(size=(120, 180)), (5, 5)))
    page = visit(served(photo))
    before = shown(page, "picture")
    drag(page, (0.4, 0.4), (0.6, 0.5), (0.6, 0.4))
    page.wait_for_selector("#fill:enabled")
    painted = shown(page, "mask")[..., 3] > 127
    assert 0.002 < painted.mean() < 0.1
    page.keyboard.press("e")
    drag(page, (0.55, 0.35), (0.65, 0.55))
    assert (shown(page, "mask")[..., 3] > 127).sum() < painted.sum()
    page.keyboard.press("Control+z")
    page.wait_for_selector("#redo:enabled")
    assert np.mean((shown(page, "mask")[..., 3] > 127) != painted) < 0.001

    fill(page)
    after = shown(page, "picture")
    changed = np.abs(before.astype(int) - after).max(axis=2) > 24  # more than what JPEG and enlarging do
    assert changed[painted].mean() > 0.5
    assert changed[~painted].mean() < 0.01
    page.keyboard.press("c")
    half = shown(page, "picture")
    middle = half.shape[1] // 2
    np.testing.assert_array_equal(half[:, : middle - 2], before[:, : middle - 2])
    np.testing.assert_array_equal(half[:, middle + 2 :], after[:, middle + 2 :])
    page.focus("#divider")
    page.keyboard.press("End")
    np.testing.assert_array_equal(shown(page, "picture"), before)
    page.keyboard.press("c")

    page.keyboard.press("d")  # what is doubted is marked, and that is undone
    page.click("[data-find=fakeness]")
    page.wait_for_selector("#clear:enabled")
    assert (shown(page, "mask")[..., 3] > 127).any()
    page.click("#undo")
    page.wait_for_selector("#clear:disabled")

    page.keyboard.press("Control+s")
    page.wait_for_selector("#status:has-text('Saved')")
    result = pixels(tmp_path / "photo.inpainted.png")
    assert 0 < (result != pixels(photo)).any(axis=2).mean() < 0.1

    page.reload()  # nothing is lost
    page.wait_for_selector("#results:visible")
    assert not page.locator("#undo").is_disabled()
    np.testing.assert_array_equal(shown(page, "picture"), after)
    page.click("#undo")
    page.wait_for_selector("#results", state="hidden")
    np.testing.assert_array_equal(shown(page, "picture"), before)
    assert page.problems == []


def test_24_megapixels(served, visit, tmp_path):
    photo = tmp_path / "large.jpg"
    cv2.imwrite(str(photo), cv2.resize(noise(size=(40, 60)), (6000, 4000), interpolation=cv2.INTER_CUBIC))
    page = visit(served(photo))
    sizes = page.evaluate("[...document.querySelectorAll('canvas')].map(c => [c.width, c.height])")
    assert max(max(size) for size in sizes) <= 1280
    bounds = page.locator("#stage").bounding_box()
    page.mouse.move(bounds["x"] + 300, bounds["y"] + 300)
    for _ in range(30):
        page.mouse.wheel(0, -300)
    assert page.locator("#fit").inner_text() == "3200 %"
    page.evaluate("document.getElementById('size').value = 0")  # one pixel
    drag(page, (0.3, 0.5), (0.7, 0.5))
    page.wait_for_selector("#fill:enabled")
    column = shown(page, "mask")[..., 3][:, sizes[0][0] // 2] > 100
    assert column.sum() == 32  # screen pixels of one of the photo's
    page.click("#save-mask")
    page.wait_for_selector("#status:has-text('Saved')")
    hole = pixels(tmp_path / "large.mask.png") > 127
    assert hole.shape == (4000, 6000)
    assert set(hole.sum(axis=0)) == {0, 1}
    page.keyboard.press("0")
    fill(page)
    assert page.problems == []


def test_fingers_on_a_phone_in_the_dark(served, visit, tmp_path):
    photo = save(tmp_path / "photo.png", cv2.blur(noise(size=(120, 180)), (5, 5)))
    page = visit(
        served(photo),
        width=390,
        height=844,
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
        device_scale_factor=2,
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name in ("#fill", "#save", "#save-mask", "#undo", "#stage"):
        bounds = page.locator(name).bounding_box()
        assert bounds["x"] >= 0
        assert bounds["x"] + bounds["width"] <= 390
        assert bounds["y"] + bounds["height"] <= 844
    dark = [
        int(value)
        for value in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    ]
    assert max(dark[:3]) < 60

    bounds = page.locator("#stage").bounding_box()
    touch = page.context.new_cdp_session(page)

    def fingers(kind, *places):
        points = [
            {"x": bounds["x"] + x * bounds["width"], "y": bounds["y"] + y * bounds["height"], "id": number}
            for number, (x, y) in enumerate(places)
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fit = page.locator("#fit").inner_text()
    fingers("touchStart", (0.4, 0.5))
    fingers("touchStart", (0.4, 0.5), (0.6, 0.5))
    for step in range(1, 6):
        fingers("touchMove", (0.4 - 0.05 * step, 0.5), (0.6 + 0.05 * step, 0.5))
    fingers("touchEnd")
    assert int(page.locator("#fit").inner_text().split()[0]) > 2 * int(fit.split()[0])
    assert page.locator("#fill").is_disabled()  # two fingers paint nothing
    fingers("touchStart", (0.4, 0.5))
    fingers("touchMove", (0.6, 0.5))
    fingers("touchEnd")
    page.wait_for_selector("#fill:enabled")
    fill(page)
    page.screenshot(path=tmp_path / "phone.png")
    assert np.asarray(Image.open(tmp_path / "phone.png").convert("L")).std() > 10
    assert page.problems == []


def test_two_tabs_of_a_folder(served, visit, tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "photos" / f"{name}.png", noise(size=(120, 180)))
    address = served("photos")
    one, other = visit(f"{address}#1"), visit(f"{address}#1")
    drag(one, (0.4, 0.4), (0.6, 0.5))
    one.wait_for_selector("#fill:enabled")
    drag(other, (0.4, 0.6), (0.6, 0.7))
    other.wait_for_selector("#fill:enabled")
    one.close()
    assert "b.png" in other.locator("#name").inner_text()
    other.keyboard.press("Control+z")  # of what it has painted itself
    other.wait_for_selector("#redo:enabled")
    assert (shown(other, "mask")[..., 3] > 127).any()  # what the tab that is closed has painted
    fill(other)
    other.click("#photos")
    other.wait_for_selector("#tiles .work")
    marks = other.evaluate("[...document.querySelectorAll('#tiles em')].map(e => e.textContent)")
    assert marks == ["", "in work"]
    assert other.problems == []
