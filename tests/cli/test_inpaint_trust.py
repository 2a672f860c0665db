"""A run of ``damgan inpaint`` that one can trust: killed, starved, and given files of every bad kind."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from damgan_cli.cli import inpaint as command
from damgan_cli.inpainting import folder, targets
from damgan_cli.photos import read
from tests.cli.inpaint_files import HOLE, files, one_error
from tests.files import pixels, save
from tests.photos.photo_kinds import decompression_bomb, huge_row, noise

linux = pytest.mark.skipif(sys.platform != "linux", reason="fork, and names and links as Linux has them")
FOLDERS = ("photos", "--mask", "masks", "-o", "out")


def entries(result):
    return {Path(entry["photo"]).name: entry for entry in json.loads(result.out)["files"]}


def failures(result):
    return {name: entry["error"] for name, entry in entries(result).items() if entry["status"] == "failed"}


# ------------------------------------------------------------------------------------------ killed
def _in_background(arguments, kill_at_write=None):
    """In a forked process, which needs no start-up: the command, killed before it renames its nth file."""
    if kill_at_write is not None:
        replace, count = Path.replace, iter(range(kill_at_write))
        Path.replace = lambda self, target: (
            replace(self, target) if next(count, None) is not None else os.kill(os.getpid(), signal.SIGKILL)
        )
    sys.argv = ["damgan", "inpaint", *map(str, arguments), "-q"]
    from damgan_cli.cli import main

    main()


@linux
def test_killed_at_any_moment_the_same_command_finishes_to_the_same_bytes(inpaint, tmp_path, tiny_weights):
    big, hole = np.tile(noise(), (5, 5, 1)), np.tile(HOLE, (5, 5))
    for number in range(24):
        save(tmp_path / "photos" / f"{number % 3}" / f"{number}.png", np.roll(big, number, axis=1))
    save(tmp_path / "hole.png", hole)
    arguments = ("photos", "--mask", "hole.png", "--attention", "maps", "--weights", tiny_weights)
    assert inpaint(*arguments, "-o", "undisturbed", "--batch-size", 3).code == 0
    maps = {name: Path("maps", name).read_bytes() for name in files("maps")}
    arguments = ("photos", "--mask", "hole.png", "--attention", "maps2", "--weights", tiny_weights)
    arguments += ("-o", "killed", "--batch-size", "3")
    fork, rng, kills = multiprocessing.get_context("fork"), random.Random(0), 0
    for kill_at_write in (0, 3, 7, None, None, None, None):
        run = fork.Process(target=_in_background, args=(arguments, kill_at_write))
        run.start()
        if kill_at_write is None:
            time.sleep(rng.uniform(0.1, 0.5))
            run.kill()
        run.join(60)
        kills += run.exitcode == -signal.SIGKILL
    assert kills >= 3
    assert inpaint(*arguments).code == 0  # which also looks for stray temporary files
    assert files("killed") == files("undisturbed") == files("maps2")
    assert len(files("killed")) == 24
    for name in files("killed"):
        assert Path("killed", name).read_bytes() == Path("undisturbed", name).read_bytes()
        assert Path("maps2", name).read_bytes() == maps[name]


@linux
def test_strays_are_removed_even_if_all_is_done(inpaint, tree):
    assert inpaint(*FOLDERS).code == 0
    Path("out/sub", f".damgan-{'0' * 32}.tmp").touch()
    assert "3 skipped" in inpaint(*FOLDERS).err


def test_what_a_crash_of_the_machine_left_empty_is_filled_again(inpaint, tree):
    assert inpaint(*FOLDERS).code == 0
    whole = Path("out/a.png").read_bytes()
    Path("out/a.png").write_bytes(b"")
    assert "1 filled, 2 skipped" in inpaint(*FOLDERS).err
    assert Path("out/a.png").read_bytes() == whole


def test_sync_waits_for_the_disk_at_each_file_of_a_folder(inpaint, tree, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert inpaint(*FOLDERS).code == 0
    assert synced == []
    assert inpaint(*FOLDERS, "--sync", "--overwrite").code == 0
    assert len(synced) == 6  # the file, and the folder that names it
    assert inpaint("photos/a.png", "--mask", "masks/a.bmp").code == 0
    assert len(synced) == 8


# ------------------------------------------------------------------------------------------ starved
def test_a_full_disk_fails_the_files_it_has_no_room_for(inpaint, tree, monkeypatch):
    fdopen, room = os.fdopen, iter(range(1))

    def full(descriptor, *args):
        if args == ("wb",) and next(room, None) is None:
            os.close(descriptor)
            raise OSError(28, "No space left on device")
        return fdopen(descriptor, *args)

    monkeypatch.setattr("damgan_cli.runtime.atomic.os.fdopen", full)
    result = inpaint(*FOLDERS, "--json")
    assert result.code == 1
    assert result.err.count("No space left on device). Free some space.") == 2
    assert len(failures(result)) == 2
    assert len(files("out")) == 1
    monkeypatch.undo()
    os.chdir(tree)
    assert "2 filled, 1 skipped" in inpaint(*FOLDERS).err


def test_too_little_memory_for_a_photo_fails_that_photo(inpaint, tree, monkeypatch):
    opened = read._opened

    def no_memory(path, data=None):
        if data and path.name == "b.png":
            raise MemoryError
        return opened(path, data)

    monkeypatch.setattr(read, "_opened", no_memory)
    result = inpaint(*FOLDERS, "--json")
    assert result.code == 1
    assert list(failures(result)) == ["b.png"]
    assert "does not fit in memory" in failures(result)["b.png"]


def test_one_small_hostile_header_is_one_failed_file(inpaint, tree):
    huge_row(Path("photos/huge.png"))
    huge_row(Path("masks/huge.png"))
    result = inpaint(*FOLDERS, "--json")
    assert result.code == 1
    assert list(failures(result)) == ["huge.png"]
    assert "does not fit in memory" in failures(result)["huge.png"]
    assert json.loads(result.out)["counts"]["filled"] == 3
    one_error(inpaint("photos/huge.png", "--mask", "masks/huge.png"), "does not fit in memory")


def test_decompression_bombs_are_refused_and_the_limit_can_be_raised(inpaint, tree):
    decompression_bomb(Path("photos/bomb.png"))
    save("masks/bomb.png", HOLE)
    result = inpaint(*FOLDERS, "--json")
    assert result.code == 1
    assert list(failures(result)) == ["bomb.png"]
    assert "--max-pixels" in failures(result)["bomb.png"]
    Path("photos/bomb.png").unlink()
    Path("masks/bomb.png").unlink()
    assert inpaint("photos/a.png", "--mask", "masks/a.bmp", "--max-pixels", HOLE.size).code == 0
    one_error(
        inpaint("photos/a.png", "--mask", "masks/a.bmp", "--max-pixels", HOLE.size - 1, "--overwrite"),
        f"has more than {HOLE.size - 1} pixels, the limit against decompression bombs",
    )


# ------------------------------------------------------------------------------------------ bad files
def test_files_that_vanish_or_change_after_planning(inpaint, tree, monkeypatch):
    load = command._load_inpainter

    def meanwhile(*args, **options):
        Path("photos/a.png").unlink()
        save("masks/sub/b.bmp", HOLE[:9])
        return load(*args, **options)

    monkeypatch.setattr(command, "_load_inpainter", meanwhile)
    result = inpaint(*FOLDERS, "--json")
    assert result.code == 1
    assert "does not exist" in failures(result)["a.png"]
    assert "The mask is 41x9, but its photo 41x30" in failures(result)["b.png"]
    assert result.err.count("error:") == 2
    assert files("out") == ["sub/deep/c.png"]


def test_a_photo_that_changes_while_it_is_filled_is_copied_as_it_was_read(inpaint, tree, monkeypatch):
    save("masks/a.bmp", np.zeros_like(HOLE))
    before, fill = Path("photos/a.png").read_bytes(), folder._fill

    def meanwhile(items, *given):
        if any(item.photo.path.name == "a.png" for item in items):
            Path("photos/a.png").write_bytes(b"half of another file")
        return fill(items, *given)

    monkeypatch.setattr(folder, "_fill", meanwhile)
    assert inpaint(*FOLDERS).code == 0
    assert Path("out/a.png").read_bytes() == before


def test_unreadable_files(inpaint, tree, monkeypatch):
    opened = Path.open

    def closed(file, *args, **options):  # chmod does not stop root
        if file.name in {"b.png", "c.bmp"}:
            raise PermissionError(13, "Permission denied")
        return opened(file, *args, **options)

    monkeypatch.setattr(Path, "open", closed)
    result = inpaint(*FOLDERS, "--json")
    assert result.code == 1
    assert failures(result) == {
        "b.png": "photos/sub/b.png may not be read (permission denied).",
        "c.png": "masks/sub/deep/c.bmp may not be read (permission denied).",
    }


@linux
def test_links_that_lead_in_circles_or_nowhere(inpaint, tree, mask):
    Path("photos/circle").symlink_to("..")
    Path("photos/itself.png").symlink_to("itself.png")
    Path("photos/nowhere.png").symlink_to("gone.png")
    result = inpaint("photos", "--mask", "mask.png", "-o", "out", "--json")
    assert result.code == 1
    assert set(failures(result)) == {"itself.png", "nowhere.png"}
    assert "symbolic links" in failures(result)["itself.png"]
    assert files("out") == ["a.png", "sub/b.png", "sub/deep/c.png"]


@linux
def test_outputs_that_links_lead_onto_photos_are_refused(inpaint, tree):
    Path("out").mkdir()
    Path("out/sub").symlink_to(Path("photos/sub").absolute())
    one_error(inpaint(*FOLDERS, "--overwrite"), "out/sub/b.png is one of the photos or masks itself")
    Path("out/sub").unlink()
    Path("photos/a.png").rename("out/a.png")
    Path("photos/a.png").symlink_to(Path("out/a.png").absolute())
    one_error(inpaint(*FOLDERS, "--overwrite"), "out/a.png is one of the photos or masks itself")
    assert np.array_equal(pixels("photos/sub/b.png"), noise(seed=1))


# ------------------------------------------------------------------------------------------ names
@linux
def test_names_of_every_kind(inpaint, tree, mask):
    names = [
        "new\nline.png",
        " two  spaces .png",
        "tab\tand\x1b[31mcolour.png",
        os.fsdecode(b"latin-\xe9.png"),
        "d..ots..png",
        "-dash.png",
        "[bold]mark.png",
        "naïve 日本.png",
    ]
    for name in names:
        save(Path("odd") / name, noise())
    save(Path("odd") / "bad\nphoto.png", noise()[:9])
    (Path("odd") / "bad\nphoto.png").write_bytes(b"no image")
    arguments = ("odd", "--mask", "mask.png", "-o", "out")
    listed = inpaint(*arguments, "--dry-run")
    assert len(listed.out.splitlines()) == len(names) + 1
    assert "odd/new\\nline.png -> out/new\\nline.png" in listed.out
    assert "latin-\\udce9.png" in listed.out
    result = inpaint(*arguments, "--json")
    assert result.code == 1
    assert set(files("out")) == set(names)
    assert set(entries(result)) == {*names, "bad\nphoto.png"}  # Python gets the very bytes back
    assert result.err.splitlines()[0].startswith(
        "error: bad\\nphoto.png: odd/bad\\nphoto.png is not an image"
    )
    result = inpaint(Path("odd") / names[3], "--mask", "mask.png")
    assert result.code == 0
    assert "latin-\\udce9.inpainted.png" in result.err


def test_dots_in_paths(inpaint, tree):
    result = inpaint("masks/../photos", "--mask", "photos/../masks", "-o", "photos/../out/./deep")
    assert result.code == 0, result.err
    assert files("out/deep") == ["a.png", "sub/b.png", "sub/deep/c.png"]


@linux
def test_names_that_differ_in_capitals_only(inpaint, tree, monkeypatch):
    save("photos/A.png", noise(seed=9))
    save("masks/A.bmp", HOLE)
    with monkeypatch.context() as patch:  # as on a Mac or a memory stick
        patch.setattr(targets, "_one_file", lambda paths: True)
        one_error(inpaint(*FOLDERS), "Several photos would be written to one file (1)", "out/A.png and")
        assert not Path("out").exists()
    assert inpaint(*FOLDERS).code == 0
    assert files("out") == ["A.png", "a.png", "sub/b.png", "sub/deep/c.png"]
    Path("masks/A.bmp").rename("masks/other.bmp")
    one_error(inpaint(*FOLDERS), "photos without masks: A (1)")


def test_ten_thousand_files_are_planned(inpaint, tree, mask):
    for number in range(10_000):
        path = Path("many") / f"{number % 100:02}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link("photos/a.png", path)
    result = inpaint("many", "--mask", "mask.png", "-o", "out", "--dry-run", "-q")
    assert result.code == 0
    assert len(result.out.splitlines()) == 10_000
