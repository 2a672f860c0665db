"""Means and reports."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from damgan_cli.evaluation.report import (
    Line,
    Row,
    comparison_table,
    comparisons,
    csv_text,
    json_row,
    mean_over_sets,
    mean_scores,
    ranked,
    table,
)

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
    document = json_row(Row("ours", "", ["a", "b"], scores, {"fid": 3.5}))
    json.dumps(document, allow_nan=False)
    intervals = document.pop("interval")
    assert intervals.keys() == {"ssim", "l1"}
    assert 0.5 <= intervals["ssim"][0] <= 0.75 <= intervals["ssim"][1] <= 1
    assert document == {
        "method": "ours",
        "masks": None,
        "count": 2,
        "identical": 1,
        "mean": {"psnr": 20.0, "ssim": 0.75, "l1": 2.0, "fid": 3.5, "hole_ssim": 1.0},
        "by_ratio": [],
        "images": [
            {"name": "a", "identical": False, "psnr": 20.0, "ssim": 0.5, "l1": 4.0, "hole_ssim": None},
            {"name": "b", "identical": True, "psnr": None, "ssim": 1.0, "l1": 0.0, "hole_ssim": 1.0},
        ],
    }


def test_csv_has_a_line_per_image():
    scores = [{"psnr": 20.0, "ssim": 0.5, "l1": 4.0, "hole_ssim": math.nan}, {**IDENTICAL, "hole_ssim": 1.0}]
    rows = [Row("ours", "1-10 %", ["a,b", "c"], scores)]
    assert csv_text(rows) == (
        "version,method,masks,name,psnr,ssim,l1,hole_ssim\n"
        '2,ours,1-10 %,"a,b",20.000000,0.500000,4.000000,\n'
        "2,ours,1-10 %,c,inf,1.000000,0.000000,1.000000\n"
    )


def test_table_groups_by_masks():
    lines = [
        Line("center", "printed", {"psnr": 24.77, "ssim": 0.903}),
        Line("center", "ours", {"psnr": 25.318, "ssim": 0.86849, "l1": 1.25}, {"psnr": (25.0, 25.5)}),
        Line("freeform", "ours", {"ssim": 1.0, "l1": 0.0}),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(table(lines))
    text = [line.split() for line in console.file.getvalue().splitlines() if line.strip(" ─")]
    assert text == [
        ["masks", "method", "PSNR", "SSIM", "L1", "%"],
        ["center", "printed", "24.77", "0.9030", "–"],
        ["ours", "25.32", "±.2", "0.8685", "1.25"],
        ["freeform", "ours", "–", "1.0000", "0.00"],
    ]


def rows_of(**levels):
    """Methods whose PSNR on twelve images is a level and the same noise."""
    noise = [0.3, -0.2, 0.1, 0.4, -0.5, 0.2, 0.0, -0.1, 0.25, -0.35, 0.15, -0.25]
    return [
        Row(
            method,
            "",
            [f"{i}" for i in range(len(noise))],
            [{"psnr": level + 8 * n + (0.1 * n if method != "best" else 0), "ssim": 0.5} for n in noise],
        )
        for method, level in levels.items()
    ]


def test_methods_are_ranked_and_compared_image_by_image():
    rows = rows_of(worst=20.0, best=25.0, close=24.995)
    assert [row.method for row in ranked(rows)] == ["best", "close", "worst"]
    close, worst = comparisons(rows)
    assert (close["method"], close["to"]) == ("close", "best")
    assert worst["difference"]["psnr"]["mean"] == pytest.approx(-5, abs=0.01)
    # The images differ by 5 dB among themselves, but each is worse by about the same: certain all the same.
    low, high = worst["difference"]["psnr"]["low"], worst["difference"]["psnr"]["high"]
    assert -5.1 < low < high < -4.9
    assert worst["difference"]["psnr"]["p"] < 0.01
    assert close["difference"]["psnr"]["p"] > 0.3
    assert close["difference"]["ssim"] == {"mean": 0, "low": 0, "high": 0, "p": 1, "count": 12}
    console = Console(width=80, file=io.StringIO())
    console.print(comparison_table([close, worst]))
    assert "difference to best" in console.file.getvalue()
    assert "-5.00" in console.file.getvalue()


def test_only_images_that_both_have_are_compared():
    rows = rows_of(best=25.0, other=20.0)
    del rows[0].names[0], rows[0].scores[0]
    rows[1].scores[3]["psnr"] = math.inf
    (entry,) = comparisons(rows)
    assert entry["difference"]["psnr"]["count"] == 10
    assert entry["difference"]["ssim"]["count"] == 11


def test_a_perfect_method_ranks_first():
    perfect = Row("perfect", "", ["a"], [dict(IDENTICAL)])
    assert [row.method for row in ranked([*rows_of(other=60.0), perfect])] == ["perfect", "other"]


def test_rows_split_by_hole_share():
    shares = [0.0, 0.005, 0.01, 0.0101, 0.1, 0.101, 0.6, 0.61, 1.0]
    scores = [{"psnr": 20.0 + i, "ssim": 0.5, "l1": 1.0, "hole_ratio": r} for i, r in enumerate(shares)]
    names = [f"{share}" for share in shares]
    parts = {row.masks: row.names for row in Row("ours", "", names, scores).by_hole_share()}
    assert parts == {
        "0-1 %": ["0.0", "0.005", "0.01"],
        "1-10 %": ["0.0101", "0.1"],
        "10-20 %": ["0.101"],
        "50-60 %": ["0.6"],
        "over 60 %": ["0.61", "1.0"],
    }
