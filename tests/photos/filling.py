"""Fill a file and write it, as ``damgan inpaint`` does, with a colour in place of the model."""

from __future__ import annotations

import numpy as np

from damgan_cli.photos.fill import filled
from damgan_cli.photos.read import read_photo
from damgan_cli.photos.write import write_photo
from tests.photos.photo_kinds import HEIGHT, WIDTH, stored_pixels

HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[5:20, 7:30] = True
FILL = np.empty((HEIGHT, WIDTH, 3), np.uint8)
FILL[:] = (200, 60, 20)


def fill_file(source, target, fill=FILL, hole=HOLE, **options):
    photo = read_photo(source)
    before = stored_pixels(source)
    write_photo(filled(photo, fill, hole, **options), target)
    assert np.array_equal(stored_pixels(source), before)  # the source file is untouched
    return photo
