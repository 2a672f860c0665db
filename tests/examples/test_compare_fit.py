"""examples/compare_fit.py, with its own weights and a perceptual network of random ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import skimage.data
from safetensors.torch import save_file

from damgan_cli.photos.write import write_png
from tests.evaluation.random_lpips import random_weights

EXAMPLE = Path(__file__).parents[2] / "examples" / "compare_fit.py"


def test_every_way_of_filling_has_its_row(tmp_path):
    (tmp_path / "photos").mkdir()
    write_png(tmp_path / "photos" / "a.png", skimage.data.astronaut()[:280, :280])
    save_file(random_weights("alex"), tmp_path / "lpips-alex.safetensors")
    arguments = ["photos", "--features", ".", "-o", "sheets"]
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    _, _, *rows = ran.stdout.splitlines()
    assert len(rows) == 2 * 7
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {"a-square.png", "a-irregular.png"}
    scores = {tuple(row.split(" | ")[:2]): row.split(" | ")[2:-1] for row in rows}  # but the time
    # holes that are too deep are reduced, then enlarged
    assert scores["| square (1)", "pyramid"] != scores["| square (1)", "native"]
