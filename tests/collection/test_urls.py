"""Lists of URLs, and shards on a web server: read from there, never written."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from damgan_cli.collection import listing
from damgan_cli.collection.urls import slices_of_list
from damgan_cli.errors import DamganError
from tests.collection.samples import MASK, photo, read_tar, sample, tree, write_tar


class Web:
    """A web server of some files, by path and query."""

    def __init__(self):
        self.files, self.asked = {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                data = outer.files.get(self.path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web(monkeypatch):
    """Its port is in the names of photos, which must not decide where a list is cut."""
    monkeypatch.setattr(listing, "_MEAN", 1 << 32)
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


def results(root):
    return {name: data for name, data in tree(root).items() if not name.startswith(".damgan")}


def test_a_list_of_photos_and_masks(inpaint, web, tmp_path):
    web.files = {"/a/x.png": photo(0), "/m.png?v=1": MASK, "/b%20c/y?id=2&token=hidden": photo(1)}
    lines = [f"{web.url}/a/x.png\t{web.url}/m.png?v=1", "# no photo", ""]
    lines += [f"{web.url}/b%20c/y?id=2&token=hidden {web.url}/m.png?v=1"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    run = inpaint("list.txt", "-o", "out", "--json")
    assert run.code == 0, run.err
    assert sorted(set(web.asked)) == sorted(web.files)
    made = results(tmp_path / "out")
    plain, with_query = sorted(made)
    assert plain == f"{web.host}/a/x.png"
    assert with_query.startswith(f"{web.host}/b%20c/y-")
    write_tar(tmp_path / "in.tar", {**sample(0), **sample(1)})
    inpaint("in.tar", "-o", "tar")
    tar = read_tar(tmp_path / "tar/in.tar")
    assert [made[plain], made[with_query]] == [tar["0000.png"], tar["0001.png"]]
    said = run.out + run.err + "".join(map(str, tree(tmp_path / "out").items()))
    assert "hidden" not in said
    run = inpaint("list.txt", "-o", "out", "--json")
    assert json.loads(run.out)["counts"] == {"filled": 0, "copied": 0, "skipped": 2, "failed": 0}


def test_a_dead_link_fails_alone(inpaint, web, tmp_path):
    web.files = {"/a.png": photo(0), "/b.png": photo(1), "/list.txt": b"", "/mask.png": MASK}
    lines = [f"{web.url}/{name}" for name in ("a.png", "gone.png", "b.png", "mask.txt.png")]
    web.files["/list.txt"] = "\n".join(lines).encode()
    run = inpaint(f"{web.url}/list.txt", "--mask", f"{web.url}/mask.png", "-o", "out")
    assert run.code == 1
    assert f"{web.host}/gone.png: {web.url}/gone.png does not exist (404)" in run.err
    assert sorted(results(tmp_path / "out")) == [f"{web.host}/a.png", f"{web.host}/b.png"]
    (record,) = (tmp_path / "out/.damgan").glob("*[!s].json")
    record = json.loads(record.read_text())
    assert record["photos"] == 4
    assert sorted(record["failed"]) == [f"{web.host}/gone.png", f"{web.host}/mask.txt.png"]


def test_a_list_of_which_nothing_can_be_had_has_no_record(inpaint, web, tmp_path):
    (tmp_path / "list.txt").write_text(f"{web.url}/a.png")
    run = inpaint("list.txt", "--box", "3,3,9,9", "-o", "out")
    assert run.code == 1
    assert "No photo of it can be had" in run.err
    web.files = {"/a.png": photo(0)}
    assert inpaint("list.txt", "--box", "3,3,9,9", "-o", "out").code == 0
    assert list(results(tmp_path / "out")) == [f"{web.host}/a.png"]


def test_shards_on_the_web(inpaint, web, tmp_path):
    for number in range(2):
        data = write_tar(tmp_path / f"{number}.tar", sample(number)).read_bytes()
        web.files[f"/in/{number}.tar?key=hidden"] = data
    assert inpaint("{0..1}.tar", "-o", "plain").code == 0
    run = inpaint(f"{web.url}/in/{{0..2}}.tar?key=hidden", "-o", "out")
    assert run.code == 1
    assert f"{web.url}/in/2.tar does not exist (404)" in run.err
    assert "hidden" not in run.err
    assert results(tmp_path / "out") == results(tmp_path / "plain")


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("https://host/photos", "out", "nothing can be listed"),
        ("a.tar", "https://host/out", "cannot be written to"),
        ("none.txt", "out", "list none.txt does not exist"),
        ("https://word:secret@host/a.tar", "out", "neither credentials"),
    ],
)
def test_what_the_web_cannot_do_is_one_error(inpaint, source, out, words):
    run = inpaint(source, "--box", "1,1,2,2", "-o", out)
    assert run.code == 2
    assert run.err.count("error:") == 1
    assert words in run.err.replace("\n", " ")
    assert "secret" not in run.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://h/a.png\n", "Line 1 of list.txt has no mask"),
        ("https://h/a.png https://h/b.png c", "is not one URL, or two"),
        ("a.png b.png", "is not one URL, or two"),
        ("ftp://h/a.png https://h/b.png", "ftp:// is no kind of address"),
        ("https://h https://h/b.png", "names no"),
        (
            "https://h/a.png https://h/m\nhttps://h/b.png https://h/m\nhttp://h/a.png https://h/m",
            "h/a.png (1)",
        ),
    ],
)
def test_a_wrong_list_is_one_error(tmp_path, text, words):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DamganError) as problem:
        list(slices_of_list(str(tmp_path / "list.txt"), with_masks=True))
    assert words in str(problem.value)


def test_names_of_results_lead_nowhere_else_and_are_not_too_long(tmp_path):
    urls = [
        "https://h/../../a.png",
        "https://h//./b.png",
        f"s3://bucket/{'x' * 300}.jpg",
        "file:///tmp/c.png",
    ]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    (part,) = slices_of_list(str(tmp_path / "list.txt"), with_masks=False)
    names = [pair.photo for pair in part.pairs]
    assert names[:2] == ["h/a.png", "h/b.png"]
    assert len(names[2]) < 130
    assert names[2].endswith(".jpg")
    assert names[3] == "tmp/c.png"
