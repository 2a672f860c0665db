"""A new image format is one new file: nothing else in the package knows formats by name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import damgan_cli
from damgan_cli.photos.formats import EXTENSIONS, FORMATS
from tests.photos.photo_kinds import noise

PACKAGE = Path(damgan_cli.__file__).parent

MADE_UP = """
import struct
import numpy as np
from damgan_cli.photos.formats.common import Format
from damgan_cli.photos.photo import Photo

def size(file):
    return struct.unpack("<LL", file.read(12)[4:])

def read(data):
    width, height = struct.unpack("<LL", data[4:12])
    return Photo(np.frombuffer(data, np.uint8, offset=12).reshape(height, width, 3), "RGB", format="Plain")

def write(photo, quality):
    height, width = photo.pixels.shape[:2]
    return b"PLN1" + struct.pack("<LL", width, height) + photo.pixels.tobytes()

def probe(header):
    return header.startswith(b"PLN1")

FORMAT = Format("Plain", (".pln",), frozenset({"RGB"}), probe, size, read, write)
"""

USE = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from damgan_cli.masks.read import read_mask
from damgan_cli.photos.fill import filled
from damgan_cli.photos.files import list_images
from damgan_cli.photos.read import displayed_size, read_photo, read_rgb
from damgan_cli.photos.write import write_photo

assert "made-up" in sys.modules["damgan_cli"].__file__
pixels = np.asarray(Image.open("a.png"))
hole = pixels[..., 0] > 127
write_photo(read_photo(Path("a.png")), Path("photos/b.pln"))
(path,) = list_images(Path("photos"))
assert displayed_size(path) == pixels.shape[1::-1]
write_photo(filled(read_photo(path), 255 - pixels, hole), Path("c.pln"))
assert np.array_equal(read_rgb(Path("c.pln")), np.where(hole[..., None], 255 - pixels, pixels))
write_photo(read_photo(Path("c.pln")), Path("d.png"))
assert np.array_equal(np.asarray(Image.open("d.png")), read_rgb(Path("c.pln")))
assert read_mask(path).shape == hole.shape
"""


def test_a_made_up_format_is_one_new_file(tmp_path):
    copy = tmp_path / "made-up" / "damgan_cli"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "photos" / "formats" / "plain.py").write_text(MADE_UP)
    from PIL import Image

    Image.fromarray(noise()).save(tmp_path / "a.png")
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USE],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(copy.parent), *sys.path])},
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "c.pln").read_bytes().startswith(b"PLN1")


def test_no_format_is_known_by_name_outside_of_its_file():
    named = re.compile(rf"[!=]= *\"({'|'.join(form.name for form in FORMATS)})\"")
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "formats":
            assert not named.search(path.read_text(encoding="utf-8")), path


def test_formats_share_no_extension():
    assert len(EXTENSIONS) == sum(len(form.extensions) for form in FORMATS)
