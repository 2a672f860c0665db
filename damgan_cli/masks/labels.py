"""Masks that tell several things apart: COCO files with run lengths or polygons, and labelled images."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.photos.photo import display
from damgan_cli.photos.read import decode

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]

_MOST_BYTES = 1 << 30
_SHOWN = 10


def read_labels(path: Path, values: Collection[int]) -> Hole:
    """Where a labelled image has one of ``values``: (H, W) bool, upright.

    A label is a palette index or a gray level of 8 or 16 bits. Raises ImageFileError for a coloured image,
    and MaskError, which names the labels there are, if none of ``values`` is among them.
    """
    photo = decode(path, unkept="such a mask cannot be read")
    if photo.pixels.ndim != 2:
        raise ImageFileError(
            f"The mask {path} has colours (mode {photo.mode}) where --mask-value needs labels.",
            "Save it as gray or with a palette, or make a mask of one colour by `damgan mask from-color`.",
        )
    labels = display(photo.pixels, photo.orientation).astype(np.int64)
    hole = np.isin(labels, list(values))
    if not hole.any():
        there = np.unique(labels).tolist()
        listed = ", ".join(map(str, there[:_SHOWN])) + ", ..." * (len(there) > _SHOWN)
        raise MaskError(f"The mask {path} has no pixel of the value {_some(values)}; it has {listed}.")
    return hole


class CocoFile:
    """A COCO file, or what is like one: a single annotation, or a list of them, or a bare run-length mask."""

    def __init__(self, path: Path) -> None:
        """Raises ImageFileError if the file cannot be read, and MaskError if it holds no masks."""
        self.path = path
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ImageFileError(f"{path} is larger than 1 GiB.", "Split it.")
            document = json.loads(path.read_bytes())
        except OSError as problem:
            raise ImageFileError(f"{path} cannot be read ({problem.strerror}).") from None
        except (ValueError, RecursionError) as problem:
            raise ImageFileError(f"{path} is no JSON ({problem}).") from None
        self._images: list[dict[str, Any]] | None = None
        if isinstance(document, dict) and isinstance(document.get("annotations"), list):
            images = document.get("images")
            self._images = images if isinstance(images, list) else None
            document = document["annotations"]
        entries = document if isinstance(document, list) else [document]
        if not all(
            isinstance(entry, dict) and {"segmentation", "counts"} & entry.keys() for entry in entries
        ):
            raise MaskError(
                f"{path} holds no masks that can be read.",
                "It must be a COCO file (images, annotations), annotations with a segmentation, or a "
                "run-length mask {size, counts}.",
            )
        self._annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for entry in entries:
            self._annotations[entry.get("image_id")].append(entry)

    def hole(self, name: str, height: int, width: int, categories: Collection[int] = ()) -> Hole:
        """The hole of the photo ``name`` (its path or file name): (height, width) bool.

        All annotations of it, or those of ``categories``, together. Without images in the file all that it
        holds is of this photo. Raises MaskError if the photo is not in it, or is of another size there.
        """
        if self._images is None:
            entries = [entry for entries in self._annotations.values() for entry in entries]
        else:
            image = self._image(name)
            size = image.get("width"), image.get("height")
            if None not in size and size != (width, height):
                raise MaskError(
                    f"In {self.path} the photo {name} is {size[0]}x{size[1]}, but it is {width}x{height}.",
                    "The masks are for another version of it.",
                )
            entries = self._annotations[image.get("id")]
        hole = np.zeros((height, width), bool)
        for entry in entries:
            if not categories or entry.get("category_id") in categories:
                try:
                    _draw(hole, entry.get("segmentation", entry))
                except (ValueError, TypeError, KeyError, IndexError, OverflowError) as problem:
                    raise MaskError(
                        f"A mask of {name} in {self.path} is damaged or not of {width}x{height} ({problem})."
                    ) from None
        return hole

    def _image(self, name: str) -> dict[str, Any]:
        own = PurePosixPath(name)
        images = [image for image in self._images or [] if isinstance(image, dict)]
        listed = [(PurePosixPath(str(image.get("file_name")).replace("\\", "/")), image) for image in images]
        for alike in (
            [image for path, image in listed if path == own],
            [image for path, image in listed if path.name == own.name],
            [image for path, image in listed if path.stem == own.stem],
        ):
            if len(alike) == 1:
                return alike[0]
            if alike:
                raise MaskError(f"{self.path} lists several photos {own.name}.", "Give one folder at a time.")
        raise MaskError(f"{self.path} does not list the photo {name} among its images.")


def _draw(hole: Hole, segmentation: Any) -> None:
    """Add a segmentation of COCO's: polygons [[x, y, x, y, ...], ...], or run lengths {size, counts}."""
    if isinstance(segmentation, dict):
        if tuple(segmentation["size"]) != hole.shape:
            raise ValueError(f"size {segmentation['size']}")
        hole |= decode_rle(segmentation["counts"], *hole.shape)
        return
    for polygon in segmentation:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        drawn = np.zeros(hole.shape, np.uint8)
        cv2.fillPoly(drawn, [np.rint((corners - 0.5) * 256).astype(np.int32)], 1, cv2.LINE_8, 8)
        hole |= drawn > 0


def decode_rle(counts: list[int] | str, height: int, width: int) -> Hole:
    """Run lengths of COCO's, column by column, from False on: a list, or compressed into a string.

    Compressed (``rleToString`` of cocoapi's maskApi.c): 5 bits a character, offset 48, bit 5 says that more
    follow, and from the third on a count is the difference to the one before the last. Raises ValueError.
    """
    runs = _decompressed(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"{sum(runs)} pixels of {height * width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _decompressed(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"the letter {letter!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _some(values: Collection[int]) -> str:
    return " or ".join(map(str, values))
