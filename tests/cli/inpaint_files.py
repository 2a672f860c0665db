"""A hole for the tests of ``damgan inpaint``, and what they look for in folders and messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from damgan_cli.inpainting import folder
from damgan_cli.inpainting.record import RECORD
from tests.photos.photo_kinds import HEIGHT, WIDTH

HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[5:20, 7:30] = True


def files(root):
    paths = (path.relative_to(root) for path in Path(root).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if path.name != RECORD)


def stop_after_one(monkeypatch):
    """Ctrl-C after the first photo of a run."""
    fill_photos = folder.fill_photos

    def interrupted(jobs, inpainter, options):
        results = fill_photos(jobs, inpainter, options)
        yield next(results)
        results.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "fill_photos", interrupted)


def one_error(result, *words):
    """Bad input: exit code 2, nothing on stdout, one message that says all of ``words``."""
    assert result.code == 2, result.err
    assert result.out == ""
    assert result.err.count("error:") == 1
    for word in words:
        assert word in result.err.replace("\n", " ")
