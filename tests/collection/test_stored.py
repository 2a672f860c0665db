"""``damgan eval`` and ``damgan mask`` of addresses: what they say and make for folders."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.collection.samples import MASK, encoded, photo, tree, write_tar
from tests.photos.photo_kinds import noise

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ("a", "sub/b.c", "sub/d")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Truths, results and masks in trees, and the address of all."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        for kind, data in (("truths", photo(number)), ("results", photo(number + 9)), ("masks", MASK)):
            path = tmp_path / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return tmp_path.as_uri()


def without_places(text):
    document = json.loads(text)
    for key in ("ground_truth", "mask"):
        document.pop(key)
    for row in document["rows"]:
        row.pop("results")
    return document


def test_scores_are_those_of_folders(damgan, folders, bucket, tmp_path):
    bucket.put({name: data for name, data in tree(tmp_path).items() if not name.startswith("masks")})
    arguments = ("--metrics", "ms-ssim", "--json")
    plain = damgan("eval", "results", "truths", "--mask", "masks", *arguments)
    for place, masks in ((folders, f"{folders}/masks"), (bucket.url, "masks")):
        run = damgan("eval", f"{place}/results", f"{place}/truths", "--mask", masks, *arguments)
        assert run.code == 0, run.err
        assert without_places(run.out) == without_places(plain.out)


def test_shards_are_scored_with_the_masks_in_them(damgan, folders, tmp_path):
    keys = {name.replace(".", "-"): name for name in NAMES}
    for place in ("results", "truths"):
        photos = {key: (tmp_path / place / f"{name}.png").read_bytes() for key, name in keys.items()}
        members = {f"{key}.png": data for key, data in photos.items()}
        write_tar(tmp_path / place / "0.tar", members | {f"{key}.mask.png": MASK for key in keys})
        cells = {"image": list(photos.values()), "mask": [MASK] * 3}
        pq.write_table(pa.table(cells), tmp_path / place / "0.parquet")
    plain = json.loads(damgan("eval", "results", "truths", "--mask", "masks", "--json").out)
    for kind in ("tar", "parquet"):
        truths = f"truths/{{0..0}}.{kind}"
        run = damgan("eval", f"{folders}/results/{{0..0}}.{kind}", truths, "--mask", truths, "--json")
        assert run.code == 0, run.err
        (row,) = json.loads(run.out)["rows"]
        assert row["mean"] == plain["rows"][0]["mean"]


def test_one_mask_and_a_report_with_pictures(damgan, folders, tmp_path):
    run = damgan(
        *("eval", f"{folders}/results", "truths", "--mask", f"{folders}/masks/a.png"),
        *("--report", "report", "--csv", "scores.csv"),
    )
    assert run.code == 0, run.err
    assert (tmp_path / "report/index.html").stat().st_size > 5000
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 4


def test_a_pair_that_fails_is_named_by_its_address(damgan, folders, tmp_path):
    (tmp_path / "results/a.png").write_bytes(b"no photo")
    run = damgan("eval", f"{folders}/results", f"{folders}/truths")
    assert run.code == 1
    assert f"{folders}/results/a.png is not an image" in run.err.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{}/results", "{}/nothing"), "does not exist"),
        (("{}/results", "{}/masks/sub"), "do not pair one to one"),
        (("{}/a.tar", "{}/truths"), "do not go together"),
        (("{}/a.tar", "{}/b.tar"), "a.tar does not exist"),
        (("https://host/results", "truths"), "nothing can be listed"),
        (("--images", "truths", "--mask", "{}/masks"), "the masks are a folder of this machine"),
    ],
)
def test_what_cannot_be_scored_is_one_error(damgan, folders, arguments, words):
    run = damgan("eval", *(text.replace("{}", folders) for text in arguments))
    assert run.code == 2
    assert run.err.count("error:") == 1
    assert words in run.err.replace("\n", " ")


def rows(text):
    """A manifest's, without where masks were made from."""
    return [row | {"source": ""} for row in csv.DictReader(io.StringIO(text))]


@pytest.mark.parametrize(
    "arguments",
    [
        ("thick", "box", "--like", "{}/truths", "--seed", "3"),
        ("center", "--size", "40x30", "--count", "2"),
        ("from-color", "{}/masks", "--color", "white"),
        ("from-diff", "{}/truths", "{}/edited"),
    ],
)
def test_masks_are_those_of_folders(damgan, folders, bucket, tmp_path, arguments):
    for number, name in enumerate(NAMES):
        edited = noise(seed=number)
        edited[5:9, 5:9] = 255 - edited[5:9, 5:9]
        path = tmp_path / "edited" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(edited))
    bucket.put(tree(tmp_path))
    assert damgan("mask", *(text.replace("{}/", "") for text in arguments), "-o", "made").code == 0
    run = damgan("mask", *(text.replace("{}", bucket.url) for text in arguments), "-o", f"{bucket.url}/made")
    assert run.code == 0, run.err
    stored, plain = bucket.under("made"), tree(tmp_path / "made")
    assert rows(stored.pop("manifest.csv").decode()) == rows(plain.pop("manifest.csv").decode())
    assert stored == plain


def test_masks_are_created_once(damgan, folders, tmp_path):
    arguments = ("mask", "thick", "--like", f"{folders}/truths", "-o", f"{folders}/made")
    assert damgan(*arguments).code == 0
    before = tree(tmp_path / "made")
    (tmp_path / "made/a.png").unlink()
    assert damgan(*arguments).code == 0
    assert tree(tmp_path / "made") == before
    run = damgan(*arguments, "--seed", "1")
    assert run.code == 1
    assert run.err.count("is there, and is another mask") == 3
    assert tree(tmp_path / "made") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("thick", "--like", "{}/truths", "-o", "{}/truths/made"), "lie in each other"),
        (("thick", "--like", "{}/truths", "-o", "{}/made", "--overwrite"), "--overwrite does not go"),
        (("thick", "-o", "https://host/made"), "no place for masks"),
        (("same", "{}/truths", "-o", "made"), "same is for photos of this machine"),
        (("nothing", "--like", "{}/truths", "-o", "{}/made"), "nothing"),
    ],
)
def test_masks_that_cannot_be_are_one_error(damgan, folders, tmp_path, arguments, words):
    run = damgan("mask", *(text.replace("{}", folders) for text in arguments))
    assert run.code == 2, run.err
    assert run.err.count("error:") == 1
    assert words in run.err.replace("\n", " ")
    assert not (tmp_path / "made").exists()
