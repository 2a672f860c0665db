"""``damgan inpaint``."""

from __future__ import annotations


def inpaint() -> None:
    """Being written."""
