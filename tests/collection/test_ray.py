"""``--engine ray`` on two cores: the results of one process, workers and units that die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from damgan_cli.collection.address import Place
from damgan_cli.collection.ray_engine import _Pool, run_on_ray
from damgan_cli.collection.shards import Shard
from damgan_cli.collection.work import Outcome
from damgan_cli.errors import DeviceError
from tests.collection.samples import sample, tree, write_tar

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")

SHARDS, PHOTOS = 8, 40
ROOT = str(Path(__file__).parents[2])


def workers(mark):
    """The processes of actors that a command with this in its environment has."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            ours = mark.encode() in (folder / "environ").read_bytes()
            if ours and (folder / "cmdline").read_bytes().startswith(b"ray::_Filler"):
                yield int(folder.name)


def test_a_worker_that_is_killed_changes_nothing(inpaint, tiny_weights, tmp_path, monkeypatch):
    for number in range(SHARDS):
        members = {}
        for photo in range(number * PHOTOS, (number + 1) * PHOTOS):
            members |= sample(photo)
        write_tar(tmp_path / f"in/{number}.tar", members)
    source = f"in/{{0..{SHARDS - 1}}}.tar"
    assert inpaint(source, "-o", "alone").code == 0

    scratch = str(tmp_path / "ray-scratch")
    Path(scratch).mkdir()
    command = [sys.executable, "-m", "damgan_cli", "inpaint", source, "-o", "killed", "--engine", "ray"]
    process = subprocess.Popen(
        [*command, "--weights", str(tiny_weights)],
        env=os.environ
        | {"TMPDIR": scratch, "RAY_TMPDIR": "/tmp", "DAMGAN_MARK": scratch, "PYTHONPATH": ROOT},
        stderr=subprocess.PIPE,
        text=True,
    )
    killed, deadline = 0, time.monotonic() + 300
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
        if len(list((tmp_path / "killed").glob("*.json"))) > killed and killed < 2:
            for worker in list(workers(scratch))[:1]:
                os.kill(worker, signal.SIGKILL)
                killed += 1
        time.sleep(0.01)
    assert process.returncode == 0, process.stderr.read()
    assert killed == 2
    assert tree(tmp_path / "killed") == tree(tmp_path / "alone")


@dataclass
class Deadly:
    """In place of a worker: one whose unit ``3.tar`` ends its process."""

    log: Path

    def do(self, unit):
        with self.log.open("a") as file:
            file.write(f"{unit.name}\n")
        if unit.name == "3.tar":
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(unit.name, "done", filled=1)

    def close(self):
        pass


def test_a_unit_that_kills_its_worker_three_times_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ROOT, *sys.path]))
    units = [Shard(Place.of("in"), f"{number}.tar") for number in range(6)]
    outcomes = {
        outcome.unit: outcome for outcome in run_on_ray(units, lambda: Deadly(tmp_path / "log"), None)
    }
    assert sorted(outcomes) == [unit.name for unit in units]
    assert [name for name, outcome in outcomes.items() if outcome.status != "done"] == ["3.tar"]
    assert "put aside: its worker died 3 times" in outcomes["3.tar"].problem
    assert sorted((tmp_path / "log").read_text().split()) == sorted(
        [unit.name for unit in units] + ["3.tar"] * 2
    )


class LosingRay:
    """In place of Ray: its only machine is lost while the first unit is at work, and comes back."""

    exceptions = SimpleNamespace(RayError=KeyError, RayTaskError=IndexError)

    def __init__(self):
        self.there, self.losses = True, 1

    def cluster_resources(self):
        return {"CPU": 1}

    def remote(self, **_):
        promised = SimpleNamespace(remote=lambda *unit: (*unit, None))
        actor = SimpleNamespace(begin=promised, do=promised, close=promised)
        return lambda _: SimpleNamespace(remote=lambda _: actor)

    def wait(self, waited, **_):
        self.there = waited[0][0] is None or not self.losses
        self.losses -= not self.there
        return (waited if self.there else [], [])

    def nodes(self):
        return [{"Alive": self.there}]

    def get(self, finished):
        return Outcome(finished[0].name, "done") if finished[0] else None


def test_units_of_a_machine_that_is_lost_are_done_again():
    pool = _Pool(LosingRay(), None, iter([Shard(Place.of("in"), "0.tar")]), spare=False)
    assert list(pool.outcomes()) == []
    assert pool.lost == 1
    assert [outcome.unit for outcome in pool.outcomes()] == ["0.tar"]
    assert pool.lost == 0


def test_workers_that_do_not_start_are_one_error():
    def none():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(DeviceError, match="Workers do not start"):
        list(run_on_ray([Shard(Place.of("in"), "0.tar")], none, None))


def test_a_cluster_that_is_not_there_is_one_error(inpaint, tmp_path):
    write_tar(tmp_path / "0.tar", sample(0))
    run = inpaint("0.tar", "-o", "out", "--engine", "ray", "--address", "127.0.0.1:1")
    assert run.code == 2
    assert "cannot be reached" in run.err
    run = inpaint("0.tar", "-o", "out", "--address", "127.0.0.1:1")
    assert "Add --engine ray" in run.err
