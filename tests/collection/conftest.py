"""Fixtures of the tests of collections: a command to fill them, and an S3 server on loopback."""

from __future__ import annotations

import itertools
import os

import pytest

from damgan_cli.collection import address

pytest.importorskip("obstore")
_buckets = itertools.count()


@pytest.fixture
def inpaint(damgan, tiny_weights, tmp_path, monkeypatch):
    """Run ``damgan inpaint ARGS`` with tiny weights in the temporary folder, which holds its scratch too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))

    def run(*args):
        extra = [] if "--weights" in args else ["--weights", tiny_weights]
        result = damgan("inpaint", *args, *extra)
        assert "Traceback" not in result.err
        assert list((tmp_path / "scratch").iterdir()) == []
        return result

    return run


@pytest.fixture(scope="session")
def s3_server():
    """moto's S3, on a free port of loopback."""
    server_of_moto = pytest.importorskip("moto.server")
    pytest.importorskip("flask")
    server = server_of_moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    """A bucket of the tests' own."""

    def __init__(self, endpoint, name):
        import boto3

        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="hidden",
        )
        self.name = name
        self.url = f"s3://{name}"
        self.client.create_bucket(Bucket=name)

    def put(self, objects):
        for name, data in objects.items():
            self.client.put_object(Bucket=self.name, Key=name, Body=data)

    def under(self, prefix):
        """All objects below a prefix, by name relative to it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=f"{prefix}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(f"{prefix}/"): self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
            for key in keys
        }

    def count(self, prefix):
        """How many objects, of fewer than a thousand, lie below a prefix."""
        return self.client.list_objects_v2(Bucket=self.name, Prefix=f"{prefix}/")["KeyCount"]


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """An empty bucket that obstore finds credentials for, which are not those of the user's machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    address.open_store.cache_clear()
    yield Bucket(s3_server, f"bucket-{next(_buckets)}")
    address.open_store.cache_clear()
