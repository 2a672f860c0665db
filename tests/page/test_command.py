"""``damgan paint``: what it refuses, and how it starts and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.files import save
from tests.photos.photo_kinds import noise


def refused(ran, *words):
    assert ran.code == 2, ran.err
    assert ran.err.count("error:") == 1
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err.replace("\n", " ")


def test_other_machines_need_a_token(damgan, photo, monkeypatch):
    refused(damgan("paint", photo, "--host", "0.0.0.0"), "--token")
    refused(damgan("paint", photo, "--host", "192.168.1.5"), "--token")
    refused(damgan("paint", photo, "--token", "short"), "at least 16")
    refused(damgan("paint", photo, "--token", "with spaces and / in it"), "at least 16")
    monkeypatch.setenv("DAMGAN_TOKEN", "short")
    refused(damgan("paint", photo, "--host", "0.0.0.0"), "at least 16")


def test_a_port_that_is_taken(damgan, photo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(damgan("paint", photo, "--port", port, "--no-browser"), f"127.0.0.1:{port}", "--port")


def test_an_address_that_is_not_of_this_machine(damgan, photo):
    refused(damgan("paint", photo, "--host", "192.0.2.1", "--token", "t" * 16, "--no-browser"), "192.0.2.1")


def test_photos_that_are_none(damgan, tmp_path, photo):
    refused(damgan("paint", tmp_path / "absent.png"), "does not exist")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    refused(damgan("paint", tmp_path / "broken.png"), "broken.png")
    (tmp_path / "empty").mkdir()
    refused(damgan("paint", tmp_path / "empty"), "no photos")
    refused(damgan("paint", photo, "--out", photo.parent), "the photos themselves")
    refused(damgan("paint", photo, "--out", photo / "inside"), "not a folder")
    refused(damgan("paint", "--out", tmp_path / "out"), "PHOTO or DIR")
    refused(damgan("paint", photo, "--weights", "fotos"), "Did you mean photos?")


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_without_the_extra(damgan, photo, monkeypatch, module):
    for name in [name for name in sys.modules if name.startswith("damgan_cli.page.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    refused(damgan("paint", photo), module, "damgan[page]")


@pytest.mark.skipif(os.name == "nt", reason="ends by another signal there")
def test_it_prints_its_address_serves_before_torch_is_there_and_ends_at_ctrl_c(tmp_path, tiny_weights):
    save(tmp_path / "photo.png", noise())
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('torch' in sys.modules, flush=True))\n"
        "from damgan_cli.__main__ import main\n"
        "main()"
    )
    command = [sys.executable, "-c", program, "paint", "photo.png", "--no-browser", "--weights", tiny_weights]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        address = running.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert b"damgan paint" in answer.read()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert out == "False\n"
    assert "Traceback" not in err
