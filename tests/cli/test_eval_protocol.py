"""``damgan eval --images``: weights under a protocol of masks, through the command line."""

from __future__ import annotations

import csv
import json
from html import escape

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from damgan_cli.evaluation.protocol import PRINTED, mask_sets, navier_stokes, run_protocol, telea
from damgan_cli.masks.generate import make_mask, mask_rng
from tests.cli.eval_files import CAT, COFFEE, HOLE
from tests.files import save


@pytest.fixture
def photos(tmp_path):
    save(tmp_path / "photos" / "a.png", CAT)
    save(tmp_path / "photos" / "b.png", COFFEE)
    save(tmp_path / "photos" / "large.png", data.chelsea())
    return tmp_path / "photos"


def row(document, masks, method):
    (found,) = [row for row in document["rows"] if row["masks"] == masks and row["method"].startswith(method)]
    return found


def test_paper_protocol_prints_table_1_and_our_rows(damgan, photos, tiny_weights, tmp_path):
    run = ("eval", "--images", photos, "--weights", tiny_weights, "--dtype", "float32")
    document = json.loads(damgan(*run, "--json", "--seed", 3).out)
    assert document["version"] == 2
    assert (document["mode"], document["protocol"], document["size"]) == ("protocol", "paper", 128)
    assert document["published"]["center"]["DAM-GAN"] == {"psnr": 24.77, "ssim": 0.903}
    assert document["published"]["freeform"]["CA"] == {"psnr": 28.23, "ssim": 0.954}
    assert document["fitted"] == ["large.png"]
    assert document["weights"]["source"] == "folder"
    assert [(row["masks"], row["method"]) for row in document["rows"]] == [
        ("center", "Telea"),
        ("center", "Navier-Stokes"),
        ("center", "tiny"),
        ("freeform", "Telea"),
        ("freeform", "Navier-Stokes"),
        ("freeform", "tiny"),
    ]
    assert {entry["masks"] for entry in document["comparisons"]} == {"center", "freeform"}
    for masked in mask_sets("paper", 3, seed=3):
        holes = (masked.holes * 2)[:2]
        expected = run_protocol(telea, [CAT, COFFEE], holes)
        images = row(document, masked.name, "Telea")["images"]
        assert [image["name"] for image in images] == ["a.png", "b.png", "large.png"]
        share = holes[0].mean()
        assert images[0] == {"name": "a.png", "identical": False, **expected[0], "hole_ratio": share}
        flow = run_protocol(navier_stokes, [CAT], holes[:1])
        assert row(document, masked.name, "Navier")["images"][0]["psnr"] == flow[0]["psnr"]
        assert images[1]["psnr"] == expected[1]["psnr"]

    ran = damgan(*run, "--limit", 1, "--report", tmp_path / "report")
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert all(number in text for number in ("24.77", "0.9030", "29.49", "0.9600", "22.56", "DAM-GAN, paper"))
    assert "1 image" in text
    assert PRINTED in text
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count('<tr class="printed">') + page.count('<tr class="first printed">') == 10
    assert escape(PRINTED) in page


def test_saved_pictures_give_the_same_scores_again(damgan, photos, tiny_weights, tmp_path):
    kept = tmp_path / "kept"
    ran = damgan("eval", "--images", photos, "--weights", tiny_weights, "--save", kept, "--json")
    assert "1 of 3 photos are not 128x128" in ran.err
    document = json.loads(ran.out)
    for masks in ("center", "freeform"):
        for method, start in (("telea", "Telea"), ("navier-stokes", "Navier"), ("weights", "tiny")):
            again = damgan(
                "eval", kept / masks / method, kept / "truth", "--mask", kept / masks / "masks", "--json"
            )
            assert json.loads(again.out)["rows"][0]["mean"] == pytest.approx(
                row(document, masks, start)["mean"]
            )
    with Image.open(kept / "center" / "weights" / "a.png") as image:
        result = np.asarray(image)
    (hole,) = mask_sets("center", 1)[0].holes
    np.testing.assert_array_equal(result[~hole], CAT[~hole])
    assert not np.array_equal(result, CAT)


def test_bins_follow_the_seed_and_report_their_mean(damgan, photos, tiny_weights, tmp_path):
    run = ("eval", "--images", photos, "--weights", tiny_weights, "--protocol", "bins", "--limit", 1)
    table = tmp_path / "scores.csv"
    document = json.loads(damgan(*run, "--json").out)
    assert len(document["rows"]) == 18
    for method, mean in document["mean_over_bins"].items():
        own = [row["mean"] for row in document["rows"] if row["method"] == method]
        assert mean["psnr"] == pytest.approx(np.mean([one["psnr"] for one in own]))
        assert mean["ssim"] == pytest.approx(np.mean([one["ssim"] for one in own]))
    easy, hard = row(document, "1-10 %", "Telea"), row(document, "50-60 %", "Telea")
    assert easy["mean"]["psnr"] > hard["mean"]["psnr"] + 5
    other = damgan(*run, "--seed", 1, "--csv", table)
    assert "\nmean " in other.out
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 18
    assert lines[0]["psnr"] != f"{document['rows'][0]['images'][0]['psnr']:.6f}"
    for masked in mask_sets("bins", 1, seed=0):
        expected = run_protocol(telea, [CAT], masked.holes)
        assert row(document, masked.name, "Telea")["mean"] == pytest.approx(expected[0])


def test_bins_with_given_masks(damgan, photos, tiny_weights, tmp_path):
    save(tmp_path / "masks" / "0" / "m.png", HOLE)
    save(tmp_path / "masks" / "1" / "m.png", np.kron(HOLE, np.ones((4, 4), bool)))
    run = (
        "eval",
        "--images",
        photos,
        "--weights",
        tiny_weights,
        "--protocol",
        "bins",
        "--limit",
        1,
        "--json",
    )
    document = json.loads(damgan(*run, "--masks", tmp_path / "masks").out)
    assert [row["masks"] for row in document["rows"]] == ["0", "0", "0", "1", "1", "1"]
    assert row(document, "0", "Telea")["mean"] == row(document, "1", "Telea")["mean"]
    (expected,) = run_protocol(telea, [CAT], [HOLE])
    assert row(document, "0", "Telea")["mean"] == pytest.approx(expected)


def test_the_papers_table_and_bins_in_one_command(damgan, photos, tiny_weights, tmp_path):
    for name in "01":
        save(tmp_path / "masks" / name / "m.png", HOLE)
    run = ("eval", "--images", photos, "--weights", tiny_weights, "--mask", tmp_path / "masks", "--limit", 1)
    document = json.loads(damgan(*run, "--json").out)
    assert [row["masks"] for row in document["rows"][::3]] == ["center", "freeform", "0", "1"]
    assert document["mean_over_bins"]["Telea"] == pytest.approx(row(document, "0", "Telea")["mean"])
    table = damgan(*run).out
    places = [table.index(word) for word in ("DAM-GAN, paper", "freeform", "mean")]
    assert places == sorted(places)


def test_unreadable_photos_are_reported(damgan, photos, tiny_weights):
    (photos / "aa.png").write_bytes(b"broken")
    ran = damgan("eval", "--images", photos, "--weights", tiny_weights, "--protocol", "center", "--json")
    assert ran.code == 1
    assert "aa.png" in ran.err
    document = json.loads(ran.out)
    assert [failure["name"] for failure in document["failed"]] == ["aa.png"]
    assert document["rows"][0]["count"] == 3


def test_a_protocol_file(damgan, photos, tiny_weights, tmp_path):
    file = tmp_path / "mine.json"
    masks = [{"kind": "thick", "ratio": [0.1, 0.2]}, {"name": "lines", "kind": "thin"}]
    file.write_text(json.dumps({"size": 64, "masks": masks}))
    run = ("eval", "--images", photos, "--weights", tiny_weights, "--protocol", file, "--seed", 5, "--json")
    document = json.loads(damgan(*run).out)
    assert (document["size"], document["protocol"], document["seed"]) == (64, str(file), 5)
    assert [one["masks"] for one in document["rows"]] == ["thick"] * 3 + ["lines"] * 3
    assert all(0.1 <= image["hole_ratio"] <= 0.2 for image in document["rows"][0]["images"])
    hole = make_mask("thick", 64, 64, mask_rng(5, 0), hole_share=(0.1, 0.2)) > 0
    small = cv2.resize(CAT, (64, 64), interpolation=cv2.INTER_AREA)
    assert document["rows"][0]["images"][0]["psnr"] == run_protocol(telea, [small], [hole])[0]["psnr"]
    again = json.loads(damgan(*run[:-2], 6, "--json").out)
    assert again["masks_sha256"].keys() == document["masks_sha256"].keys()
    assert again["masks_sha256"] != document["masks_sha256"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "cannot be read"),
        ("[]", "needs a size"),
        ('{"size": "large", "masks": [{"kind": "thin"}]}', "needs a size"),
        ('{"size": 64}', "must have masks"),
        ('{"size": 64, "masks": [{"kind": "thin"}], "seed": 3}', "no more than a size beside"),
        ('{"masks": ["thin"]}', "no kind of mask"),
        ('{"masks": [{"kind": "thin", "count": 3}]}', "count"),
        ('{"masks": [{"kind": "wild"}]}', "no mask kind"),
        ('{"masks": [{"kind": "thin", "ratio": [0.3, 0.2]}]}', "0.3 to 0.2"),
        ('{"masks": [{"kind": "thin", "ratio": 3}]}', "no kind of mask"),
        ('{"masks": [{"kind": "thin"}, {"kind": "thin"}]}', "share a name"),
        ('{"masks": [{"kind": "thin", "name": "../out"}]}', "cannot name a folder"),
    ],
)
def test_a_wrong_protocol_file_is_one_message(damgan, photos, tmp_path, text, words):
    (tmp_path / "mine.json").write_text(text)
    ran = damgan("eval", "--images", photos, "--protocol", tmp_path / "mine.json")
    assert (ran.code, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
