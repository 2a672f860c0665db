"""Means and reports."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from damgan_cli.evaluation.report import Row, csv_text, json_images, mean_over_sets, mean_scores, table

IDENTICAL = {"psnr": math.inf, "ssim": 1.0, "l1": 0.0}


def test_identical_pairs_do_not_enter_the_psnr_mean():
    scores = [{"psnr": 20.0, "ssim": 0.5, "l1": 4.0}, {"psnr": 30.0, "ssim": 0.9, "l1": 2.0}, IDENTICAL]
    assert mean_scores(scores) == pytest.approx({"psnr": 25, "ssim": 0.8, "l1": 2})
    row = Row("ours", "center", ["a", "b", "c"], scores)
    assert row.identical == 1
    assert row.mean == mean_scores(scores)


def test_metrics_without_a_finite_value_have_no_mean():
    assert mean_scores([IDENTICAL]) == {"ssim": 1, "l1": 0}
    assert mean_scores([]) == {}
    undefined = {"psnr": 20.0, "ssim": 0.5, "l1": 4.0, "hole_ssim": math.nan}
    assert "hole_ssim" not in mean_scores([undefined])


def test_mask_sets_weigh_the_same_whatever_their_size():
    rows = [
        Row("ours", "easy", ["a", "b"], [{"psnr": 40.0, "ssim": 1.0, "l1": 0.0}] * 2),
        Row("ours", "hard", ["a"], [{"psnr": 20.0, "ssim": 0.5, "l1": 1.0}]),
        Row("theirs", "easy", ["a"], [{"psnr": 10.0, "ssim": 0.1, "l1": 9.0}]),
    ]
    assert mean_over_sets(rows) == {
        "ours": {"psnr": 30, "ssim": 0.75, "l1": 0.5},
        "theirs": {"psnr": 10, "ssim": 0.1, "l1": 9},
    }


def test_json_has_no_infinities():
    scores = [{"psnr": 20.0, "ssim": 0.5, "l1": 4.0, "hole_ssim": math.nan}, {**IDENTICAL, "hole_ssim": 1.0}]
    assert json_images(Row("ours", "", ["a", "b"], scores)) == {
        "count": 2,
        "identical": 1,
        "mean": {"psnr": 20.0, "ssim": 0.75, "l1": 2.0, "hole_ssim": 1.0},
        "images": [
            {"name": "a", "identical": False, "psnr": 20.0, "ssim": 0.5, "l1": 4.0, "hole_ssim": None},
            {"name": "b", "identical": True, "psnr": None, "ssim": 1.0, "l1": 0.0, "hole_ssim": 1.0},
        ],
    }


def test_csv_has_a_line_per_image():
    scores = [{"psnr": 20.0, "ssim": 0.5, "l1": 4.0, "hole_ssim": math.nan}, {**IDENTICAL, "hole_ssim": 1.0}]
    rows = [Row("ours", "1-10 %", ["a,b", "c"], scores)]
    assert csv_text(rows) == (
        "method,masks,name,psnr,ssim,l1,hole_ssim\n"
        'ours,1-10 %,"a,b",20.000000,0.500000,4.000000,\n'
        "ours,1-10 %,c,inf,1.000000,0.000000,1.000000\n"
    )


def test_table_groups_by_masks():
    lines = [
        ("center", "printed", {"psnr": 24.77, "ssim": 0.903}),
        ("center", "ours", {"psnr": 25.318, "ssim": 0.86849, "l1": 1.25}),
        ("freeform", "ours", {"ssim": 1.0, "l1": 0.0}),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(table(lines))
    text = [line.split() for line in console.file.getvalue().splitlines() if line.strip(" ─")]
    assert text == [
        ["masks", "method", "PSNR", "SSIM", "L1", "%"],
        ["center", "printed", "24.77", "0.9030", "–"],
        ["ours", "25.32", "0.8685", "1.25"],
        ["freeform", "ours", "–", "1.0000", "0.00"],
    ]
