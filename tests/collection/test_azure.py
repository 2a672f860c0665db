"""Collections on Azurite, Microsoft's emulator (``npm install azurite``, on PATH); skipped without it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import shutil
import socket
import subprocess
import time
from email.utils import formatdate

import pytest

from damgan_cli.collection import address
from damgan_cli.collection.address import Place
from damgan_cli.errors import StoreError
from tests.collection.samples import MASK, photo, sample, tree, write_tar

pytestmark = pytest.mark.skipif(shutil.which("azurite-blob") is None, reason="needs azurite-blob")

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, published with it."""


def make_container(port, name):
    """What obstore has no call for: a PUT, signed with the account's key."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    signed = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{name}"
        "\nrestype:container"
    )
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201


@pytest.fixture
def container(tmp_path, monkeypatch):
    """The address of an empty container."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry")
    server = subprocess.Popen(["azurite-blob", "--blobPort", str(port), *options], cwd=tmp_path)
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{port}/{ACCOUNT}")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    address.open_store.cache_clear()
    deadline = time.monotonic() + 60
    while True:
        try:
            make_container(port, "photos")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield "az://photos"
    server.kill()
    server.wait()
    address.open_store.cache_clear()


def test_photos_and_shards_go_from_a_container_to_it(inpaint, container, tmp_path):
    place = Place.of(f"{container}/in")
    for number in range(3):
        name = f"ph oto ü{number}.png"
        for root, data in (("photos", photo(number)), ("masks", MASK)):
            (tmp_path / root).mkdir(exist_ok=True)
            (tmp_path / root / name).write_bytes(data)
            assert place.create(f"{root}/{name}", data)
    place.create("0.tar", write_tar(tmp_path / "0.tar", sample(0)))
    assert not place.create("0.tar", b"another")

    there = f"{container}/in"
    arguments = (f"{there}/photos", "--mask", f"{there}/masks", "-o", f"{container}/out")
    assert inpaint("photos", "--mask", "masks", "-o", "plain").code == 0
    assert inpaint("0.tar", "-o", "plain-tar").code == 0
    assert inpaint(f"{there}/0.tar", "-o", f"{container}/out-tar").code == 0
    for _ in range(2):
        run = inpaint(*arguments)
        assert run.code == 0, run.err
    assert "3 skipped" in run.err
    out = Place.of(f"{container}/out")
    made = {name: out.get(name) for name in out.names() if not name.startswith(".damgan")}
    assert made == {name: data for name, data in tree(tmp_path / "plain").items() if name.endswith(".png")}
    assert Place.of(f"{container}/out-tar").get("0.tar") == (tmp_path / "plain-tar/0.tar").read_bytes()


def test_a_container_that_is_not_there_is_no_missing_object(container):
    assert Place.of(f"{container}/in").get("a") is None
    with pytest.raises(StoreError, match="404 ContainerNotFound"):
        Place.of("az://nowhere/in").get("a")
