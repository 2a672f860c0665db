"""``damgan inpaint`` of folders by their address, and of tar shards: results, records, reruns."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from tests.collection.samples import MASK, photo, read_tar, sample, tree, write_tar
from tests.files import save
from tests.photos.photo_kinds import noise


@pytest.fixture
def folders(tmp_path):
    """Photos and masks in a tree; returns addresses."""
    for number, name in enumerate(("a", "sub/b.c", "sub/d")):
        for kind, data in (("photos", photo(number)), ("masks", MASK)):
            path = tmp_path / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return tmp_path.as_uri()


def results(root):
    """What was made, without records."""
    return {name: data for name, data in tree(root).items() if not name.startswith(".damgan")}


def records(root):
    return [json.loads(data) for name, data in tree(root).items() if name not in results(root)]


def test_results_are_those_of_a_plain_folder(inpaint, folders, tmp_path):
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out", "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["counts"] == {"filled": 3, "copied": 0, "skipped": 0, "failed": 0}
    assert inpaint("photos", "--mask", "masks", "-o", "plain").code == 0
    plain = {name: data for name, data in tree(tmp_path / "plain").items() if name.endswith(".png")}
    assert results(tmp_path / "out") == plain


def test_a_record_says_what_was_done_with_what(inpaint, folders, tmp_path):
    (tmp_path / "photos/sub/d.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out", "--dilate", 2)
    assert run.code == 1
    assert "sub/d.png is" in run.err
    assert str(tmp_path / "scratch") not in run.err
    made = results(tmp_path / "out")
    assert sorted(made) == ["a.png", "sub/b.c.png"]
    (record,) = [record for record in records(tmp_path / "out") if "photos" in record]
    assert record["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    assert (record["photos"], record["filled"], list(record["failed"])) == (3, 2, ["sub/d.png"])
    assert record["settings"]["dilate"] == 2
    assert len(record["weights"]) == 64


def test_a_rerun_does_nothing_again_and_remembers_failures(inpaint, folders, tmp_path):
    (tmp_path / "photos/a.png").write_bytes(b"no photo")
    arguments = (f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out", "--json")
    inpaint(*arguments)
    before = tree(tmp_path / "out")
    run = inpaint(*arguments)
    assert run.code == 1
    document = json.loads(run.out)
    assert document["weights"] is None  # no model was loaded
    assert document["counts"] == {"filled": 0, "copied": 0, "skipped": 2, "failed": 1}
    assert "in an earlier run" in run.err
    assert tree(tmp_path / "out") == before


def test_other_settings_are_refused_and_both_are_named(inpaint, folders, tmp_path):
    arguments = (f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out")
    inpaint(*arguments)
    before = tree(tmp_path / "out")
    run = inpaint(*arguments, "--dilate", 3)
    assert run.code == 2
    assert "--dilate 0, now 3" in run.err
    assert tree(tmp_path / "out") == before


def test_a_place_with_other_files_is_left_alone(inpaint, folders, tmp_path):
    save(tmp_path / "out/mine.png", noise())
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out")
    assert run.code == 2
    assert "not results of this command" in run.err
    assert list(tree(tmp_path / "out")) == ["mine.png"]


def test_a_result_that_is_there_stays_and_is_recorded(inpaint, folders, tmp_path):
    """As if another process had been first, or this one had been killed before its record."""
    arguments = (f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out")
    inpaint(*arguments)
    (record,) = [path for path in (tmp_path / "out/.damgan").iterdir() if path.name != "settings.json"]
    record.unlink()
    (tmp_path / "out/a.png").write_bytes(b"another's")
    (tmp_path / "out/sub/d.png").unlink()
    assert inpaint(*arguments).code == 0
    assert (tmp_path / "out/a.png").read_bytes() == b"another's"
    assert sorted(results(tmp_path / "out")) == ["a.png", "sub/b.c.png", "sub/d.png"]
    assert json.loads(record.read_text())["sha256"]["a.png"] == hashlib.sha256(b"another's").hexdigest()


def test_unpaired_photos_fail_their_slice(inpaint, folders, tmp_path):
    (tmp_path / "masks/a.png").unlink()
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out")
    assert run.code == 1
    assert "do not pair one to one: a.png" in run.err
    assert results(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{}/photos", "--mask", "{}/masks"), "needs a place"),
        (("{}/photos", "--mask", "{}/masks", "-o", "{}/photos/out"), "lie in each other"),
        (("{}/photos", "--mask", "{}/masks", "-o", "{}/out", "--overwrite"), "--overwrite does not go"),
        (("{}/nothing", "--mask", "{}/masks", "-o", "{}/out"), "does not exist"),
        (("{}/photos", "-o", "{}/out"), "there is no --mask"),
        (("{}/photos", "{}/masks", "--mask", "alpha", "-o", "{}/out"), "goes alone"),
        (("ftp://host/photos", "--mask", "alpha", "-o", "{}/out"), "no kind of address"),
        (("s3://user:word@bucket/in", "--mask", "alpha", "-o", "{}/out"), "neither credentials"),
        (("s3:///in", "--mask", "alpha", "-o", "{}/out"), "names no bucket"),
        (("a.tar", "b/a.tar", "-o", "{}/out"), "one output"),
        (("a.tar", "--mask", "{}/masks", "-o", "{}/out"), "hold their masks"),
    ],
)
def test_wrong_usage_is_one_error_before_any_work(inpaint, folders, tmp_path, arguments, words):
    run = inpaint(*(text.replace("{}", folders) for text in arguments))
    assert run.code == 2, run.err
    assert run.err.count("error:") == 1
    assert words in run.err.replace("\n", " ")
    assert "word" not in run.err.replace(words, "")
    assert not (tmp_path / "out/a.png").exists()


def test_no_credentials_are_one_line(inpaint, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    run = inpaint("az://container/photos", "--mask", "alpha", "-o", "out")
    assert run.code == 2
    assert "az://container/photos: no credentials were found." in run.err


def test_one_mask_serves_all_photos(inpaint, folders, tmp_path):
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks/a.png", "-o", "out")
    assert run.code == 0, run.err
    assert len(results(tmp_path / "out")) == 3
    run = inpaint(f"{folders}/photos", "--box", "3,3,9,9", "-o", "boxed")
    assert run.code == 0, run.err
    assert len(results(tmp_path / "boxed")) == 3


def test_a_dry_run_lists_and_writes_nothing(inpaint, folders, tmp_path):
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/out", "--dry-run")
    assert run.code == 0
    assert "3 photos" in run.out
    assert not (tmp_path / "out").exists()


def test_shards_become_shards_of_the_same_members(inpaint, tmp_path):
    first, second = {**sample(0), "notes.txt": b"hello", **sample(1)}, sample(2)
    write_tar(tmp_path / "in/00.tar", first)
    write_tar(tmp_path / "in/01.tar", second)
    assert inpaint("in/{00..01}.tar", "-o", "out").code == 0
    made = read_tar(tmp_path / "out/00.tar")
    assert list(made) == list(first)
    changed = [name for name in first if made[name] != first[name]]
    assert changed == ["0000.png", "0001.png"]
    save(tmp_path / "photos/p.png", noise(seed=2))
    (tmp_path / "m.png").write_bytes(MASK)
    inpaint("photos", "--mask", "m.png", "-o", "plain")
    assert read_tar(tmp_path / "out/01.tar")["0002.png"] == (tmp_path / "plain/p.png").read_bytes()
    record = json.loads((tmp_path / "out/00.tar.json").read_text())
    assert record["sha256"] == hashlib.sha256((tmp_path / "out/00.tar").read_bytes()).hexdigest()


def test_a_sample_that_fails_is_left_out_of_its_shard(inpaint, tmp_path):
    write_tar(tmp_path / "in.tar", {**sample(0), **sample(1), "0001.png": b"no photo"})
    run = inpaint("in.tar", "-o", "out")
    assert run.code == 1
    assert "0001.png is not an image" in run.err
    assert list(read_tar(tmp_path / "out/in.tar")) == list(sample(0))
    assert list(json.loads((tmp_path / "out/in.tar.json").read_text())["failed"]) == ["0001.png"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a.png": photo(0)}, "a (1 photos, 0 masks)"),
        ({"a.mask.png": MASK}, "a (0 photos, 1 masks)"),
        ({"a.png": photo(0), "a.jpg": photo(0), "a.mask.png": MASK}, "a (2 photos, 1 masks)"),
        ({"a.txt": b"text"}, "no photos in"),
    ],
)
def test_a_shard_that_does_not_pair_fails_and_the_others_go_on(inpaint, tmp_path, members, words):
    write_tar(tmp_path / "0.tar", members)
    write_tar(tmp_path / "1.tar", sample(0))
    run = inpaint("{0..1}.tar", "-o", "out")
    assert run.code == 1
    assert words in run.err
    assert sorted(results(tmp_path / "out")) == ["1.tar", "1.tar.json"]


@pytest.mark.parametrize("cut", [100, 700, 1500])
def test_a_damaged_shard_is_one_line(inpaint, tmp_path, cut):
    data = write_tar(tmp_path / "0.tar", sample(0)).read_bytes()
    (tmp_path / "0.tar").write_bytes(data[:cut])
    run = inpaint("0.tar", "-o", "out")
    assert run.code == 1
    assert "is no tar file, or is damaged" in run.err


def test_a_folder_that_cannot_be_written_is_one_error(inpaint, folders, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    run = inpaint(f"{folders}/photos", "--mask", f"{folders}/masks", "-o", f"{folders}/file/out")
    assert run.code == 2
    assert run.err.count("error:") == 1
    assert "Not a directory" in run.err
