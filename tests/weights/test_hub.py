"""Weights from the Hub: the real client against a Hub on loopback, and all that can fail."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
from huggingface_hub import constants, scan_cache_dir

from damgan_cli.errors import WeightsError
from damgan_cli.inpainting.inpainter import Inpainter
from damgan_cli.model import Generator
from damgan_cli.weights.find import load_weights
from tests.weights.hub_client import environment
from tests.weights.hub_server import FILES, READ, WRITE, Fault
from tests.weights.small import SMALL


def blob(name):
    return next(Path(constants.HF_HUB_CACHE).rglob(name)).resolve()


def test_weights_are_fetched_once_and_pinned(hub, files):
    first = hub.add("lab/faces", files)
    weights = load_weights("lab/faces")
    assert (weights.source, weights.revision, weights.info["name"]) == ("hub", first, "tiny")
    assert {name: (weights.folder / name).read_bytes() for name in FILES} == files
    assert hub.count("GET .*cdn") == 1
    hub.log.clear()
    load_weights("lab/faces")  # only asks whether main has moved
    assert [line.split()[0] for line in hub.log] == ["HEAD"]
    hub.log.clear()
    load_weights("lab/faces", offline=True)
    load_weights(f"lab/faces@{first}")
    assert hub.log == []
    second = hub.add("lab/faces", {**files, "README.md": b"# changed\n"}, "v2")
    assert load_weights("lab/faces").revision == second
    assert load_weights("lab/faces", offline=True).revision == second
    assert load_weights("lab/faces@v2").revision == second
    assert load_weights("lab/faces", revision=first).revision == first
    assert hub.count("GET .*cdn") == 0  # the same tensors are not fetched twice


def test_unreachable_hub_is_no_matter_once_cached(hub, files):
    hub.add("lab/faces", files)
    commit = load_weights("lab/faces").revision
    hub.stop()
    assert load_weights("lab/faces").revision == commit


@pytest.mark.parametrize(
    ("token", "private", "gated", "message"),
    [
        (None, True, False, "no Hub repository lab/faces, or it is private"),
        ("hf_wrong", True, False, "does not know your token"),
        (None, False, True, "is gated"),
        (READ, False, True, "is gated"),
        (READ, True, False, None),
        (WRITE, False, True, None),
    ],
)
def test_private_and_gated_repositories(hub, files, monkeypatch, token, private, gated, message):
    hub.add("lab/faces", files, private=private, gated=gated)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    if message:
        with pytest.raises(WeightsError, match=message) as caught:
            load_weights("lab/faces")
        assert "hf auth login" in str(caught.value)
        assert not token or token not in str(caught.value)
    else:
        load_weights("lab/faces")
        assert hub.tokens_at_cdn == []  # another host: must not see it


def test_a_token_can_be_given_in_python_and_from_the_login(hub, files, tmp_path):
    hub.add("lab/faces", files, private=True)
    assert load_weights("lab/faces", token=READ).info["name"] == "tiny"
    (tmp_path / "hf-home" / "token").write_text(READ)
    assert load_weights("lab/faces", cache_dir=tmp_path / "other").folder.is_relative_to(tmp_path / "other")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lab/nothing", "no Hub repository lab/nothing"),
        ("lab/faces@v9", "no revision v9"),
        ("lab/diffusers", "holds no damgan weights"),
        ("lab/pickled", "holds no damgan weights"),
        ("lab/bert", r"of a transformers model \(bert\)"),
        ("lab/old", "format version 0.*train them anew"),
        ("lab/new", "format version 99.*Upgrade"),
        ("lab/newer-architecture", "architecture version 2.*Upgrade"),
        ("lab/huge", "30,000,000 bytes, its architecture at most .*Nothing was downloaded"),
        ("lab/broken", "config.json is not JSON"),
        ("lab/mismatched", "does not match its digest"),
        ("lab/a--b", "no name of a Hub repository"),
    ],
)
def test_what_is_no_such_repository_is_told(hub, files, spec, message):
    def config(**changes):
        return {**files, "config.json": json.dumps({**json.loads(files["config.json"]), **changes}).encode()}

    hub.add("lab/faces", files)
    hub.add("lab/diffusers", {"model_index.json": b"{}", "unet/config.json": b"{}"})
    hub.add("lab/pickled", {"config.json": files["config.json"], "pytorch_model.bin": b"cos\nsystem\n"})
    hub.add("lab/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(1000)})
    hub.add("lab/old", config(format_version=0))
    hub.add("lab/new", config(format_version=99))
    hub.add("lab/newer-architecture", config(architecture_version=2))
    hub.add("lab/huge", {**files, "model.safetensors": bytes(30_000_000)})
    hub.add("lab/broken", {**files, "config.json": b"{"})
    hub.add("lab/mismatched", config(sha256="0" * 64))
    with pytest.raises(WeightsError, match=message):
        load_weights(spec)
    if spec != "lab/mismatched":
        assert hub.count("GET .*cdn") == 0  # found out before the large file was sent


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("HEAD", 500), r"problem of its own \(500\).*later"),
        (Fault("GET", 503), r"problem of its own \(503\)"),
        (Fault("HEAD", 429), r"fewer requests \(429\)"),
        (Fault("GET .*cdn", 429), r"fewer requests \(429\)"),
        (Fault("HEAD", 403), "does not allow your token"),
        (Fault("HEAD", 200), "what answered is not a Hub"),  # a hotel's login page
        (Fault("GET .*cdn", 416), "transfer failed: .*416"),
        (Fault("GET .*cdn", cut_after=100), "cannot be reached, or broke off"),
    ],
)
def test_failing_hubs_are_told_and_leave_nothing_behind(hub, files, fault, message):
    hub.add("lab/faces", files)
    hub.faults.append(fault)
    with pytest.raises(WeightsError, match=message):
        load_weights("lab/faces")
    hub.faults.clear()
    assert load_weights("lab/faces").info["name"] == "tiny"


@pytest.mark.parametrize(
    "fault", [Fault("HEAD", 500, times=2), Fault("GET", 429, times=2, headers={"Retry-After": "1"})]
)
def test_passing_troubles_are_waited_out(hub, files, fault):
    hub.add("lab/faces", files)
    hub.faults.append(fault)
    assert load_weights("lab/faces").info["name"] == "tiny"


def test_interrupted_download_goes_on_where_it_broke_off(hub, files, monkeypatch):
    hub.add("lab/faces", files)
    ranges = []
    serve = hub.server.RequestHandlerClass.send_range

    def noted(handler, data, headers):
        ranges.append(handler.headers.get("Range"))
        serve(handler, data, headers)

    monkeypatch.setattr(hub.server.RequestHandlerClass, "send_range", noted)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # 10 MB
    hub.faults.append(Fault("GET .*cdn", cut_after=5000, times=1))
    assert load_weights("lab/faces").info["name"] == "tiny"
    assert "bytes=5000-" in ranges


def test_no_network_no_disk_and_proxies_are_told(hub, files, monkeypatch):
    hub.add("lab/faces", files)
    with pytest.raises(WeightsError, match=r"not in the local cache, and --offline.*damgan weights pull"):
        load_weights("lab/faces", offline=True)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
            load_weights("lab/faces")
    with monkeypatch.context() as patch:

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("huggingface_hub.file_download.http_get", full)
        with pytest.raises(WeightsError, match="disk is full"):
            load_weights("lab/faces")
    with monkeypatch.context() as patch:
        from huggingface_hub.utils import _http

        patch.setenv("HTTP_PROXY", hub.endpoint)  # answers CONNECT and foreign hosts with an error
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                      "https://hub.invalid/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
        patch.setenv("HTTPS_PROXY", hub.endpoint)
        _http.close_session()
        with pytest.raises(WeightsError, match=r"proxy does not let the request through.*HTTPS_PROXY"):
            load_weights("lab/faces")
    _http.close_session()
    hub.stop()
    with pytest.raises(WeightsError, match="cannot be reached"):
        load_weights("lab/faces")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_cache_is_found_and_fetched_anew_once(hub, files, name):
    hub.add("lab/faces", files)
    load_weights("lab/faces")
    damaged = blob(name).read_bytes()[:-1] + b"\x00"
    blob(name).write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"corrupt|not JSON"):
        load_weights("lab/faces", offline=True)
    hub.log.clear()
    assert load_weights("lab/faces").info["name"] == "tiny"
    assert blob(name).read_bytes() == files[name]
    assert hub.count("GET .*cdn") == 1
    assert scan_cache_dir(constants.HF_HUB_CACHE).warnings == []  # other programs share the cache


def test_damaged_cache_under_hf_hub_offline_is_told(hub, files, monkeypatch):
    hub.add("lab/faces", files)
    load_weights("lab/faces")
    blob("model.safetensors").write_bytes(b"nonsense")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"corrupt.*damgan weights pull"):
        load_weights("lab/faces")


SCRIPT = """
import os, socket, sys
import huggingface_hub.file_download, torch, damgan_cli.weights.hub, damgan_cli.model
from damgan_cli.errors import DamganError
from damgan_cli.weights.find import load_weights

def load(spec):
    try:
        weights = load_weights(spec, offline="offline" in sys.argv)
        return f"{weights.source} {weights.revision} {weights.info['name']}"
    except DamganError as problem:
        return f"ERROR {problem}"

if "no-sockets" in sys.argv:
    def refuse(*a, **k): raise AssertionError("a socket was opened")
    socket.socket.__init__ = socket.getaddrinfo = socket.create_connection = refuse
    print(load(sys.argv[1]))
else:  # eight processes at once, forked so that they start together and quickly
    reader, writer = os.pipe()
    for _ in range(8):
        if os.fork() == 0:
            os.write(writer, f"{load(sys.argv[1])}\\n".encode())
            os._exit(0)
    for _ in range(8):
        os.wait()
    print(os.read(reader, 100_000).decode(), end="")
"""


def run(hub, home, *arguments, **more):
    """A process of its own: huggingface_hub reads its environment at import."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(hub, home, **more), check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_processes_starting_together_share_one_download_and_one_repair(hub, files, tmp_path):
    commit = hub.add("lab/faces", files)
    home = tmp_path / "shared"
    assert run(hub, home, "lab/faces") == [f"hub {commit} tiny"] * 8
    assert (hub.count("GET .*cdn"), hub.count("GET .*config.json")) == (1, 1)
    hub.log.clear()
    for tensors in home.rglob("model.safetensors"):
        tensors.resolve().write_bytes(bytes(1000))
    assert run(hub, home, "lab/faces") == [f"hub {commit} tiny"] * 8
    assert (hub.count("GET .*cdn"), hub.count("GET .*config.json")) == (1, 1)


def test_offline_and_folders_open_no_socket(hub, files, tmp_path):
    commit = hub.add("lab/faces", files)
    home = tmp_path / "shared"
    folder = load_weights("lab/faces", cache_dir=home / "hub").folder
    assert run(hub, home, "lab/faces", "offline", "no-sockets") == [f"hub {commit} tiny"]
    assert run(hub, home, "lab/faces", "no-sockets", HF_HUB_OFFLINE="1") == [f"hub {commit} tiny"]
    assert run(hub, home, folder, "no-sockets") == ["folder None tiny"]


def test_loading_is_strict_from_the_hub_too(hub, tmp_path):
    state = Generator(SMALL).state_dict()
    del state["dam_stage.dam0.fuse.bias"]
    data = safetensors.torch.save({name: tensor.half() for name, tensor in state.items()})
    config = {"format": "damgan", "format_version": 1, "generator": SMALL.to_dict(), "value_range": [-1, 1]}
    config |= {"sha256": hashlib.sha256(data).hexdigest()}
    hub.add("lab/partial", {"config.json": json.dumps(config).encode(), "model.safetensors": data})
    with pytest.raises(WeightsError, match="do not fit their"):
        Inpainter.from_pretrained("lab/partial", device="cpu")
