"""``damgan weights`` through the command line, the Hub on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from damgan_cli.weights import find as weights_module
from tests.inpainting.tiny import save_tiny_weights
from tests.weights.hub_server import FILES, READ, WRITE


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    """One set of embedded weights, called faces."""
    save_tiny_weights(tmp_path / "embedded" / "faces")
    monkeypatch.setattr(weights_module, "_EMBEDDED", tmp_path / "embedded")
    return tmp_path / "embedded" / "faces"


@pytest.fixture
def published(hub, embedded):
    """The same weights as lab/faces on the Hub; gives the commit."""
    files = {name: (embedded / name).read_bytes() for name in FILES}
    config = json.loads(files["config.json"]) | {"license": "cc-by-4.0", "name": "faces"}
    return hub.add("lab/faces", {**files, "config.json": json.dumps(config).encode()}, "v1")


def json_of(result):
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document["version"] == 1
    return document


def test_list_shows_embedded_and_cached(damgan, hub, published, embedded):
    damgan("weights", "pull", "lab/faces")
    listed = json_of(damgan("weights", "list", "--json"))["weights"]
    assert [(entry["name"], entry["source"], entry["license"]) for entry in listed] == [
        ("faces", "embedded", None),
        (f"lab/faces@{published}", "hub", "cc-by-4.0"),
    ]
    assert listed[1]["revision"] == published
    assert listed[1]["refs"] == ["main"]
    assert listed[0]["bytes"] == sum(path.stat().st_size for path in embedded.iterdir())
    table = damgan("weights", "list")
    assert table.code == 0
    assert f"lab/faces  hub       {published[:12]} (main)" in table.out
    assert "not stated" in table.out
    assert "cc-by-4.0" in table.out


def test_damaged_embedded_weights_do_not_hide_the_others(damgan, hub, published, embedded):
    (embedded / "config.json").write_text("{")
    damgan("weights", "pull", "lab/faces")
    result = damgan("weights", "list")
    assert result.code == 0
    assert "lab/faces" in result.out
    assert "not JSON" in result.err


def test_info_shows_config_and_place(damgan, embedded):
    result = damgan("weights", "info", "faces")
    assert result.code == 0
    assert "source: embedded" in result.out
    assert "architecture: dam-gan" in result.out
    config = json_of(damgan("weights", "info", "faces", "--json"))["config"]
    assert config == json.loads((embedded / "config.json").read_text())


def test_pull_then_everything_works_offline(damgan, hub, published):
    result = damgan("weights", "pull", "lab/faces@v1")
    assert result.code == 0, result.err
    folder = Path(result.out.strip())
    assert (folder / "model.safetensors").is_file()
    assert published in result.err
    hub.stop()
    entry = json_of(damgan("weights", "info", "lab/faces@v1", "--offline", "--json"))
    assert (entry["revision"], entry["path"]) == (published, str(folder))
    assert damgan("weights", "verify", "lab/faces@v1").code == 0


def test_pull_repairs_what_verify_finds(damgan, hub, published):
    folder = Path(damgan("weights", "pull", "lab/faces").out.strip())
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").resolve().write_bytes(whole[:-1] + b"\x01")
    hub.log.clear()
    found = damgan("weights", "verify")
    assert found.code == 1
    assert "faces: ok (states no name, license" in found.out
    assert "corrupt" in found.out
    assert hub.log == []
    assert damgan("weights", "pull", "lab/faces").code == 0
    assert damgan("weights", "verify").code == 0
    assert (folder / "model.safetensors").read_bytes() == whole


def test_verify_names_everything_that_is_wrong(damgan, hub, embedded, tmp_path):
    document = damgan("weights", "verify", "faces", tmp_path, "lab/none", "--json")
    assert document.code == 1
    results = json.loads(document.out)["weights"]
    assert [result["ok"] for result in results] == [True, False, False]
    assert "cannot read" in results[1]["error"]
    assert "not in the local cache" in results[2]["error"]
    assert results[0]["lacks"] == ["name", "license", "preset", "training", "validation"]


def test_push_records_the_licence_and_publishes_the_same_bytes(damgan, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    save_tiny_weights(tmp_path / "run" / "weights")
    first = damgan("weights", "push", tmp_path / "run", "lab/mine")
    assert first.code == 2
    assert "no Hub repository lab/mine" in first.err
    assert "state no licence" in first.err
    arguments = ("--create", "--private", "--license", "cc0-1.0", "--dataset", "lab/photos")
    result = damgan("weights", "push", tmp_path / "run", "lab/mine", *arguments)
    assert result.code == 0, result.err
    repo = hub.repos["lab/mine"]
    assert repo.private
    assert result.out.strip() == f"{hub.endpoint}/lab/mine/commit/{repo.refs['main']}"
    local = {name: (tmp_path / "run" / "weights" / name).read_bytes() for name in FILES}
    assert {name: repo.commits[repo.refs["main"]][name] for name in FILES} == local
    assert b"license: cc0-1.0" in local["README.md"]
    folder = Path(damgan("weights", "pull", "lab/mine").out.strip())
    assert {name: (folder / name).read_bytes() for name in FILES} == local
    assert WRITE not in first.err + result.err + result.out
    again = json_of(damgan("weights", "push", tmp_path / "run", "lab/mine", "--json"))
    assert again["revision"] == repo.refs["main"]
    assert len(repo.commits) == 2  # the empty one of the creation, and ours


@pytest.mark.parametrize(
    ("arguments", "token", "message"),
    [
        (("push", "faces", "lab/mine", "--private"), WRITE, "--private only matters"),
        (("push", "faces", "lab/mine", "--license", "mit"), WRITE, "not yours to change"),
        (("push", "faces", "lab/mine", "--create"), None, "without a token"),
        (("push", "faces", "lab/mine", "--create"), READ, "does not allow your token"),
        (("push", "nowhere", "lab/mine"), WRITE, "no weights called 'nowhere'"),
        (("pull", "faces"), None, "is no Hub repository"),
        (("pull", "lab/none"), None, "no Hub repository lab/none"),
        (("info", "nowhere"), None, "no weights called 'nowhere'"),
    ],
)
def test_mistakes_are_told(damgan, hub, embedded, monkeypatch, arguments, token, message):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    result = damgan("weights", *arguments)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""
    assert not hub.created


def test_list_and_info_import_no_torch(embedded):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import damgan_cli.weights.find as w\n"
        "w._EMBEDDED = Path(sys.argv[1])\n"
        "from damgan_cli.cli import app\n"
        "for line in ('weights list', 'weights info faces'):\n"
        "    app(line.split(), standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, str(embedded.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
