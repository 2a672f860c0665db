"""``damgan eval RESULTS GROUND_TRUTH`` through the command line."""

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

from damgan_cli.evaluation.metrics import definitions, score
from tests.cli.eval_files import CAT, COFFEE, HOLE, SHARE, spoiled
from tests.files import save


@pytest.fixture
def folders(tmp_path):
    """Results, truths and masks of two photos, extensions mixed, one in a subfolder."""
    for name, photo in (("a", CAT), ("sub/b", COFFEE)):
        save(tmp_path / "results" / f"{name}.png", spoiled(photo))
        save(tmp_path / "truths" / f"{name}.bmp", photo)
        save(tmp_path / "masks" / f"{name}.png", HOLE)
    return tmp_path


# ------------------------------------------------------------------------------------------ files
def test_scores_folders_as_json(damgan, folders):
    ran = damgan("eval", folders / "results", folders / "truths", "--mask", folders / "masks", "--json")
    assert (ran.code, ran.err.strip()) == (0, "")
    document = json.loads(ran.out)
    expected = [score(spoiled(photo), photo, HOLE) for photo in (CAT, COFFEE)]
    (only,) = document.pop("rows")
    assert only.pop("images") == [
        {"name": "a", "identical": False, **expected[0], "hole_ratio": SHARE},
        {"name": "sub/b", "identical": False, **expected[1], "hole_ratio": SHARE},
    ]
    assert only["mean"] == pytest.approx(
        {key: (expected[0][key] + expected[1][key]) / 2 for key in expected[0]}
    )
    low, high = sorted(one["psnr"] for one in expected)
    assert low <= only["interval"]["psnr"][0] < only["mean"]["psnr"] < only["interval"]["psnr"][1] <= high
    (part,) = only.pop("by_ratio")
    assert (part["masks"], part["count"], part["mean"]) == ("10-20 %", 2, only["mean"])
    del only["mean"], only["interval"]
    assert only == {
        "results": str(folders / "results"), "method": "results", "masks": None, "count": 2, "identical": 0,
    }  # fmt: skip
    assert document.pop("definitions").items() >= definitions().items()
    assert document == {
        "version": 2,
        "mode": "files",
        "ground_truth": str(folders / "truths"),
        "mask": str(folders / "masks"),
        "ssim": "gaussian-valid",
        "ranking": ["results"],
        "comparisons": [],
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
    assert json.loads(ran.out)["rows"][0]["mean"] == score(spoiled(CAT), CAT, HOLE)


def test_one_mask_for_a_folder_and_inverted(damgan, folders):
    inverted = save(folders / "inverted.png", ~HOLE)
    ran = damgan(
        "eval", folders / "results", folders / "truths", "--mask", inverted, "--invert-mask", "--json"
    )
    images = json.loads(ran.out)["rows"][0]["images"]
    assert images[1]["hole_psnr"] == score(spoiled(COFFEE), COFFEE, HOLE)["hole_psnr"]


def test_identical_pairs_are_counted_apart(damgan, folders):
    save(folders / "results" / "a.png", CAT)
    ran = damgan("eval", folders / "results", folders / "truths", "--json")
    (only,) = json.loads(ran.out)["rows"]
    assert only["identical"] == 1
    assert only["images"][0]["psnr"] is None
    assert only["mean"]["psnr"] == score(spoiled(COFFEE), COFFEE)["psnr"]
    assert "1 identical to the truth" in damgan("eval", folders / "results", folders / "truths").out


def test_csv(damgan, folders):
    save(folders / "results" / "a.png", CAT)
    out = folders / "new" / "scores.csv"
    assert damgan("eval", folders / "results", folders / "truths", "--csv", out).code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "sub/b"]
    assert float(rows[0]["psnr"]) == math.inf
    assert float(rows[1]["ssim"]) == pytest.approx(score(spoiled(COFFEE), COFFEE)["ssim"], abs=1e-6)


def test_a_file_that_fails_is_reported_and_the_rest_go_on(damgan, folders):
    save(folders / "results" / "a.png", CAT[:, :100])
    (folders / "results" / "c.png").write_bytes(b"broken")
    save(folders / "truths" / "c.png", CAT)
    ran = damgan("eval", folders / "results", folders / "truths", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert [image["name"] for image in document["rows"][0]["images"]] == ["sub/b"]
    assert [failure["name"] for failure in document["failed"]] == ["a", "c"]
    assert "a: The result is 100x128 but the truth is 128x128." in ran.err
    assert "Traceback" not in ran.err


def test_all_failed(damgan, folders):
    for name in ("a.png", "sub/b.png"):
        save(folders / "results" / name, CAT[:5])
    ran = damgan("eval", folders / "results", folders / "truths")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("error:") == 2


def test_gray_jpeg_masks_warn_once_each(damgan, folders):
    smooth = cv2.GaussianBlur(HOLE.astype(np.uint8) * 255, (0, 0), 2)
    save(folders / "smooth.png", smooth)
    ran = damgan("eval", folders / "results", folders / "truths", "--mask", folders / "smooth.png")
    assert ran.code == 0
    assert ran.err.count("warning:") == 1
    assert "smooth.png" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to score"),
        (["results", "truths", "--report", "masks"], "--report masks is not empty"),
        (["results", "truths", "--metrics", "lpips-alex,wild"], "--metrics wild is not known"),
        (["results", "truths", "--ssim", "wild"], "--ssim wild is not known"),
        (["results", "truths", "--feature-weights", "masks"], "needs something to use them"),
        (["results", "truths", "--metrics", "fid", "--feature-weights", "masks"], "are not in masks"),
        (
            ["results", "truths", "--metrics", "lpips-vgg", "--feature-weights", "masks"],
            "lpips-vgg16.safetensors",
        ),
        (["results"], "nothing to score"),
        (["results", "nowhere"], "nowhere does not exist"),
        (["results", "truths/a.bmp"], "a.bmp is a file but"),
        (["results", "truths", "--mask", "nowhere"], "nowhere does not exist"),
        (["results/a.png", "truths/a.bmp", "--mask", "masks"], "a.bmp is a file but"),
        (["results", "masks/sub"], "results without truths: a"),
        (["results", "truths", "--mask", "masks/sub"], "truths without masks: a"),
        (["results", "truths", "--csv", "masks"], "it is a folder"),
        (["results", "truths", "--weights", "faces"], "--weights needs photos"),
        (["results", "truths", "--protocol", "bins"], "--protocol needs photos"),
        (["results", "truths", "--limit", "3"], "--limit needs photos"),
        (["results", "truths", "--save", "kept"], "--save needs photos"),
        (["results", "truths", "--images", "truths"], "cannot be scored together"),
        (["--images", "truths", "--protocol", "wild"], "wild"),
        (
            ["--images", "truths", "--protocol", "center", "--mask", "masks"],
            "--mask does not go with --protocol center",
        ),
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


def test_several_results_are_ranked_and_compared(damgan, folders):
    for name, photo in (("a", CAT), ("sub/b", COFFEE)):
        save(folders / "better" / f"{name}.png", np.where(HOLE[..., None], photo // 2 * 2, photo))
    run = ("eval", folders / "results", folders / "better", folders / "truths", "--mask", folders / "masks")
    document = json.loads(damgan(*run, "--json").out)
    assert [one["method"] for one in document["rows"]] == ["results", "better"]
    assert document["ranking"] == ["better", "results"]
    (entry,) = document["comparisons"]
    means = {one["method"]: one["mean"]["psnr"] for one in document["rows"]}
    assert (entry["method"], entry["to"]) == ("results", "better")
    assert entry["difference"]["psnr"]["mean"] == pytest.approx(means["results"] - means["better"])
    text = damgan(*run).out
    assert text.index("better") < text.index("results")
    assert "difference to better" in text
    assert f"{means['results'] - means['better']:+.2f}" in text


def test_folders_of_the_same_name_are_told_apart(damgan, folders):
    (folders / "other").mkdir()
    (folders / "results").rename(folders / "other" / "results")
    save(folders / "results" / "a.png", CAT)
    save(folders / "results" / "sub" / "b.png", COFFEE)
    ran = damgan("eval", folders / "other" / "results", folders / "results", folders / "truths", "--json")
    ranking = json.loads(ran.out)["ranking"]
    assert ranking == [str(folders / "results"), str(folders / "other" / "results")]


def test_a_table_by_hole_share(damgan, folders):
    save(folders / "masks" / "sub" / "b.png", np.pad(HOLE[25:75, 25:75], 39))
    run = ("eval", folders / "results", folders / "truths", "--mask", folders / "masks")
    parts = json.loads(damgan(*run, "--json").out)["rows"][0]["by_ratio"]
    assert [(part["masks"], part["count"]) for part in parts] == [("1-10 %", 1), ("10-20 %", 1)]
    text = damgan(*run, "-q").out
    assert text.index("all") < text.index("1-10 %") < text.index("10-20 %")
    assert f"{parts[0]['mean']['psnr']:.2f}" in text


def test_other_definitions_of_ssim(damgan, folders):
    for kind in ("skimage-uniform7", "edgeconnect-gray51"):
        ran = damgan("eval", folders / "results", folders / "truths", "--ssim", kind, "--json")
        document = json.loads(ran.out)
        expected = score(spoiled(CAT), CAT, ssim_kind=kind)
        assert document["rows"][0]["images"][0]["ssim"] == expected["ssim"]
        assert (document["ssim"], kind in document["definitions"]["ssim"]) == (kind, True)


def test_ms_ssim(damgan, folders):
    large = cv2.resize(data.chelsea(), (200, 180))
    save(folders / "r.png", 255 - large)
    save(folders / "t.png", large)
    ran = damgan("eval", folders / "r.png", folders / "t.png", "--metrics", "ms-ssim", "--json")
    expected = score(255 - large, large, multi_scale=True)
    assert json.loads(ran.out)["rows"][0]["mean"] == pytest.approx(expected)


def test_what_was_saved_in_another_form_is_refused(damgan, folders):
    gray = cv2.cvtColor(CAT, cv2.COLOR_RGB2GRAY)
    deep = CAT[..., ::-1].astype(np.uint16) * 257
    save(folders / "results" / "a.png", gray)
    cv2.imwrite(str(folders / "results" / "sub" / "b.png"), deep)
    ran = damgan("eval", folders / "results", folders / "truths")
    assert (ran.code, ran.out) == (1, "")
    assert "a: The result is 8-bit gray but the truth is 8-bit RGB." in ran.err
    assert "sub/b: The result is 16-bit RGB but the truth is 8-bit RGB." in ran.err
    save(folders / "truths" / "a.bmp", gray)
    both_gray = damgan("eval", folders / "results/a.png", folders / "truths/a.bmp")
    assert (both_gray.code, "1 identical" in both_gray.out) == (0, True)


def test_float_images_which_may_hold_nan_are_refused(damgan, folders):
    Image.fromarray(np.full((128, 128), np.nan, np.float32)).save(folders / "results" / "nan.tiff")
    save(folders / "truths" / "nan.png", CAT)
    ran = damgan("eval", folders / "results", folders / "truths", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert [failure["name"] for failure in document["failed"]] == ["nan"]
    assert document["rows"][0]["count"] == 2


def test_scores_do_not_depend_on_the_number_of_processes(damgan, folders):
    run = ("eval", folders / "results", folders / "truths", "--mask", folders / "masks", "--json")
    (folders / "results" / "broken.png").write_bytes(b"broken")
    save(folders / "truths" / "broken.png", CAT)
    save(folders / "masks" / "broken.png", HOLE)
    one, two = (damgan(*run, "--workers", workers) for workers in (1, 2))
    assert one == two
    assert one.code == 1


def test_lpips(damgan, folders, tmp_path):
    from safetensors.torch import save_file

    from damgan_cli.perceptual import Lpips
    from tests.evaluation.random_lpips import random_weights

    for backbone in ("alex", "vgg16"):
        save_file(random_weights(backbone), tmp_path / f"lpips-{backbone}.safetensors")
    run = ("eval", folders / "results", folders / "truths", "--metrics", "lpips-alex,lpips-vgg", "--json")
    document = json.loads(damgan(*run, "--feature-weights", tmp_path).out)
    network = Lpips("alex", random_weights("alex"))
    pair = [torch_image(photo) for photo in (spoiled(COFFEE), COFFEE)]
    (only,) = document["rows"]
    assert only["images"][1]["lpips_alex"] == pytest.approx(network(*pair).item(), abs=1e-5)
    assert only["mean"]["lpips_vgg"] == pytest.approx(np.mean([i["lpips_vgg"] for i in only["images"]]))
    assert "Zhang" in document["definitions"]["lpips_alex"]


def torch_image(photo):
    import torch

    return torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("metric", ["lpips-vgg", "fid"])
def test_networks_that_cannot_be_fetched_are_one_message(damgan, folders, monkeypatch, metric):
    monkeypatch.setenv("TORCH_HOME", str(folders / "torch"))
    ran = damgan("eval", folders / "results", folders / "truths", "--metrics", metric, "--offline")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be fetched" in ran.err
    assert "--feature-weights" in ran.err


def test_an_empty_folder(damgan, folders):
    (folders / "empty").mkdir()
    for run in ((folders / "empty", folders / "truths"), (folders / "results", folders / "empty")):
        ran = damgan("eval", *run)
        assert ran.code == 2
        assert "empty" in ran.err
