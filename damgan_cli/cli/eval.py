"""``damgan eval``."""

from __future__ import annotations


def evaluate() -> None:
    """Being written."""
