"""The step across a hole's border, by examples/seam.py."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
seam_step = runpy.run_path(str(EXAMPLES / "seam.py"))["seam_step"]


def ramp_with_hole(shift):
    image = np.repeat(np.arange(0, 120, 2, dtype=np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    hole = np.zeros((40, 60), bool)
    hole[10:30, 20:40] = True
    image[hole] += np.uint8(shift)
    return image, hole


def test_an_untouched_photo_has_natural_steps_at_the_border():
    image, hole = ramp_with_hole(0)
    across, natural = seam_step(image, hole)
    assert across == pytest.approx(1)  # 2 levels to the left and right, 0 above and below
    assert 0.8 < natural < 1.2


def test_a_shifted_fill_steps_by_its_shift():
    image, hole = ramp_with_hole(30)
    across, natural = seam_step(image, hole)
    # 20 rows with steps of 32 and 28, 20 columns with steps of 30 twice
    assert across == pytest.approx(30)
    assert 0.8 < natural < 1.2


def test_without_a_border_there_is_no_step():
    image, hole = ramp_with_hole(0)
    across, natural = seam_step(image, np.zeros_like(hole))
    assert np.isnan(across)
    assert np.isnan(natural)
    assert np.isnan(seam_step(image, np.ones_like(hole))).all()


def test_pixels_far_from_the_hole_do_not_count():
    image, hole = ramp_with_hole(0)
    noisy = image.copy()
    noisy[:4] = np.random.default_rng(0).integers(0, 256, (4, 60, 3))
    assert seam_step(noisy, hole) == seam_step(image, hole)


def test_as_a_script(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["seam.py", str(EXAMPLES / "portrait.png"), str(EXAMPLES / "portrait-mask.png")]
    )
    runpy.run_path(str(EXAMPLES / "seam.py"), run_name="__main__")
    assert "ratio" in capsys.readouterr().out
