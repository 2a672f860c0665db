"""``damgan inpaint`` in several processes, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from damgan_cli.inpainting import folder
from tests.cli.inpaint_files import HOLE, files, stop_after_one
from tests.files import save
from tests.photos.photo_kinds import noise


@pytest.mark.skipif(os.name == "nt", reason="torchrun")
def test_several_processes_do_one_run(inpaint, tree, tiny_weights, tmp_path):
    for number in range(5):
        save(tmp_path / "photos" / "more" / f"{number}.png", noise(seed=10 + number))
        save(tmp_path / "masks" / "more" / f"{number}.png", HOLE)
    (tmp_path / "photos" / "more" / "3.png").write_bytes(b"no image")
    assert inpaint("photos/a.png", "--mask", "masks/a.bmp", "-o", "out/a.png").code == 0
    assert inpaint("photos", "--mask", "masks", "-o", "alone").code == 1
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "damgan_cli", "inpaint", "photos", "--mask", "masks", "-o", "out", "--json"]
    done = subprocess.run(
        [*command, "--weights", str(tiny_weights)],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(folder.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["counts"] == {"filled": 6, "copied": 0, "skipped": 1, "failed": 1, "planned": 0}
    assert [Path(entry["photo"]).name for entry in report["files"]] == [
        *("0.png", "1.png", "2.png", "3.png", "4.png", "b.png", "c.png"),
        "a.png",  # skipped
    ]
    assert report["files"][3]["status"] == "failed"
    assert done.stderr.count("more/3.png is not an image") == 1
    assert done.stderr.count("6 filled, 1 skipped, 1 failed in") == 1
    assert files("out") == files("alone")
    for name in files("out"):
        assert Path("out", name).read_bytes() == Path("alone", name).read_bytes()


# ------------------------------------------------------------------------------------------ interruption
def test_interruption_keeps_what_is_done(inpaint, tree, monkeypatch):
    stop_after_one(monkeypatch)
    result = inpaint("photos", "--mask", "masks", "-o", "out", "--batch-size", 1, "--json")
    assert result.code == 130
    assert "interrupted: 1 filled" in result.err
    assert json.loads(result.out)["counts"]["filled"] == 1
    assert "a.png" in files("out")


def test_interruption_while_planning_or_loading(inpaint, photo, mask, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    arguments = ("photo.png", "--mask", "mask.png", "--json")
    monkeypatch.setattr("damgan_cli.cli.inpaint._load_inpainter", interrupted)
    result = inpaint(*arguments)
    assert result.code == 130
    assert "interrupted: nothing done in" in result.err
    assert [entry["status"] for entry in json.loads(result.out)["files"]] == ["planned"]
    for early in ("damgan_cli.inpainting.jobs.plan_jobs", "typer.core.TyperGroup.make_context"):
        monkeypatch.setattr(early, interrupted)
        result = inpaint(*arguments)
        assert (result.code, result.err) == (130, "interrupted\n")
        assert json.loads(result.out)["error"]["message"] == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_in_a_real_run(tree, tiny_weights, tmp_path):
    big = np.tile(noise(), (14, 10, 1))
    for number in range(60):
        save(tmp_path / "many" / f"{number:03}.png", big)
    save(tmp_path / "big.png", np.tile(HOLE, (14, 10)))
    command = [sys.executable, "-m", "damgan_cli", "inpaint", "many", "--mask", "big.png", "-o", "out"]
    environment = {**os.environ, "PYTHONPATH": str(Path(folder.__file__).parents[2])}
    process = subprocess.Popen(
        [*command, "--weights", str(tiny_weights)],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background has them ignore SIGINT, which children inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors
    written = files(tmp_path / "out")
    assert 0 < len(written) < 60
    for name in written:
        assert name.endswith(".png")
        assert Image.open(tmp_path / "out" / name).convert("RGB").size == big.shape[1::-1]
