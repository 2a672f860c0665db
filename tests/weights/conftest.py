"""Weights as the tests of the Hub fetch and publish them."""

from __future__ import annotations

import pytest
import torch

from damgan_cli.model import Generator
from damgan_cli.weights.folder import save_weights
from tests.weights.hub_server import FILES
from tests.weights.small import SMALL


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny"
    info = {"name": "tiny", "license": "mit"}
    save_weights(path, Generator(SMALL), info, "---\nlicense: mit\n---\n# tiny\n")
    return path


@pytest.fixture
def files(published):
    return {name: (published / name).read_bytes() for name in FILES}
