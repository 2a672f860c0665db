"""Pair the files of two folders strictly: by relative path without extension, one to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damgan_cli.errors import PairingError
from damgan_cli.photos.files import list_images

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

_SHOWN = 10


@dataclass(frozen=True)
class Pair:
    """Two files that belong together."""

    name: str
    """Relative path without extension, with forward slashes."""
    left: Path
    right: Path


def pair_by_relative_path(
    left_root: Path,
    right_root: Path,
    left_name: str,
    right_name: str,
    *,
    exclude: Collection[Path] = (),
    optional: Collection[Path] = (),
) -> list[Pair]:
    """Pair every image under ``left_root`` with the one of the same relative path under ``right_root``.

    Extensions do not count: ``a/b.jpg`` goes with ``a/b.png``. The names (plurals such as "photos" and
    "masks") serve the messages; what is or lies in one of ``exclude`` takes no part, ``optional`` files under
    ``left_root`` only if they have a partner. Sorted by name. Raises PairingError, listing both sides at
    once, if anything is unpaired or ambiguous (``b.jpg`` beside ``b.png``) or if there is nothing to pair.
    """
    lefts, rights = _by_name(left_root, exclude), _by_name(right_root, exclude)
    dispensable = set(optional)
    lefts = {
        name: files for name, files in lefts.items() if name in rights or not dispensable.issuperset(files)
    }
    return paired(lefts, rights, (left_name, str(left_root)), (right_name, str(right_root)))


def paired(
    lefts: dict[str, list[Path]], rights: dict[str, list[Path]], left: tuple[str, str], right: tuple[str, str]
) -> list[Pair]:
    """Pair what `pair_by_relative_path` does, listed already: files by their names.

    ``left`` and ``right`` are what they are called, and where they lie. Raises PairingError.
    """
    (left_name, left_root), (right_name, right_root) = left, right
    problems: list[str] = []
    for side, root, files in ((left_name, left_root, lefts), (right_name, right_root, rights)):
        if not files:
            problems.append(f"there are no {side} in {root}")
        twins = [" + ".join(path.name for path in same) for same in files.values() if len(same) > 1]
        if twins:
            problems.append(f"{side} that differ only in their extension: {some(twins)}")
    if lefts and rights:
        for side, other, alone in (
            (left_name, right_name, lefts.keys() - rights.keys()),
            (right_name, left_name, rights.keys() - lefts.keys()),
        ):
            if alone:
                problems.append(f"{side} without {other}: {some(sorted(alone))}")
    if problems:
        raise PairingError(
            f"The {left_name} and {right_name} do not pair one to one: " + "; ".join(problems) + ".",
            f"Give each of the {left_name} in {left_root} one file of the same relative path and name in "
            f"{right_root} (extensions may differ).",
        )
    return [Pair(name, lefts[name][0], rights[name][0]) for name in sorted(lefts)]


def partners(
    names: Sequence[str], root: Path, left_name: str, right_name: str, *, exclude: Collection[Path] = ()
) -> list[Path]:
    """The image under ``root`` for each of ``names``, relative paths without extension; more may lie there.

    Raises PairingError, listing all, if there is none for a name or more than one.
    """
    found = _by_name(root, exclude)
    alone = [name for name in names if name not in found]
    twins = [" + ".join(path.name for path in found[name]) for name in names if len(found.get(name, ())) > 1]
    problems = [f"{left_name} without {right_name}: {some(alone)}"] if alone else []
    problems += [f"{right_name} that differ only in their extension: {some(twins)}"] if twins else []
    if problems:
        raise PairingError(
            f"The {left_name} do not each have one of the {right_name}: {'; '.join(problems)}.",
            f"Give each a file of the same name in {root} (extensions may differ).",
        )
    return [found[name][0] for name in names]


def _by_name(root: Path, exclude: Collection[Path]) -> dict[str, list[Path]]:
    named: dict[str, list[Path]] = {}
    for path in list_images(root, exclude):
        named.setdefault(path.relative_to(root).with_suffix("").as_posix(), []).append(path)
    return named


def some(names: list[str]) -> str:
    """The first ten of ``names``, and how many there are, for messages."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else f"{shown} ({len(names)})"
