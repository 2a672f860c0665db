"""Files are there whole or not at all, and nothing else stays behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from damgan_cli.errors import ImageFileError
from damgan_cli.runtime import atomic
from damgan_cli.runtime.atomic import remove_strays, write_atomically

STRAY = f".damgan-{'0' * 32}.tmp"


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_folders_are_made_and_files_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "a.png"
    for data in (b"one", b"two"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert names(path.parent) == {"a.png"}


def test_data_reach_the_disk_before_their_name_does(tmp_path, monkeypatch):
    steps = []

    def fsync(descriptor):
        status = os.fstat(descriptor)
        steps.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")

    replace = Path.replace
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", lambda self, path: (steps.append("rename"), replace(self, path)))
    write_atomically(tmp_path / "a", b"data")
    assert steps == ["4 bytes", "rename", "folder"]
    write_atomically(tmp_path / "b", b"data", sync=False)
    assert steps[3:] == ["rename"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["write", "close", "rename"])
def test_what_fails_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch, step, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    class Full:
        def __init__(self, descriptor, mode):
            self.file = os_fdopen(descriptor, mode)

        def __enter__(self):
            return self

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            if step == "write":
                fail()

        def __exit__(self, *_):
            self.file.close()
            if step == "close":
                fail()

    os_fdopen = os.fdopen
    (tmp_path / "old.png").write_bytes(b"old")
    if step == "rename":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(atomic.os, "fdopen", Full)
    with pytest.raises(ImageFileError, match=os.strerror(code)) as caught:
        write_atomically(tmp_path / "old.png", b"new data")
    assert ("Free some space" in caught.value.hint) == (code != errno.EIO)
    assert (tmp_path / "old.png").read_bytes() == b"old"
    assert names(tmp_path) == {"old.png"}


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ImageFileError, match="a file stands where the folder"):
        write_atomically(tmp_path / "file" / "a.png", b"data")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tiny file system")
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        write_atomically(disk / "a", b"a" * 30_000)
        with pytest.raises(ImageFileError, match="No space left"):
            write_atomically(disk / "b", b"b" * 60_000)
        assert names(disk) == {"a"}
        write_atomically(disk / "c", b"c" * 20_000)
    finally:
        subprocess.run(["umount", disk], check=True)


def _die_before_renaming(path):
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    write_atomically(path, b"data")


def _write_slowly(path, started, go_on):
    replace = Path.replace

    def slow(temporary, target):
        started.set()
        go_on.wait(30)
        return replace(temporary, target)

    Path.replace = slow
    write_atomically(path, b"data")


@pytest.mark.skipif(os.name == "nt", reason="signals, fork")
def test_strays_of_killed_writers_are_removed_and_those_of_live_ones_kept(tmp_path):
    fork = multiprocessing.get_context("fork")
    killed = fork.Process(target=_die_before_renaming, args=(tmp_path / "killed.png",))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    (stray,) = names(tmp_path)
    started, go_on = fork.Event(), fork.Event()
    alive = fork.Process(target=_write_slowly, args=(tmp_path / "alive.png", started, go_on))
    alive.start()
    assert started.wait(30)
    for mine in (".damgan-short.tmp", f"damgan-{'0' * 32}.tmp", f".{'0' * 32}.tmp"):
        (tmp_path / mine).touch()
    (tmp_path / STRAY).mkdir()  # no file of ours
    before = names(tmp_path)
    assert remove_strays([tmp_path, tmp_path / "nowhere"]) == 1
    assert before - names(tmp_path) == {stray}
    go_on.set()
    alive.join(30)
    assert (tmp_path / "alive.png").read_bytes() == b"data"
    assert remove_strays([tmp_path]) == 0


@pytest.mark.skipif(atomic.fcntl is None, reason="locks")
def test_without_locks_only_old_strays_are_removed(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(atomic.fcntl, "flock", no_locks)
    write_atomically(tmp_path / "a.png", b"data")
    (tmp_path / STRAY).touch()
    assert remove_strays([tmp_path]) == 0
    os.utime(tmp_path / STRAY, (0, 0))
    assert remove_strays([tmp_path]) == 1
    assert names(tmp_path) == {"a.png"}
