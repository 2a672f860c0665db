"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import pytest

from damgan_cli.cli import main

# Before torch is imported: networks this small are slower on threads that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory):
    """What damgan remembers of this machine does not come from the user's cache, nor go there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass
class Ran:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def damgan(monkeypatch, capfd):
    """Run ``damgan ARGS`` in this process, through ``main()`` as a user's shell would."""

    def run(*args: object) -> Ran:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["damgan", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    from tests.inpainting.tiny import save_tiny_weights

    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hugging Face Hub on loopback that this process's huggingface_hub talks to, with an empty cache."""
    from tests.weights import hub_client, hub_server

    server = hub_server.FakeHub()
    hub_client.use(server, monkeypatch, tmp_path / "hf-home")
    yield server
    server.stop()
