"""``damgan mask``."""

from __future__ import annotations


def mask() -> None:
    """Being written."""
