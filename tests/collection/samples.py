"""Photos with masks for collections, and what lies in places."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cli.inpaint_files import HOLE
from tests.photos.photo_kinds import noise


def encoded(pixels, form="PNG"):
    """A picture as bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


MASK = encoded(HOLE)


def photo(seed):
    return encoded(noise(seed=seed))


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def write_tar(path, members):
    """A shard of ``members``, a dict of names and bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return path


def read_tar(data):
    """Name and bytes of all members, in order; ``data`` is a path or bytes."""
    data = data if isinstance(data, bytes) else Path(data).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def sample(number):
    """Photo, mask and label of a shard."""
    return {
        f"{number:04d}.png": photo(number),
        f"{number:04d}.mask.png": MASK,
        f"{number:04d}.cls": str(number).encode(),
    }


def tree(root):
    """All files below a folder, by name."""
    root = Path(root)
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
