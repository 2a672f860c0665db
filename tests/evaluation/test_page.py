"""The HTML report: complete, self-contained, and alive in a real browser."""

from __future__ import annotations

import csv
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from damgan_cli.evaluation.metrics import score
from damgan_cli.masks.generate import make_mask, mask_rng
from tests.files import save

EVIL = "<img src=x onerror=boom()> & __DATA__"
PHOTOS = {
    name: cv2.resize(photo, (64, 48), interpolation=cv2.INTER_AREA)
    for name, photo in {"cat": data.chelsea(), "coffee": data.coffee(), EVIL: data.astronaut()}.items()
}
SHARES = {"cat": (0.05, 0.1), "coffee": (0.2, 0.3), EVIL: (0.25, 0.3)}


@pytest.fixture
def report(damgan, tmp_path):
    """Two methods, three photos, a broken file."""
    for index, (name, photo) in enumerate(PHOTOS.items()):
        hole = make_mask("irregular", 48, 64, mask_rng(0, index), hole_share=SHARES[name])
        save(tmp_path / "truths" / f"{name}.png", photo)
        save(tmp_path / "masks" / f"{name}.png", hole)
        for method, flag in (("telea", cv2.INPAINT_TELEA), ("black", None)):
            result = photo.copy()
            result[hole > 0] = 0
            if flag is not None:
                result = cv2.inpaint(photo, hole, 3, flag)
            save(tmp_path / method / f"{name}.png", result)
    for folder in ("truths", "masks", "telea", "black"):
        save(tmp_path / folder / "zbroken.png", PHOTOS["cat"])
    (tmp_path / "black" / "zbroken.png").write_bytes(b"broken")
    ran = damgan(
        "eval", tmp_path / "black", tmp_path / "telea", tmp_path / "truths",
        "--mask", tmp_path / "masks", "--report", tmp_path / "report",
    )  # fmt: skip
    assert ran.code == 1
    assert "report/index.html" in ran.err.replace("\\", "/").replace("\n", "")
    return tmp_path / "report"


def test_one_file_that_asks_for_nothing_else(report):
    assert sorted(path.name for path in report.iterdir()) == ["index.html", "scores.csv", "scores.json"]
    page = (report / "index.html").read_text()
    visible = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//cdn|@import|<link|url\(", visible)
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', page))
    assert EVIL not in page
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert EVIL in {one["name"] for one in json.loads(text)["gallery"]}


def test_tables_hold_the_scores(report):
    page = (report / "index.html").read_text()
    document = json.loads((report / "scores.json").read_text())
    assert document["version"] == 2
    means = {row["method"]: row["mean"] for row in document["rows"]}
    assert document["ranking"] == ["telea", "black"]
    for mean in means.values():
        assert f"{mean['psnr']:.2f}" in page
        assert f"{mean['hole_ssim']:.4f}" in page
    assert f"{document['comparisons'][0]['difference']['psnr']['mean']:+.2f}" in page
    assert "black/zbroken" in page
    assert 'data-label="95 % interval"' in page  # where the screen is narrow
    assert "as printed in Table 1" not in page
    with (report / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["version"] for row in rows} == {"2"}
    assert len(rows) == 7
    cat = Image.open(report.parent / "telea" / "cat.png"), Image.open(report.parent / "truths" / "cat.png")
    expected = score(*(np.asarray(image) for image in cat))
    (line,) = (row for row in rows if row["name"] == "cat" and row["method"] == "telea")
    assert float(line["psnr"]) == pytest.approx(expected["psnr"], abs=1e-5)


def test_in_a_browser(report, open_page):
    by_name = "document.getElementById"
    page = open_page(report / "index.html")

    def caption():
        return page.evaluate(f"{by_name}('caption').textContent")

    def choose(select, value):
        page.evaluate(f"{by_name}('{select}').value = {json.dumps(value)}; {by_name}('{select}').onchange()")

    # All four pictures of the best method, worst first.
    assert page.evaluate("document.querySelectorAll('.thumb').length") == 4
    values = page.evaluate("[...document.querySelectorAll('.thumb')].map(t => t.textContent)")
    assert values[-1] == "∞"
    numbers = [float(value) for value in values[:-1]]
    assert numbers == sorted(numbers)
    assert "1 of 4" in page.evaluate(f"{by_name}('place').textContent")
    assert "4 of 4 pictures" in page.evaluate(f"{by_name}('gallery').textContent")
    panes = page.evaluate("[...document.querySelectorAll('figcaption')].map(c => c.textContent)")
    assert [text.split(" –")[0] for text in panes] == ["input", "telea", "truth", "error"]
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")

    # Keys leaf through them, around the ends.
    first = caption()
    page.keyboard.press("ArrowRight")
    assert caption() != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "4 of 4" in page.evaluate(f"{by_name}('place').textContent")
    assert "PSNR ∞" in caption()

    # The filter keeps one range of hole shares; a name is text, whatever it holds.
    choose("bin", "20-30 %")
    assert page.evaluate("document.querySelectorAll('.thumb').length") == 2
    names = {caption().split(", 20-30 %")[0]}
    page.keyboard.press("ArrowRight")
    names.add(caption().split(", 20-30 %")[0])
    assert names == {"coffee", EVIL}

    # The other method and order.
    choose("method", "black")
    choose("bin", "")
    assert page.evaluate("document.querySelectorAll('.thumb').length") == 3
    choose("sort", "l1")
    values = [
        float(v) for v in page.evaluate("[...document.querySelectorAll('.thumb')].map(t => t.textContent)")
    ]
    assert values == sorted(values, reverse=True)

    # The slider uncovers the result from the left.
    page.evaluate(f"{by_name}('slider').value = 30; {by_name}('slider').oninput()")
    clip = page.evaluate("document.querySelector('.frame img.over[style]').style.clipPath")
    assert clip.startswith("inset(0")
    assert "70%" in clip

    # Plots have a curve for each method and a dot for each image.
    assert page.evaluate("document.querySelectorAll('#histogram path').length") == 2
    boxes = page.evaluate(
        "[...document.querySelectorAll('#histogram path')].map(p => [p.getBBox().y, p.getBBox().height])"
    )
    assert boxes[0][0] + boxes[0][1] < boxes[1][0]  # one below the other
    assert page.evaluate("document.querySelectorAll('#scatter circle').length") == 6
    choose("metric", "ssim")
    assert page.evaluate("document.querySelectorAll('#scatter circle').length") == 7

    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate(f"{by_name}('theme').click()")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert brightness(light) > 200 > 60 > brightness(dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.problems == []


@pytest.mark.parametrize("width", [1280, 360])
def test_every_number_is_in_sight(report, open_page, tmp_path, width):
    page = open_page(report / "index.html", width=width, dark=True)
    right = "Math.max(...[...document.querySelectorAll('td, svg')].map(e => e.getBoundingClientRect().right))"
    assert page.evaluate(f"{right} <= innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert brightness(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 60
    if width == 360:  # a definition below its name, and plots drawn at the size they are shown
        assert page.evaluate("getComputedStyle(document.querySelector('dl')).display") == "block"
        plot = "document.querySelector('#scatter svg')"
        assert page.evaluate(f"{plot}.viewBox.baseVal.width <= {plot}.getBoundingClientRect().width + 1")
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as shot:
        assert np.asarray(shot.convert("L")).std() > 10
    assert page.problems == []


def brightness(color):
    return np.mean([int(value) for value in re.findall(r"\d+", color)[:3]])
