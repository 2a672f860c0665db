"""Collections on moto's S3 server: results, conditional writes, and everything a server can answer."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from damgan_cli.collection import address
from damgan_cli.collection.address import Place
from tests.collection.faults import FaultyServer
from tests.collection.samples import MASK, photo, read_tar, sample, tree, write_tar

PHOTOS = {f"photos/{name}.png": photo(number) for number, name in enumerate(("a", "sub/b", "sub/c"))}
MASKS = {name.replace("photos", "masks"): MASK for name in PHOTOS}


@pytest.fixture
def filled(bucket):
    """A bucket with photos and masks."""
    bucket.put(PHOTOS | MASKS)
    return bucket


def arguments(bucket, *more):
    return (f"{bucket.url}/photos", "--mask", f"{bucket.url}/masks", "-o", f"{bucket.url}/out", *more)


def made(bucket):
    return {name: data for name, data in bucket.under("out").items() if not name.startswith(".damgan")}


def test_a_bucket_gets_what_a_folder_gets(inpaint, filled, tmp_path):
    run = inpaint(*arguments(filled))
    assert run.code == 0, run.err
    for name, data in (PHOTOS | MASKS).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    inpaint("photos", "--mask", "masks", "-o", "plain")
    plain = {name: data for name, data in tree(tmp_path / "plain").items() if name.endswith(".png")}
    assert made(filled) == plain
    before = filled.under("out")
    assert inpaint(*arguments(filled)).code == 0
    assert filled.under("out") == before


def test_shards_go_from_a_bucket_to_a_bucket(inpaint, bucket, tmp_path):
    data = write_tar(tmp_path / "x.tar", sample(0)).read_bytes()
    bucket.put({"in/000.tar": data, "in/001.tar": data})
    run = inpaint(f"{bucket.url}/in/{{000..001}}.tar", "-o", f"{bucket.url}/out", "--json")
    assert json.loads(run.out)["units"] == {"done": 2, "skipped": 0, "failed": 0}
    assert sorted(made(bucket)) == ["000.tar", "000.tar.json", "001.tar", "001.tar.json"]
    assert list(read_tar(made(bucket)["000.tar"])) == list(sample(0))


def test_an_object_is_created_only_where_there_is_none(bucket):
    place = Place.of(f"{bucket.url}/out")
    assert place.create("a", b"first")
    assert not place.create("a", b"second")
    assert place.get("a") == b"first"


@pytest.fixture
def faulty(filled, monkeypatch):
    """A server before moto's, and obstore that tries three times, quickly."""
    server = FaultyServer(filled.client.meta.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    quickly = {
        "max_retries": 2,
        "backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=9)},
    }
    monkeypatch.setattr(address, "RETRY", quickly)
    address.open_store.cache_clear()
    yield server
    server.stop()


def only(method, part, answer, times=10**9):
    """A fault of so many requests."""
    left = [times]

    def fault(asked, path):
        if asked == method and part in path and left[0] > 0:
            left[0] -= 1
            return answer
        return None

    return fault


@pytest.mark.parametrize("answer", [500, 503, 429, "cut"])
@pytest.mark.parametrize(
    ("method", "part"), [("GET", "photos%2F"), ("GET", "photos/a.png"), ("PUT", "out/a.png")]
)
def test_what_passes_is_tried_again(inpaint, filled, faulty, method, part, answer):
    faulty.fault = only(method, part, answer, times=1)
    run = inpaint(*arguments(filled))
    seen = [entry for entry in faulty.seen if entry[0] == method and part in entry[1]]
    if run.code:  # obstore does not try this again by itself; the same command does
        assert run.err.count("error:") == 1
        assert inpaint(*arguments(filled)).code == 0
    assert len(seen) >= 1
    assert sorted(made(filled)) == ["a.png", "sub/b.png", "sub/c.png"]


@pytest.mark.parametrize(
    ("method", "part", "answer", "code", "words"),
    [
        ("GET", "photos%2F", 403, "AccessDenied", "access is denied (403 AccessDenied)"),
        ("GET", "photos/a.png", 403, "AccessDenied", "photos/a.png: access is denied (403 AccessDenied)"),
        ("GET", "photos/a.png", 404, "NoSuchKey", "photos/a.png does not exist (404 NoSuchKey)"),
        ("GET", "photos/a.png", 400, "ExpiredToken", "credentials have expired (400 ExpiredToken)"),
        ("GET", "photos/a.png", 500, "InternalError", "the server answered 500 InternalError"),
        ("GET", "photos/a.png", 429, "SlowDown", "the server answered 429 SlowDown"),
        ("PUT", "out/sub/b.png", 403, "AccessDenied", "out/sub/b.png: access is denied (403 AccessDenied)"),
        ("PUT", "out/sub/b.png", 507, "QuotaFull", "the server answered 507 QuotaFull"),
        ("PUT", "settings.json", 403, "AccessDenied", "settings.json: access is denied"),
    ],
)
def test_what_does_not_pass_is_one_line_and_a_run_that_can_go_on(
    inpaint, filled, faulty, method, part, answer, code, words
):
    faulty.fault, faulty.error_code = only(method, part, answer), code
    run = inpaint(*arguments(filled))
    assert run.code in {1, 2}
    assert words in run.err
    assert run.err.count("error:") == 1
    assert "hidden" not in run.err
    faulty.fault = lambda method, path: None
    assert inpaint(*arguments(filled)).code == 0
    assert sorted(made(filled)) == ["a.png", "sub/b.png", "sub/c.png"]


def test_a_bucket_that_is_not_there_and_a_server_that_is_not_there(inpaint, filled, monkeypatch):
    run = inpaint("s3://nowhere/photos", "--mask", "alpha", "-o", "s3://nowhere/out")
    assert run.code == 2
    assert "does not exist (404 NoSuchBucket)" in run.err
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(address, "RETRY", {"max_retries": 0})
    address.open_store.cache_clear()
    run = inpaint(*arguments(filled))
    assert run.code == 2
    assert "the connection failed" in run.err


def test_a_run_stops_when_storage_stays_out_of_reach(inpaint, bucket, tmp_path, monkeypatch):
    data = write_tar(tmp_path / "x.tar", sample(0)).read_bytes()
    bucket.put({"in/0.tar": data})
    run = inpaint(f"{bucket.url}/in/{{0..9}}.tar", "-o", f"{bucket.url}/out", "--json")
    assert run.code == 1
    assert "3 units in a row" in run.err
    assert json.loads(run.out)["counts"]["filled"] == 1
    bucket.put({f"in/{number}.tar": data for number in range(1, 10)})
    run = inpaint(f"{bucket.url}/in/{{0..9}}.tar", "-o", f"{bucket.url}/out", "--json")
    assert json.loads(run.out)["units"] == {"done": 9, "skipped": 1, "failed": 0}
