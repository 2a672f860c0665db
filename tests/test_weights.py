"""Weights: the round trip, the embedded ones, the Hub through a loopback server, and all ways to be wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from damgan_cli.errors import WeightsError
from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.weights import DEFAULT_WEIGHTS, available_weights, load_weights, save_weights

SMALL = GeneratorConfig((4, 4, 4), (2,), (4, 4, 4, 4), (2,))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "tiny", Generator(SMALL), {"name": "tiny"}, "# tiny\n")
    return tmp_path / "tiny"


def test_round_trip_keeps_every_parameter_to_half_precision(folder):
    torch.manual_seed(0)
    original = Generator(SMALL).state_dict()
    weights = load_weights(folder)
    assert (weights.source, weights.revision, weights.info["name"]) == ("folder", None, "tiny")
    assert not weights.generator.training
    for name, tensor in weights.generator.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, original[name].half().float()), name


def test_saving_replaces_weights_but_nothing_else(folder, tmp_path):
    save_weights(folder, Generator(SMALL), {"name": "second"}, "# second\n")
    assert load_weights(folder).info["name"] == "second"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(b"precious")
    with pytest.raises(WeightsError, match="holds no weights"):
        save_weights(tmp_path / "photos", Generator(SMALL), {}, "")
    assert (tmp_path / "photos" / "one.png").read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos", "tiny"]


def test_embedded_default_is_whole_and_opens_no_socket():
    assert DEFAULT_WEIGHTS in available_weights()
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from damgan_cli.weights import *\n"
        "for name in available_weights():\n"
        "    weights = load_weights(name)\n"
        "    assert weights.source == 'embedded'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def corrupt(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def truncate(folder):
    data = (folder / "model.safetensors").read_bytes()[:100]
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, sha256=hashlib.sha256(data).hexdigest())


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, "corrupt"),
        (truncate, "do not fit"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot read"),
        (lambda f: (f / "config.json").unlink(), "cannot read"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "not of damgan"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "not of damgan"),
        (lambda f: edit(f, format_version=99), "format version 99"),
        (lambda f: edit(f, generator={**SMALL.to_dict(), "dam_channels": [4, 4, 4, 8]}), "do not fit"),
        (lambda f: edit(f, generator={**SMALL.to_dict(), "dam_dilations": [2, 2]}), "do not fit"),
        (lambda f: edit(f, generator=None), "do not fit"),
    ],
)
def test_damaged_or_foreign_weights_are_one_clear_error(folder, damage, message):
    damage(folder)
    with pytest.raises(WeightsError, match=message):
        load_weights(folder)


def test_unknown_names_and_files_are_told(folder):
    with pytest.raises(WeightsError, match="no weights called 'nonsense'"):
        load_weights("nonsense")
    with pytest.raises(WeightsError, match="is a file"):
        load_weights(folder / "config.json")


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as fetching two files takes: HEAD with commit and ETag, then GET."""

    files: dict[str, bytes]
    requests: list[str]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        self.requests.append(f"{self.command} {self.path}")
        org, repo, _, revision, name = (*self.path.strip("/").split("/"), *[""] * 5)[:5]
        error = None
        if (org, repo) != ("lab", "faces"):
            error = (401, "RepoNotFound")
        elif revision not in ("main", "v1", COMMIT):
            error = (404, "RevisionNotFound")
        elif name not in self.files:
            error = (404, "EntryNotFound")
        if error:
            self.send_response(error[0])
            self.send_header("X-Error-Code", error[1])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.files[name]
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(folder, tmp_path):
    """A Hub on loopback that holds lab/faces; returns a function that loads weights in a fresh process."""
    handler = type(
        "ThisHub", (Hub,), {"files": {p.name: p.read_bytes() for p in folder.iterdir()}, "requests": []}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = (
        "import sys\n"
        "from damgan_cli.weights import load_weights\n"
        "from damgan_cli.errors import DamganError\n"
        "try:\n"
        "    weights = load_weights(sys.argv[1], offline='offline' in sys.argv)\n"
        "    print(weights.source, weights.revision, weights.info['name'])\n"
        "except DamganError as problem:\n"
        "    print('ERROR', problem)\n"
    )

    def load(*arguments):
        # huggingface_hub reads its environment at import, hence the process of its own
        environment = {
            **{k: v for k, v in __import__("os").environ.items() if not k.startswith(("HF_", "HUGGING"))},
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hf-home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    load.requests = handler.requests
    load.stop = server.shutdown
    yield load
    server.shutdown()
    server.server_close()


def test_hub_weights_are_fetched_once_and_pinned(hub):
    assert hub("lab/faces") == f"hub {COMMIT} tiny"
    fetched = [request for request in hub.requests if request.startswith("GET")]
    assert sorted(request.rpartition("/")[2] for request in fetched) == ["config.json", "model.safetensors"]
    hub.requests.clear()
    assert hub("lab/faces") == f"hub {COMMIT} tiny"
    assert not [request for request in hub.requests if request.startswith("GET")]
    hub.requests.clear()
    assert hub("lab/faces", "offline") == f"hub {COMMIT} tiny"
    assert hub.requests == []
    assert hub("lab/faces@v1") == f"hub {COMMIT} tiny"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lab/nothing"], "no Hub repository lab/nothing"),
        (["lab/faces@v9"], "no revision v9"),
        (["lab/faces", "offline"], "not in the local cache"),
    ],
)
def test_hub_failures_are_told(hub, arguments, message):
    answer = hub(*arguments)
    assert answer.startswith("ERROR")
    assert message in answer


def test_corrupt_download_is_found(hub, tmp_path):
    hub("lab/faces")
    blob = next((tmp_path / "hf-home").rglob("model.safetensors")).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x00")
    assert "corrupt" in hub("lab/faces")
    shutil.rmtree(tmp_path / "hf-home")
