"""Standard streams that are closed, full or read no further, and what --json says when nothing was done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import damgan_cli
from tests.cli.inpaint_files import HOLE
from tests.files import save
from tests.photos.photo_kinds import noise

posix = pytest.mark.skipif(os.name == "nt", reason="a shell and its redirections")
DAMGAN = f"'{sys.executable}' -m damgan_cli"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("results", "truths"):
        for number in range(3):
            save(f"{name}/{number}.png", noise(seed=number))
    save("photo.png", noise())
    save("mask.png", HOLE)


def shell(line):
    """Run a line of bash, whose last word on stdout is the exit code of damgan."""
    environment = {**os.environ, "PYTHONPATH": str(Path(damgan_cli.__file__).parents[1])}
    ran = subprocess.run(
        ["bash", "-c", line], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    return int(ran.stdout.split()[-1]), ran.stderr


EVAL = f"{DAMGAN} eval results truths -q --csv scores.csv --report page --workers 1"


@posix
@pytest.mark.parametrize("command", [EVAL, f"{EVAL} --json"])
def test_what_was_asked_for_is_done_before_a_broken_pipe_which_is_no_error(command):
    code, errors = shell(f"{command} | true; echo ${{PIPESTATUS[0]}}")
    assert (code, errors) == (0, "")
    assert Path("scores.csv").is_file()
    assert Path("page/index.html").is_file()


@posix
@pytest.mark.parametrize(
    ("stream", "reason"), [pytest.param(">/dev/full", "No space left", marks=FULL), (">&-", "Bad file")]
)
def test_a_full_or_closed_stdout_is_one_line_after_the_work(stream, reason):
    code, errors = shell(f"({EVAL} {stream}); echo $?")
    assert code == 1
    assert errors.startswith(f"error: The result cannot be written to stdout ({reason}")
    assert errors.count("error:") == 1
    assert Path("page/index.html").is_file()
    code, errors = shell(f"({DAMGAN} mask center -o masks --json {stream}); echo $?")
    assert code == 1
    assert Path("masks/manifest.csv").is_file()


@posix
@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", pytest.param("2>/dev/full", marks=FULL)]
)
def test_streams_that_are_not_needed_are_not_missed(streams):
    code, _ = shell(f"({DAMGAN} mask center -o masks {streams}); echo $?")
    assert code == 0
    assert Path("masks/00000.png").read_bytes().startswith(b"\x89PNG")


@posix
def test_help_that_is_read_no_further():
    code, errors = shell(f"{DAMGAN} inpaint --help | true; echo ${{PIPESTATUS[0]}}")
    assert (code, errors) == (0, "")


def test_scores_are_printed_though_they_cannot_be_saved(damgan, monkeypatch):
    from damgan_cli.errors import ImageFileError

    def full(*_):
        raise ImageFileError("Cannot write scores.csv (No space left on device).", "Free some space.")

    monkeypatch.setattr("damgan_cli.runtime.atomic.write_atomically", full)
    result = damgan("eval", "results", "truths", "--csv", "scores.csv", "--json", "--workers", 1)
    assert result.code == 1
    assert "Free some space" in result.err
    assert json.loads(result.out)["version"]


# ------------------------------------------------------------------------------------------ --json
@pytest.mark.parametrize(
    ("arguments", "command", "words"),
    [
        (("inpaint", "gone.png", "--mask", "mask.png"), "inpaint", "gone.png does not exist"),
        (("inpaint", "photo.png"), "inpaint", "--mask"),
        (("inpaint", "photo.png", "--mask", "mask.png", "--fit", "odd"), "inpaint", "odd"),
        (("mask", "nonsense", "-o", "masks"), "mask", "nonsense"),
        (("eval", "results"), "eval", "nothing to score"),
        (("export", "gone"), "export", "gone"),
        (("weights", "info", "gone"), "weights info", "gone"),
        (("weights", "nonsense"), "weights nonsense", "nonsense"),
    ],
)
def test_json_also_says_what_is_wrong_with_a_command(damgan, arguments, command, words):
    result = damgan(*arguments, "--json")
    assert result.code == 2
    document = json.loads(result.out)
    assert (document["version"], document["command"], document["exit_code"]) == (1, command, 2)
    assert words in document["error"]["message"]
    assert damgan(*arguments).out == ""


@posix
def test_an_early_ctrl_c_prints_json_too():
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Importing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Importing())\n"
        "from damgan_cli.__main__ import main\n"
        "main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "inpaint", "photo.png", "--json"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(damgan_cli.__file__).parents[1])},
    )
    assert (ran.returncode, ran.stderr) == (130, "interrupted\n")
    assert json.loads(ran.stdout)["error"]["message"] == "interrupted"
