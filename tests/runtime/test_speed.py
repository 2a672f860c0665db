"""Which number type is faster: injected figures and clocks; what this machine finds is nobody's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from damgan_cli.model import GeneratorConfig
from damgan_cli.model.int8 import is_exact
from damgan_cli.model.winograd import Conv3x3
from damgan_cli.runtime import speed
from damgan_cli.runtime.device import choose_dtype
from damgan_cli.weights.find import DEFAULT_WEIGHTS, load_weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder that damgan remembers in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "damgan"


@pytest.fixture
def measured(monkeypatch):
    """Answers for measurements, by number type; "count" says how many there were."""
    answers = {"float32": 2.0, "bfloat16": 1.0, "int8": 1.5, "count": 0}

    def compare(run, dtypes):
        answers["count"] += 1
        return {speed.name_of(dtype): answers[speed.name_of(dtype)] for dtype in dtypes}

    monkeypatch.setattr(speed, "compare", compare)
    monkeypatch.setattr(speed, "is_exact", lambda: True)
    return answers


class Machine:
    """A clock that only runs while number types are at work, for as many seconds as each is given."""

    def __init__(self, **seconds):
        self.now, self.seconds, self.ran = 0.0, seconds, []

    def run(self, dtype):
        name = str(dtype)[6:]
        self.ran.append(name)
        spent = self.seconds[name]
        self.now += spent.pop(0) if isinstance(spent, list) else spent

    def compare(self):
        dtypes = [getattr(torch, name) for name in self.seconds]
        return speed.compare(self.run, dtypes, lambda: self.now)


def test_the_shortest_of_several_turns_counts():
    machine = Machine(float32=[9, 0.1, 0.2, 9], bfloat16=[9, 0.25, 0.05, 9])
    assert machine.compare() == pytest.approx({"float32": 0.1, "bfloat16": 0.05})
    assert machine.ran == ["float32", "bfloat16"] * 3  # the first of each warms up


def test_it_goes_on_for_a_while_where_one_pass_is_short():
    machine = Machine(float32=0.01, bfloat16=0.01)
    machine.compare()
    assert 0.3 <= machine.now < 0.4


def test_emulated_bfloat16_is_not_waited_for():
    machine = Machine(float32=0.01, bfloat16=5.0)
    assert machine.compare()["bfloat16"] == 5
    assert machine.ran.count("bfloat16") == 2


@pytest.mark.parametrize(
    ("float32", "bfloat16", "chosen"),
    [
        (0.020, 0.010, torch.bfloat16),  # an AMD EPYC with avx512_bf16
        (0.020, 0.030, torch.float32),  # an Intel Xeon with avx512_bf16 and without AMX
        (0.020, 0.019, torch.float32),  # a tie
    ],
)
def test_auto_takes_what_was_faster(measured, float32, bfloat16, chosen):
    measured.update(float32=float32, bfloat16=bfloat16)
    assert choose_dtype("auto", CPU) is chosen
    assert choose_dtype("auto", CPU, training=True) is chosen


@pytest.mark.parametrize(
    ("float32", "bfloat16", "int8", "chosen"),
    [
        (0.020, 0.010, 0.007, torch.int8),
        (0.020, 0.030, 0.010, torch.int8),
        (0.020, 0.010, 0.0095, torch.bfloat16),  # a tie
        (0.020, 0.030, 0.019, torch.float32),
    ],
)
def test_int8_is_for_inference(measured, float32, bfloat16, int8, chosen):
    measured.update(float32=float32, bfloat16=bfloat16, int8=int8)
    assert choose_dtype("auto", CPU) is chosen
    assert speed.fastest(training=False, int8=False) is not torch.int8
    assert choose_dtype("auto", CPU, training=True) is not torch.int8


def test_int8_that_is_not_exact_is_not_measured(measured, monkeypatch):
    monkeypatch.setattr(speed, "is_exact", lambda: False)
    assert set(speed.seconds(training=False)) == {"float32", "bfloat16"}
    monkeypatch.setattr(speed, "is_exact", lambda: True)  # torch has learned it
    assert set(speed.seconds(training=False)) == {"float32", "bfloat16", "int8"}


def test_bfloat16_that_would_be_emulated_is_not_measured(measured, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert set(speed.seconds(training=True)) == {"float32"}
    assert choose_dtype("auto", CPU, training=True) is torch.float32


@pytest.mark.parametrize(
    ("instructions", "wanted"),
    [
        ("AVX2", {"float32"}),
        ("AVX512_CORE", {"float32", "bfloat16"}),
        ("AVX512_CORE_VNNI", {"float32", "bfloat16", "int8"}),
    ],
)
def test_no_type_is_measured_that_an_older_cpu_lacks(instructions, wanted, cache):
    """oneDNN is told to do without the other instructions."""
    asked = "from damgan_cli.runtime import speed; print(*speed.seconds(training=False))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}
    command = [sys.executable, "-W", "ignore", "-c", asked]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    here = {"float32"} | ({"bfloat16"} if speed._computes_bfloat16() else set())
    here |= {"int8"} if is_exact() else set()
    assert set(said.split()) == wanted & here
    assert cache.is_dir()  # of this test alone: these are no figures of the CPU as it is


TOLD = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
"""What oneDNN (two names) and torch may be told to do without."""


def test_a_given_number_type_is_not_measured(measured, cache):
    assert choose_dtype("float32", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16
    assert measured["count"] == 0
    assert not cache.exists()


def test_figures_are_remembered_for_the_machine_threads_torch_and_use(measured, cache, monkeypatch):
    assert choose_dtype("auto", CPU) is torch.bfloat16
    measured.update(float32=1.0, bfloat16=2.0)
    assert choose_dtype("auto", CPU) is torch.bfloat16  # as remembered
    assert measured["count"] == 1
    changes = [
        (speed, "machine", lambda: "another CPU"),
        (torch, "get_num_threads", lambda: 77),
        (torch, "__version__", "9.9"),
        *((os, "environ", os.environ | {name: "AVX2"}) for name in TOLD),
    ]
    for number, change in enumerate(changes, 2):
        with monkeypatch.context() as patch:
            patch.setattr(*change)
            assert choose_dtype("auto", CPU) is torch.float32
        assert measured["count"] == number
    assert choose_dtype("auto", CPU, training=True) is torch.float32
    assert choose_dtype("auto", CPU) is torch.bfloat16
    assert len(list(cache.iterdir())) == 8
    about = [json.loads(path.read_bytes()) for path in cache.iterdir()]
    assert {"another CPU", speed.machine()} == {one["cpu"] for one in about}


def test_measuring_anew_replaces_what_is_remembered(measured):
    assert choose_dtype("auto", CPU) is torch.bfloat16
    measured.update(float32=1.0, bfloat16=2.0)
    assert speed.seconds(training=False, anew=True) == {"float32": 1.0, "bfloat16": 2.0, "int8": 1.5}
    assert choose_dtype("auto", CPU) is torch.float32


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"seconds": {"float32": 1}}',
        b'{"seconds": {"float32": -1, "bfloat16": 1, "int8": 1}}',
        b'{"seconds": {"float32": 1, "bfloat16": 1}}',
    ],
)
def test_a_damaged_memory_is_measured_anew(measured, cache, damage):
    choose_dtype("auto", CPU)
    (path,) = cache.iterdir()
    path.write_bytes(damage)
    assert choose_dtype("auto", CPU) is torch.bfloat16
    assert measured["count"] == 2
    assert json.loads(path.read_bytes())["seconds"] == {"float32": 2.0, "bfloat16": 1.0, "int8": 1.5}


def test_a_cache_that_cannot_be_written_is_no_error(measured, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / ("long" * 100)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        assert choose_dtype("auto", CPU) is torch.bfloat16
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert choose_dtype("auto", CPU) is torch.bfloat16
    assert measured["count"] == 3


def test_processes_that_measure_at_once_agree(monkeypatch, cache):
    together = threading.Barrier(2)
    answers = iter([{"float32": 2.0, "bfloat16": 1.0}, {"float32": 1.0, "bfloat16": 2.0}])

    def compare(run, dtypes):
        mine = dict.fromkeys(map(speed.name_of, dtypes), 3.0) | next(answers)
        together.wait()
        return mine

    monkeypatch.setattr(speed, "compare", compare)
    found = []
    threads = [threading.Thread(target=lambda: found.append(speed.seconds(training=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("training", [False, True])
def test_the_generator_runs_in_every_number_type(training, monkeypatch):
    monkeypatch.setattr(speed, "_LIKE", GeneratorConfig((4, 4, 4), (2,), (4, 4, 4, 4), (2,)))
    found = speed.seconds(training=training)
    assert all(spent > 0 for spent in found.values())
    assert ("int8" in found) == (is_exact() and not training)


@pytest.mark.parametrize("training", [False, True])
def test_wide_convolutions_are_measured_as_they_are_run(training, monkeypatch):
    """In inference by Winograd's way in float32, and never in bfloat16."""
    seen = []
    direct = Conv3x3._by_winograd

    def watched(self, x):
        seen.append(x.dtype)
        return direct(self, x)

    monkeypatch.setattr(Conv3x3, "_by_winograd", watched)
    run = speed._passes(training=training)
    run(torch.bfloat16)
    assert not seen
    run(torch.float32)
    assert set(seen) == (set() if training else {torch.float32})


def test_what_is_measured_is_of_the_widths_of_the_default():
    assert load_weights(DEFAULT_WEIGHTS).generator.config == speed._LIKE
