"""What help says, what a shell completes, and what a misspelt choice is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import damgan_cli
from damgan_cli.weights.find import available_weights

COMMANDS = [
    [], ["inpaint"], ["paint"], ["mask"], ["eval"], ["train"], ["export"], ["bench"], ["weights"],
    *(["weights", name] for name in ("list", "info", "pull", "push", "verify")),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_no_python_types(damgan, monkeypatch, command):
    """A flag takes no value: `--overwrite true` is an error, so <bool> beside it would be a lie."""
    monkeypatch.setenv("COLUMNS", "160")
    text = damgan(*command, "--help").out
    assert "--help" in text
    assert re.findall(r"<.*?>|\bbool\b|\bPath\b|\bstr\b", text) == []


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["inpaint", "a.png", "--mask", "b.png", "--fit", "atuo"], "Did you mean auto? Choose from auto"),
        (["mask", "centre", "-o", "x.png"], "Did you mean center?"),
        (["eval", "--images", ".", "--protocol", "papper"], "Did you mean paper?"),
        (["eval", "a", "b", "--metrics", "lpips-alx"], "Did you mean lpips-alex?"),
        (["eval", "a", "b", "--ssim", "gausian-valid"], "Did you mean gaussian-valid?"),
        (["train", ".", "-o", "x", "--preset", "papr", "--images", "1"], "Did you mean paper?"),
        (["weights", "info", "sceens"], "Did you mean scenes?"),
    ],
)
def test_a_misspelt_choice_gets_a_suggestion(damgan, tmp_path, monkeypatch, arguments, suggestion):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    result = damgan(*arguments)
    assert result.code == 2
    assert suggestion in result.err
    assert "Value error" not in result.err


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("inpaint a.png --weights ", {*available_weights(), "mine/"}),
        ("inpaint a.png --weights s", {"scenes"}),
        ("weights info mi", {"mine/"}),
        ("export f", {"faces"}),
        ("train x --init sc", {"scenes"}),
        ("train x --preset ", {"paper", "best", "gpu"}),
        ("eval --device c", {"cpu", "cuda"}),
        ("inpaint a.png --device ", {"auto", "cpu", "cuda", "mps"}),
        ("inpaint a.png --dtype b", {"bfloat16"}),
        ("inpaint a.png --fit ", {"auto", "smooth", "native"}),
        ("mask irr", {"irregular", "irregular-inside", "irregular-border"}),
        ("mask from-", {"from-color", "from-alpha", "from-diff"}),
    ],
)
def test_completion_offers_values(tmp_path, line, offered):
    (tmp_path / "mine").mkdir()
    words = f"damgan {line}"
    completing = {
        "_DAMGAN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    program = "from damgan_cli.cli import app; app(prog_name='damgan')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **completing},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == offered, done.stderr


def test_dir_shows_the_python_face():
    assert {"Inpainter", "__version__"} <= set(dir(damgan_cli))
