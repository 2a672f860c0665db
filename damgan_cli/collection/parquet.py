"""Parquet files with photos and masks in columns, as Hugging Face's datasets have them.

A cell is a whole image file: bytes, or a struct ``{bytes, path}`` of which only the bytes count.
"""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from damgan_cli.collection.shards import Unpacked, file_name
from damgan_cli.errors import ImageFileError, PairingError
from damgan_cli.photos.limits import most_bytes
from damgan_cli.photos.pairing import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

PHOTOS = ("image", "img", "photo", "jpg")
"""What the column of photos is called, unless it is said; the first that is there."""
MASKS = ("mask", "mask_image")

_ROWS = 16  # that are in memory at once while photos are written to files
_BUFFER = 1 << 20  # bytes of a column that are read at once


def require_pyarrow() -> None:
    """Raise ImageFileError if pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise ImageFileError(
            "Parquet files need pyarrow, which is not installed.", "pip install 'damgan[cloud]'"
        )


def unpack(
    file: Path, folder: Path, where: str, *, with_masks: bool, columns: tuple[str, ...] = ()
) -> list[Unpacked]:
    """Write the photos of ``file``, and their masks, into ``folder``, a few rows at a time.

    ``columns`` names that of photos, and that of masks. Raises PairingError for rows without photo or mask,
    ImageFileError for missing columns and for what is no Parquet file or is damaged.
    """
    unpacked, incomplete, row = [], [], 0
    with _opened(file, where) as source:
        names = _columns(source.schema_arrow, where, with_masks=with_masks, columns=columns)
        for batch in source.iter_batches(_ROWS, columns=names):
            for cells in zip(*(_contents(batch.column(name)) for name in names), strict=True):
                if None in cells:
                    incomplete.append(_key(row))
                elif max(map(len, cells)) > most_bytes():
                    raise ImageFileError(f"{_key(row)} of {where} is larger than any image.")
                else:
                    # without an extension they are, and stay, of the format that their content has
                    paths = [folder / file_name(row, role) for role in ("photo", "mask")][: len(cells)]
                    for path, content in zip(paths, cells, strict=True):
                        path.write_bytes(content)
                    unpacked.append(Unpacked(_key(row), _key(row), paths[0], next(iter(paths[1:]), None)))
                row += 1
    if not row:
        raise PairingError(f"There are no photos in {where}.", "It has no rows.")
    if incomplete:
        raise PairingError(
            f"Photos and masks in {where} do not pair one to one: {some(incomplete)}.",
            f"Each row needs the bytes of an image in {' and '.join(names)}.",
        )
    return unpacked


def pack(
    file: Path,
    target: Path,
    filled: Mapping[str, Path],
    left_out: Collection[str],
    columns: tuple[str, ...] = (),
) -> None:
    """Write ``target``: ``file`` with the photos in ``filled`` in the place of its own.

    Schema, metadata, row groups and compression are as they were; rows ``left_out`` are left out: their
    photos have failed. One row group is in memory at a time, before and after.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(file, file.name) as source:
        schema = source.schema_arrow
        (name,) = _columns(schema, file.name, with_masks=False, columns=columns[:1])
        place = schema.get_field_index(name)
        first = source.num_row_groups and source.metadata.row_group(0)
        leaves = [first.column(number) for number in range(first.num_columns)] if first else []
        with pq.ParquetWriter(
            target,
            schema,
            compression={leaf.path_in_schema: _codec(leaf.compression) for leaf in leaves} or "snappy",
            use_dictionary=[leaf.path_in_schema for leaf in leaves if leaf.has_dictionary_page] or False,
        ) as writer:
            row = 0
            for group in range(source.num_row_groups):
                batches = []
                for batch in source.iter_batches(_ROWS, row_groups=[group]):
                    keys = [_key(row + number) for number in range(batch.num_rows)]
                    photos = [
                        filled[key].read_bytes() if key in filled else content
                        for key, content in zip(keys, _contents(batch.column(place)), strict=True)
                    ]
                    changed = batch.set_column(
                        place, schema.field(place), _with_contents(batch.column(place), photos)
                    )
                    batches.append(changed.filter(pa.array([key not in left_out for key in keys])))
                    row += batch.num_rows
                table = pa.Table.from_batches(batches, schema)
                writer.write_table(table, row_group_size=max(1, table.num_rows))


def _key(row: int) -> str:
    return f"row {row}"


@contextlib.contextmanager
def _opened(file: Path, where: str) -> Iterator[Any]:
    """A Parquet file; what is wrong with it is an ImageFileError. Errors of the disk stay OSErrors."""
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as source:
            yield source
    except (pa.ArrowException, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno:
            raise
        reason = str(problem).splitlines()[0].replace(str(file), where)
        raise ImageFileError(f"{where} is no Parquet file, or is damaged ({reason}).") from None


def _columns(schema: Any, where: str, *, with_masks: bool, columns: tuple[str, ...]) -> list[str]:
    """The names of the columns to read: of photos, and of masks if they are wanted."""
    names = []
    for role, known, given in (
        ("photos", PHOTOS, columns[:1]),
        *((("masks", MASKS, columns[1:2]),) if with_masks else ()),
    ):
        name = next((name for name in given or known if name in schema.names), None)
        if name is None:
            raise ImageFileError(
                f"{where} has no column {' or '.join(given or known)} for {role}; it has "
                f"{', '.join(schema.names)}.",
                "Name the columns with --columns PHOTOS,MASKS.",
            )
        if not _holds_files(schema.field(name).type):
            raise ImageFileError(
                f"The column {name} of {where} holds {schema.field(name).type}, not images.",
                "Wanted is the content of image files: binary, or a struct of bytes and path.",
            )
        names.append(name)
    return names


def _holds_files(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_files(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _contents(column: Any) -> list[bytes | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    nested = pa.types.is_struct(column.type)
    return list((pc.struct_field(column, "bytes") if nested else column).to_pylist())


def _with_contents(column: Any, contents: list[bytes | None]) -> Any:
    """A column with other image files in it."""
    import pyarrow as pa

    if not pa.types.is_struct(column.type):
        return pa.array(contents, column.type)
    fields = list(column.type)
    parts = [
        pa.array(contents, field.type) if field.name == "bytes" else column.field(field.name)
        for field in fields
    ]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=column.is_null())


def _codec(name: str) -> str:
    return "none" if name == "UNCOMPRESSED" else name.lower()
