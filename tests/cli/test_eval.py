"""``damgan eval`` through the command line."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from damgan_cli.evaluation.metrics import METRIC_DEFINITIONS, score
from damgan_cli.evaluation.protocol import mask_sets, run_protocol, telea

CAT = cv2.resize(data.chelsea(), (128, 128), interpolation=cv2.INTER_AREA)
COFFEE = cv2.resize(data.coffee(), (128, 128), interpolation=cv2.INTER_AREA)
HOLE = np.zeros((128, 128), bool)
HOLE[20:60, 30:100] = True


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def spoiled(photo):
    result = photo.copy()
    result[HOLE] = 255 - result[HOLE] // 2
    return result


@pytest.fixture
def folders(tmp_path):
    """Results, truths and masks of two photos, extensions mixed, one in a subfolder."""
    for name, photo in (("a", CAT), ("sub/b", COFFEE)):
        write(tmp_path / "results" / f"{name}.png", spoiled(photo))
        write(tmp_path / "truths" / f"{name}.bmp", photo)
        write(tmp_path / "masks" / f"{name}.png", HOLE)
    return tmp_path


# ------------------------------------------------------------------------------------------ files
def test_scores_folders_as_json(damgan, folders):
    ran = damgan("eval", folders / "results", folders / "truths", "--mask", folders / "masks", "--json")
    assert (ran.code, ran.err.strip()) == (0, "")
    document = json.loads(ran.out)
    expected = [score(spoiled(photo), photo, HOLE) for photo in (CAT, COFFEE)]
    assert document["images"] == [
        {"name": "a", "identical": False, **expected[0]},
        {"name": "sub/b", "identical": False, **expected[1]},
    ]
    assert document["mean"] == pytest.approx(
        {key: (expected[0][key] + expected[1][key]) / 2 for key in expected[0]}
    )
    del document["images"], document["mean"]
    assert document == {
        "version": 1,
        "metrics": METRIC_DEFINITIONS,
        "mode": "files",
        "results": str(folders / "results"),
        "ground_truth": str(folders / "truths"),
        "mask": str(folders / "masks"),
        "count": 2,
        "identical": 0,
        "failed": [],
    }


def test_table_on_stdout_with_definitions(damgan, folders):
    ran = damgan("eval", folders / "results", folders / "truths")
    assert ran.code == 0
    scores = [score(spoiled(photo), photo) for photo in (CAT, COFFEE)]
    assert f"{(scores[0]['psnr'] + scores[1]['psnr']) / 2:.2f}" in ran.out
    assert f"{(scores[0]['ssim'] + scores[1]['ssim']) / 2:.4f}" in ran.out
    assert "2 images" in ran.out
    assert "Gaussian window 11x11" in " ".join(ran.out.split())
    assert "hole PSNR" not in ran.out
    quiet = damgan("eval", folders / "results", folders / "truths", "-q")
    assert "PSNR" in quiet.out
    assert "Gaussian" not in quiet.out


def test_two_files_and_one_mask(damgan, folders):
    ran = damgan(
        "eval",
        folders / "results/a.png",
        folders / "truths/a.bmp",
        "--mask",
        folders / "masks/a.png",
        "--json",
    )
    assert json.loads(ran.out)["mean"] == score(spoiled(CAT), CAT, HOLE)


def test_one_mask_for_a_folder_and_inverted(damgan, folders):
    inverted = write(folders / "inverted.png", ~HOLE)
    ran = damgan(
        "eval", folders / "results", folders / "truths", "--mask", inverted, "--invert-mask", "--json"
    )
    images = json.loads(ran.out)["images"]
    assert images[1]["hole_psnr"] == score(spoiled(COFFEE), COFFEE, HOLE)["hole_psnr"]


def test_identical_pairs_are_counted_apart(damgan, folders):
    write(folders / "results" / "a.png", CAT)
    ran = damgan("eval", folders / "results", folders / "truths", "--json")
    document = json.loads(ran.out)
    assert document["identical"] == 1
    assert document["images"][0]["psnr"] is None
    assert document["mean"]["psnr"] == score(spoiled(COFFEE), COFFEE)["psnr"]
    assert "1 identical to the truth" in damgan("eval", folders / "results", folders / "truths").out


def test_csv(damgan, folders):
    write(folders / "results" / "a.png", CAT)
    out = folders / "new" / "scores.csv"
    assert damgan("eval", folders / "results", folders / "truths", "--csv", out).code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "sub/b"]
    assert float(rows[0]["psnr"]) == math.inf
    assert float(rows[1]["ssim"]) == pytest.approx(score(spoiled(COFFEE), COFFEE)["ssim"], abs=1e-6)


def test_a_file_that_fails_is_reported_and_the_rest_go_on(damgan, folders):
    write(folders / "results" / "a.png", CAT[:, :100])
    (folders / "results" / "c.png").write_bytes(b"broken")
    write(folders / "truths" / "c.png", CAT)
    ran = damgan("eval", folders / "results", folders / "truths", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert [image["name"] for image in document["images"]] == ["sub/b"]
    assert [failure["name"] for failure in document["failed"]] == ["a", "c"]
    assert "a: The result is 100x128 but the truth is 128x128." in ran.err
    assert "Traceback" not in ran.err


def test_all_failed(damgan, folders):
    for name in ("a.png", "sub/b.png"):
        write(folders / "results" / name, CAT[:5])
    ran = damgan("eval", folders / "results", folders / "truths")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("error:") == 2


def test_gray_jpeg_masks_warn_once_each(damgan, folders):
    smooth = cv2.GaussianBlur(HOLE.astype(np.uint8) * 255, (0, 0), 2)
    write(folders / "smooth.png", smooth)
    ran = damgan("eval", folders / "results", folders / "truths", "--mask", folders / "smooth.png")
    assert ran.code == 0
    assert ran.err.count("warning:") == 1
    assert "smooth.png" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to score"),
        (["results"], "nothing to score"),
        (["results", "nowhere"], "nowhere does not exist"),
        (["results", "truths/a.bmp"], "a.bmp is a file but"),
        (["results", "truths", "--mask", "nowhere"], "nowhere does not exist"),
        (["results/a.png", "truths/a.bmp", "--mask", "masks"], "a.bmp is a file but"),
        (["results", "masks/sub"], "results without truths: a"),
        (["results", "truths", "--mask", "masks/sub"], "truths without masks: a"),
        (["results", "truths", "--csv", "masks"], "masks is a folder"),
        (["results", "truths", "--weights", "faces"], "--weights needs photos"),
        (["results", "truths", "--protocol", "bins"], "--protocol needs photos"),
        (["results", "truths", "--limit", "3"], "--limit needs photos"),
        (["results", "truths", "--save", "kept"], "--save needs photos"),
        (["results", "truths", "--images", "truths"], "cannot be scored together"),
        (["--images", "truths", "--protocol", "wild"], "wild"),
        (["--images", "truths", "--mask", "masks"], "--mask does not go with --protocol paper"),
        (["--images", "truths", "--save", "masks"], "masks is not empty"),
        (["--images", "nowhere"], "nowhere does not exist"),
        (["--images", "truths", "--protocol", "bins", "--mask", "masks/sub"], "no subfolders"),
        (["--images", "truths", "--weights", "no-such-weights"], "no-such-weights"),
    ],
)
def test_wrong_usage_is_one_message(damgan, folders, monkeypatch, arguments, words):
    monkeypatch.chdir(folders)
    ran = damgan("eval", *arguments, "--offline")
    assert (ran.code, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not (folders / "kept").exists()


def test_help_shows_examples(damgan):
    assert damgan("eval", "--help").out.count("damgan eval ") >= 3


def test_scoring_files_needs_no_torch(folders):
    code = (
        "import sys; sys.argv = ['damgan', 'eval', *sys.argv[1:]]\n"
        "from damgan_cli.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'torchvision'} & sys.modules.keys()"
    )
    arguments = [folders / "results", folders / "truths", "--mask", folders / "masks"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=60
    )
    assert b"PSNR" in done.stdout


# ------------------------------------------------------------------------------------------ weights
@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weights folder of a small, untrained generator."""
    import torch

    from damgan_cli.model import Generator, GeneratorConfig
    from damgan_cli.weights import save_weights

    torch.set_num_threads(1)  # threads of so small a network mostly wait for each other
    torch.manual_seed(0)
    config = GeneratorConfig((8, 8, 8), (2,), (8, 8, 8, 8), (1,))
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_weights(folder, Generator(config), {}, "untrained")
    return folder


@pytest.fixture
def photos(tmp_path):
    write(tmp_path / "photos" / "a.png", CAT)
    write(tmp_path / "photos" / "b.png", COFFEE)
    write(tmp_path / "photos" / "large.png", data.chelsea())
    return tmp_path / "photos"


def row(document, masks, method):
    (found,) = [row for row in document["rows"] if row["masks"] == masks and row["method"].startswith(method)]
    return found


def test_paper_protocol_prints_table_1_and_our_rows(damgan, photos, tiny_weights):
    run = ("eval", "--images", photos, "--weights", tiny_weights, "--dtype", "float32")
    document = json.loads(damgan(*run, "--json", "--seed", 3).out)
    assert document["version"] == 1
    assert (document["mode"], document["protocol"], document["size"]) == ("protocol", "paper", 128)
    assert document["published"]["center"]["DAM-GAN"] == {"psnr": 24.77, "ssim": 0.903}
    assert document["published"]["freeform"]["CA"] == {"psnr": 28.23, "ssim": 0.954}
    assert document["fitted"] == ["large.png"]
    assert document["weights"]["source"] == "folder"
    assert [(row["masks"], row["method"]) for row in document["rows"]] == [
        ("center", "Telea"),
        ("center", "tiny"),
        ("freeform", "Telea"),
        ("freeform", "tiny"),
    ]
    for masked in mask_sets("paper", 3, seed=3):
        holes = (masked.holes * 2)[:2]
        expected = run_protocol(telea, [CAT, COFFEE], holes)
        images = row(document, masked.name, "Telea")["images"]
        assert [image["name"] for image in images] == ["a.png", "b.png", "large.png"]
        assert images[0] == {"name": "a.png", "identical": False, **expected[0]}
        assert images[1]["psnr"] == expected[1]["psnr"]

    ran = damgan(*run, "--limit", 1)
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert all(number in text for number in ("24.77", "0.9030", "29.49", "0.9600", "22.56", "DAM-GAN, paper"))
    assert "1 image" in text
    assert "Table 1" in text


def test_saved_pictures_give_the_same_scores_again(damgan, photos, tiny_weights, tmp_path):
    kept = tmp_path / "kept"
    ran = damgan("eval", "--images", photos, "--weights", tiny_weights, "--save", kept, "--json")
    assert "1 of 3 photos are not 128x128" in ran.err
    document = json.loads(ran.out)
    for masks in ("center", "freeform"):
        for method, start in (("telea", "Telea"), ("weights", "tiny")):
            again = damgan(
                "eval", kept / masks / method, kept / "truth", "--mask", kept / masks / "masks", "--json"
            )
            assert json.loads(again.out)["mean"] == pytest.approx(row(document, masks, start)["mean"])
    with Image.open(kept / "center" / "weights" / "a.png") as image:
        result = np.asarray(image)
    (hole,) = mask_sets("center", 1)[0].holes
    np.testing.assert_array_equal(result[~hole], CAT[~hole])
    assert not np.array_equal(result, CAT)


def test_bins_follow_the_seed_and_report_their_mean(damgan, photos, tiny_weights, tmp_path):
    run = ("eval", "--images", photos, "--weights", tiny_weights, "--protocol", "bins", "--limit", 1)
    table = tmp_path / "scores.csv"
    document = json.loads(damgan(*run, "--json").out)
    assert len(document["rows"]) == 12
    for method, mean in document["mean_over_bins"].items():
        own = [row["mean"] for row in document["rows"] if row["method"] == method]
        assert mean["psnr"] == pytest.approx(np.mean([one["psnr"] for one in own]))
        assert mean["ssim"] == pytest.approx(np.mean([one["ssim"] for one in own]))
    easy, hard = row(document, "1-10 %", "Telea"), row(document, "50-60 %", "Telea")
    assert easy["mean"]["psnr"] > hard["mean"]["psnr"] + 5
    other = damgan(*run, "--seed", 1, "--csv", table)
    assert "mean of bins" in other.out
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12
    assert lines[0]["psnr"] != f"{document['rows'][0]['images'][0]['psnr']:.6f}"
    for masked in mask_sets("bins", 1, seed=0):
        expected = run_protocol(telea, [CAT], masked.holes)
        assert row(document, masked.name, "Telea")["mean"] == pytest.approx(expected[0])


def test_bins_with_given_masks(damgan, photos, tiny_weights, tmp_path):
    write(tmp_path / "masks" / "0" / "m.png", HOLE)
    write(tmp_path / "masks" / "1" / "m.png", np.kron(HOLE, np.ones((4, 4), bool)))
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
    assert [row["masks"] for row in document["rows"]] == ["0", "0", "1", "1"]
    assert row(document, "0", "Telea")["mean"] == row(document, "1", "Telea")["mean"]
    (expected,) = run_protocol(telea, [CAT], [HOLE])
    assert row(document, "0", "Telea")["mean"] == pytest.approx(expected)


def test_unreadable_photos_are_reported(damgan, photos, tiny_weights):
    (photos / "aa.png").write_bytes(b"broken")
    ran = damgan("eval", "--images", photos, "--weights", tiny_weights, "--protocol", "center", "--json")
    assert ran.code == 1
    assert "aa.png" in ran.err
    document = json.loads(ran.out)
    assert [failure["name"] for failure in document["failed"]] == ["aa.png"]
    assert document["rows"][0]["count"] == 3
