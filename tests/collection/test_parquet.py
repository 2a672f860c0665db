"""Parquet files in, Parquet files out: the same but for the photos."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.inpaint_files import HOLE
from tests.collection.samples import MASK, decoded, photo, read_tar, sample, write_tar

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # Hugging Face's
FEATURES = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}


def write(path, columns, row_group_size=2, **how):
    path.parent.mkdir(exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(FEATURES)
    pq.write_table(table, path, row_group_size=row_group_size, **how)


def images(kind, contents):
    cells = contents if kind != IMAGE else [{"bytes": data, "path": "x.png"} for data in contents]
    return pa.array(cells, kind)


def columns(kind, count=5, image="image", mask="mask"):
    return {
        "caption": pa.array([f"number {number}" for number in range(count)]),
        image: images(kind, [photo(number) for number in range(count)]),
        mask: images(kind, [MASK] * count),
        "boxes": pa.array([[[1, 2], [number]] for number in range(count)]),
    }


def contents(table, name="image"):
    cells = table.column(name).to_pylist()
    return [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), IMAGE], ids=["bytes", "large", "datasets"])
def test_the_photos_are_filled_and_all_else_stays(inpaint, tmp_path, kind):
    write(tmp_path / "in/0.parquet", columns(kind), compression="zstd")
    run = inpaint("in/{0..0}.parquet", "-o", "out", "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["counts"]["filled"] == 5
    before, after = (pq.ParquetFile(tmp_path / place / "0.parquet") for place in ("in", "out"))
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    assert after.schema_arrow.metadata[b"huggingface"] == FEATURES[b"huggingface"]
    assert [after.metadata.row_group(number).num_rows for number in range(3)] == [2, 2, 1]
    assert after.metadata.row_group(0).column(0).compression == "ZSTD"
    before, after = before.read(), after.read()
    assert after.drop_columns(["image"]).equals(before.drop_columns(["image"]))
    if kind == IMAGE:
        assert after.column("image")[0].as_py()["path"] == "x.png"
    for old, new in zip(contents(before), contents(after), strict=True):
        changed = (decoded(old) != decoded(new)).any(axis=-1)
        assert changed[HOLE > 0].any()
        assert not changed[HOLE == 0].any()


def test_photos_are_those_that_a_tar_gives(inpaint, tmp_path):
    write(tmp_path / "in.parquet", columns(pa.binary(), 2))
    write_tar(tmp_path / "in.tar", {**sample(0), **sample(1)})
    assert inpaint("in.parquet", "in.tar", "-o", "out").code == 0
    inpaint("in.tar", "-o", "again")
    made = contents(pq.read_table(tmp_path / "out/in.parquet"))
    tar = read_tar(tmp_path / "out/in.tar")
    assert made == [tar["0000.png"], tar["0001.png"]]


def test_a_row_that_fails_is_left_out(inpaint, tmp_path):
    rows = columns(IMAGE)
    rows["image"] = images(IMAGE, [photo(0), b"no photo", photo(2), photo(3), photo(4)])
    write(tmp_path / "in.parquet", rows)
    run = inpaint("in.parquet", "-o", "out")
    assert run.code == 1
    assert "row 1 is not an image" in run.err
    assert pq.read_table(tmp_path / "out/in.parquet").column("caption").to_pylist() == [
        f"number {number}" for number in (0, 2, 3, 4)
    ]
    assert list(json.loads((tmp_path / "out/in.parquet.json").read_text())["failed"]) == ["row 1"]


def test_other_names_are_said_and_one_mask_serves_all(inpaint, tmp_path):
    write(tmp_path / "in.parquet", columns(pa.binary(), 2, "picture", "hole"))
    run = inpaint("in.parquet", "-o", "out")
    assert run.code == 1
    assert "no column image or img or photo or jpg for photos; it has caption, picture, hole" in run.err
    assert inpaint("in.parquet", "-o", "named", "--columns", "picture,hole").code == 0
    (tmp_path / "mask.png").write_bytes(MASK)
    assert inpaint("in.parquet", "-o", "one", "--columns", "picture", "--mask", "mask.png").code == 0
    named, one = ((tmp_path / place / "in.parquet").read_bytes() for place in ("named", "one"))
    assert named == one


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mask": pa.array([MASK, None])}, "do not pair one to one: row 1 (1)"),
        ({"image": pa.array([None, {"bytes": None, "path": "a"}], IMAGE)}, "row 0, row 1 (2)"),
        ({"image": pa.array(["https://host/a.jpg"] * 2)}, "in.parquet holds string, not images"),
    ],
)
def test_a_file_without_all_photos_and_masks_fails(inpaint, tmp_path, changed, words):
    write(tmp_path / "in.parquet", columns(IMAGE, 2) | changed)
    run = inpaint("in.parquet", "-o", "out")
    assert run.code == 1
    assert words in run.err.replace("\n", " ")
    assert not (tmp_path / "out/in.parquet").exists()


@pytest.mark.parametrize("damage", ["cut", "middle"])
def test_a_damaged_file_is_one_line(inpaint, tmp_path, damage):
    write(tmp_path / "in.parquet", columns(IMAGE), compression="snappy")
    data = bytearray((tmp_path / "in.parquet").read_bytes())
    if damage == "cut":
        del data[-100:]
    else:
        data[:3000] = np.random.default_rng(0).bytes(3000)
        data[:4] = b"PAR1"
    (tmp_path / "in.parquet").write_bytes(data)
    run = inpaint("in.parquet", "-o", "out")
    assert run.code == 1
    assert run.err.count("error:") == 1
    assert "is no Parquet file, or is damaged" in run.err


def test_columns_need_a_parquet_file(inpaint, tmp_path):
    write_tar(tmp_path / "in.tar", sample(0))
    run = inpaint("in.tar", "-o", "out", "--columns", "a,b")
    assert run.code == 2
    assert "--columns is for Parquet files" in run.err
