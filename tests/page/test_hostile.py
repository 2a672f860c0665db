"""Requests that are not from the page, or not what it would send: refused, and nothing is read or written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from damgan_cli.page import album, app
from damgan_cli.page.album import Album
from tests.files import save
from tests.page.conftest import HOST, TOKEN, Page
from tests.photos.photo_kinds import decompression_bomb, noise

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def page(serve, photo):
    save(photo.parent / "secret.png", noise())
    return serve(photo)


@pytest.fixture
def open_page(tmp_path, worker):
    """A page that takes photos."""
    (tmp_path / "sent").mkdir()
    page = Page(Album([], tmp_path / "sent"), worker, loopback=False)
    page.weights = worker.weights[0]
    return page


def put(page, name, data, **headers):
    kind = {"Content-Type": "application/octet-stream", **headers}
    return page.client.put(f"/{TOKEN}/api/photos?name={name}", content=data, headers=kind)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:7860"},
        {"Host": "127.0.0.1.evil.example:7860"},
        {"Host": "localhost.evil.example"},
        {"Host": "evil@127.0.0.1:7860"},
        {"Host": "127.0.0.1:x"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:7860"},
        {"Origin": "http://127.0.0.1:7861"},
        {"Origin": f"http://{HOST}.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
    ids=str,
)
def test_other_sites_get_nothing(page, headers):
    for address in ("", "/0", "/0/thumbnail"):
        assert page.get(address, headers=headers).status_code == 403
    before = page.state()
    answer = page.client.post(
        f"/{TOKEN}/api/photos/0/paint", headers=headers, json={"kind": "box", "box": [0, 0, 9, 9]}
    )
    assert answer.status_code == 403
    assert page.state() == before


def test_what_changes_something_needs_an_origin_and_its_media_type(page):
    address, body = f"/{TOKEN}/api/photos/0/paint", b'{"kind": "clear"}'
    assert page.client.post(address, content=body, headers=JSON).status_code == 200
    assert page.client.post(address, content=body, headers={"Content-Type": "text/plain"}).status_code == 400
    assert page.client.post(address, content=body).status_code == 400
    del page.client.headers["Origin"]
    assert page.client.post(address, content=body, headers=JSON).status_code == 403


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "t", TOKEN.upper(), "%74" * 23, "é" * 24])
def test_without_the_token_there_is_nothing(page, token):
    for address in (
        f"/{token}/",
        f"/{token}/api/photos",
        f"/{token}/static/main.js",
        "/api/photos",
        "/start/",
    ):
        answer = page.client.get(address, follow_redirects=False)
        assert answer.status_code == 404
        assert "photo.png" not in answer.text
    assert page.client.get("/enter", params={"token": token}, follow_redirects=False).status_code == 404


def test_the_token_opens_the_page_and_a_code_does_once(worker):
    page = Page(Album([]), worker, code="c" * 24)
    answer = page.client.get("/enter", params={"token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/{TOKEN}/")
    for status in (303, 404):
        assert page.client.get(f"/start/{'c' * 24}", follow_redirects=False).status_code == status
    assert "main.js" in page.client.get(f"/{TOKEN}/").text


def test_every_answer_keeps_browsers_strict(page):
    for address in ("/", f"/{TOKEN}/", f"/{TOKEN}/static/main.js", f"/{TOKEN}/api/photos", f"/{TOKEN}/no"):
        headers = page.client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "static/../serve.py", "static/..%2fserve.py", "static/%2e%2e/serve.py", "static/..%5cserve.py",
        "static//etc/passwd", "static/%2fetc%2fpasswd", "api/photos/..%2f..%2fsecret.png/view", "secret.png",
        "api/photos/1", "api/photos/-1", "api/photos/99999999999999999999", "api/photos/0x0",
        "api/photos/0/saved?what=photo", "api/photos/0/../../../secret.png",
    ],
)  # fmt: skip
def test_only_the_photos_it_was_started_with_are_there(page, path):
    answer = page.client.get(f"/{TOKEN}/{path}", follow_redirects=False)
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "", "layer=photo", "layer=../photo&box=0,0,9,9&longest=9", "layer=photo&box=0,0,9&longest=9",
        "layer=photo&box=a,b,c,d&longest=9", "layer=photo&box=0,0,9,9&longest=999999",
        "layer=photo&box=0,0,9,9&longest=0", "layer=photo&box=0,0,1e9,9&longest=9",
        f"layer=photo&box=0,0,{'9' * 5000},9&longest=9",
    ],
)  # fmt: skip
def test_views_that_make_no_sense(page, query):
    assert page.get(f"/0/view?{query}").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"revision": ' + b"9" * 5000 + b"}",
        b'{"revision": null}', b'{"revision": NaN}', b'{"revision": -1}', b'{"revision": 1e999}',
        b'{"revision": 1, "kind": ["object"], "by": {}, "what": 7, "weights": "/etc", "fit": "auto"}',
        b'{"revision": 1, "kind": "object", "box": [1, 2], "weights": "../../x", "fit": "auto"}',
        b'{"revision": 1, "kind": "scratches", "strength": "x"}',
    ],
    ids=lambda body: str(body)[:50],
)  # fmt: skip
def test_malformed_requests_are_refused(page, body):
    for action in ("paint", "find", "fill"):
        answer = page.client.post(f"/{TOKEN}/api/photos/0/{action}", content=body, headers=JSON)
        assert answer.status_code == 400, (action, answer.text)
        assert set(answer.json()["error"]) == {"message", "hint", "exists"}
    assert page.state()["undo"] is False


def test_bodies_are_limited_whatever_length_they_say(page, monkeypatch):
    address = f"/{TOKEN}/api/photos/0/paint"
    large = json.dumps({"kind": "clear", "more": "x" * (1 << 20)}).encode()
    assert page.client.post(address, content=large, headers=JSON).status_code == 413
    pieces = (b" " * 65536 for _ in range(100))  # without a length
    assert page.client.post(address, content=pieces, headers=JSON).status_code == 413
    monkeypatch.setattr("damgan_cli.page.session.MOST_ACTIONS", 3)
    answers = [page.box(0, 0, 5, 5).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 400, 400]


def test_photos_are_taken_only_where_that_is_offered(page, photo):
    assert put(page, "other.png", photo.read_bytes()).status_code == 400
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.png", "secret.png"]


def test_photos_that_are_sent(open_page, tmp_path, photo, monkeypatch):
    page, data = open_page, photo.read_bytes()
    sent = tmp_path / "sent"
    names = ["../../evil.png", "%2e%2e%2f%2e%2e%2fevil.png", "/etc/evil.png", "..\\evil.png", ".hidden.png"]
    for number, name in enumerate(names):
        assert put(page, name, data).json() == {"number": number}
    inside = [path for path in tmp_path.rglob("*.png") if path != photo]
    assert len(inside) == len(names)
    assert all(path.resolve().is_relative_to(sent) for path in inside)
    assert not [photo for photo in page.get().json()["photos"] if "/" in photo["name"]]

    decompression_bomb(tmp_path / "bomb.png")
    for name, bad in {
        "page.html": b"<script>", "x.png": b"<svg onload=alert()>", "empty.png": b"", "": data, "x.py": data,
        "bomb.png": (tmp_path / "bomb.png").read_bytes(),
    }.items():  # fmt: skip
        assert put(page, name, bad).status_code == 422, name
    assert put(page, "x.png", data, **{"Content-Type": "image/png"}).status_code == 400
    monkeypatch.setattr(app, "_LARGEST_UPLOAD", 100)
    assert put(page, "x.png", data).status_code == 413
    monkeypatch.undo()
    monkeypatch.setattr(album, "_MOST_UPLOADS", len(names))
    assert put(page, "x.png", data).status_code == 400
    assert len(list(sent.iterdir())) == len(names)


def test_a_photo_that_was_sent_comes_back_filled(open_page, photo):
    page = open_page
    put(page, "mine.png", photo.read_bytes())
    assert page.get("/0/saved?what=photo").status_code == 404
    page.box(20, 10, 40, 30)
    page.fill()
    assert page.post("save").json()["saved"] == "mine.inpainted.png"  # not where the server keeps it
    answer = page.get("/0/saved?what=photo")
    assert answer.headers["content-disposition"] == 'attachment; filename="mine.inpainted.png"'
    (photo.parent / "back.png").write_bytes(answer.content)
    before, after = (np.asarray(Image.open(photo.parent / name)) for name in ("photo.png", "back.png"))
    changed = (before != after).any(axis=2)
    assert changed.any()
    assert not changed[:10].any()


def test_behind_a_proxy_any_name_serves_but_origins_must_agree(open_page):
    own = {"Host": "someone-damgan.hf.space", "Origin": "https://someone-damgan.hf.space"}
    assert open_page.get(headers=own).status_code == 200
    assert open_page.get(headers={**own, "Origin": "https://evil.example"}).status_code == 403
