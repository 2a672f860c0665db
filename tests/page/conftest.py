"""The page of one photo, as its browser talks to it."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from damgan_cli.page.album import album_of
from damgan_cli.page.app import make_app
from damgan_cli.page.guard import Guard
from damgan_cli.page.work import Worker
from tests.files import save
from tests.photos.photo_kinds import noise

TOKEN = "t" * 24
HOST = "127.0.0.1:7860"


class Page:
    """What a browser that was opened at the page's address can ask."""

    def __init__(self, album, worker, **options):
        self.album = album
        guard = Guard(make_app(album, worker), TOKEN, **options)
        self.client = TestClient(guard, base_url=f"http://{HOST}", headers={"Origin": f"http://{HOST}"})

    def get(self, address="", **options):
        return self.client.get(f"/{TOKEN}/api/photos{address}", **options)

    def post(self, action, number=0, *, revision=None, **document):
        """Do something with a photo as it is now, or as it was at ``revision``."""
        revision = self.state(number)["revision"] if revision is None else revision
        address = f"/{TOKEN}/api/photos/{number}/{action}"
        return self.client.post(address, json={"revision": revision, **document})

    def state(self, number=0):
        return self.get(f"/{number}").json()

    def box(self, *sides, number=0, **more):
        return self.post("paint", number, kind="box", box=sides, **more)

    def fill(self, number=0, fit="auto"):
        """Fill, and wait until that is done."""
        asked = self.post("fill", number, weights=self.weights, fit=fit)
        assert asked.status_code == 200, asked.text
        return self.wait(number)

    def wait(self, number=0):
        deadline = time.monotonic() + 60
        while (state := self.state(number))["job"] is not None:
            assert time.monotonic() < deadline, "the job takes too long"
            time.sleep(0.02)
        return state


@pytest.fixture(scope="session")
def worker(tiny_weights):
    worker = Worker(str(tiny_weights), "cpu")
    yield worker
    worker.stop()


@pytest.fixture
def serve(worker):
    """The page for a photo or folder: ``serve(path)``."""

    def serve(source, **options):
        page = Page(album_of(source, **options), worker)
        page.weights = worker.weights[0]
        return page

    return serve


@pytest.fixture
def photo(tmp_path):
    return save(tmp_path / "photo.png", noise(size=(60, 80)))


@pytest.fixture
def page(serve, photo):
    return serve(photo)
