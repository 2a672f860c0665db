"""Which settings made which output, so that a later run with others does not take them for its own.

Each folder with outputs has one small hidden file, `RECORD`. It only ever grows, by a line for each run that
has something new to say, so that no run needs to wait for another one; the last word on a file counts. What
is to be written is noted down before, and only if it is not there yet or of the same settings: so a run may
be killed at any moment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from damgan_cli.errors import ImageFileError
from damgan_cli.runtime.paths import exists, is_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECORD = ".damgan.jsonl"
Settings = dict[str, Any]

_UNKNOWN: Settings = {}  # of what was there when a run began that was to replace it
_SHOWN = 3


class Record:
    """The records of all folders that are asked for, each read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Settings]] = {}

    def of(self, output: Path) -> Settings | None:
        """The settings that made ``output``; None if it is not ours, or of before there were records."""
        folder = output.parent
        if folder not in self._folders:
            self._folders[folder] = _read(folder / RECORD)
        return self._folders[folder].get(output.name)

    def check(self, outputs: Iterable[Path], settings: Settings) -> None:
        """Raise ImageFileError if ``outputs``, which are to be skipped, were made with other ``settings``."""
        known = [(path, made) for path in outputs if (made := self.of(path)) is not None]
        stale = [(path, made) for path, made in known if changes(made, settings)]
        if not stale:
            return
        differences = dict.fromkeys(text for _, made in stale for text in changes(made, settings))
        names = ", ".join(str(path) for path, _ in stale[:_SHOWN]) + ", ..." * (len(stale) > _SHOWN)
        raise ImageFileError(
            f"{len(stale)} of the outputs that exist were made with other settings: {'; '.join(differences)} "
            f"({names}).",
            "Make them anew with --overwrite, choose another -o to keep them, or go on with their settings.",
        )

    def begin(self, outputs: Iterable[Path], settings: Settings) -> list[Path]:
        """Note that a run with ``settings`` makes ``outputs``; returns those to be noted by `end`.

        These exist, with other settings or unknown ones, until they are replaced. Raises ImageFileError.
        """
        others = [path for path in outputs if self.of(path) != settings]
        replaced = [path for path in others if exists(path)]
        self._note([path for path in replaced if self.of(path) is not None], _UNKNOWN)
        waiting = set(replaced)
        self._note([path for path in others if path not in waiting], settings)
        return replaced

    def end(self, replaced: Iterable[Path], settings: Settings) -> None:
        """Note that outputs that `begin` returned are replaced now. Raises ImageFileError."""
        self._note(replaced, settings)

    def _note(self, outputs: Iterable[Path], settings: Settings) -> None:
        folders: dict[Path, list[str]] = {}
        for path in outputs:
            folders.setdefault(path.parent, []).append(path.name)
        for folder, names in folders.items():
            line = json.dumps({"version": 1, "settings": settings, "files": names})
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / RECORD).open("ab") as file:
                    file.write(f"\n{line}\n".encode())  # the line before may have been cut short
            except OSError as problem:
                raise ImageFileError(
                    f"Cannot write {folder / RECORD} ({problem.strerror}): it records what made the outputs.",
                    "Choose another output place.",
                ) from None


def _read(path: Path) -> dict[str, Settings]:
    made: dict[str, Settings] = {}
    try:
        lines = path.read_bytes().splitlines() if is_file(path) else []
    except OSError:
        return made
    for line in lines:
        try:
            entry = json.loads(line)
            made.update({name: dict(entry["settings"]) for name in entry["files"]})
        except (ValueError, LookupError, TypeError):  # empty, cut short by a crash, or of a later version
            continue
    return made


def changes(made: Settings, settings: Settings) -> list[str]:
    """In which options two runs differ, with both values."""
    if made == _UNKNOWN:
        return ["a run that was to replace them was stopped"]
    return [
        f"--{key.replace('_', '-')} {_shown(made[key])}, now {_shown(settings[key])}"
        for key in made
        if key in settings and made[key] != settings[key]  # one mask cannot be compared with a folder of them
    ]


def _shown(value: Any) -> str:
    return {"None": "not given", "True": "on", "False": "off"}.get(str(value), str(value))
