"""What is not imported costs no time: start-up without a clock."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from damgan_cli.runtime.imports import quick_imports
from tests.cli.inpaint_files import HOLE
from tests.files import save
from tests.inpainting.tiny import save_tiny_weights
from tests.photos.photo_kinds import noise

IMAGES = {"numpy", "cv2", "PIL"}
SLOW = {
    "starlette",
    "uvicorn",
    "torchvision",
    "huggingface_hub",
    "torch._dynamo",
    "torch._inductor",
    "sympy",
    "onnx",
    "skimage",
}


def imported(*arguments):
    """Modules in memory after ``damgan ARGUMENTS``, which must succeed, in a process of its own."""
    program = (
        "import sys\n"
        "from damgan_cli.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "open('modules.txt', 'w').write(' '.join(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 0, ran.stderr
    return set(Path("modules.txt").read_text().split())


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("inpaint", "--help"), ("paint", "--help"), ("--version",)]
)
def test_help_needs_neither_images_nor_torch(arguments):
    assert not imported(*arguments) & (SLOW | IMAGES | {"torch", "jsonschema"})


def test_planning_needs_no_torch():
    save("photo.png", noise())
    save("mask.png", HOLE)
    assert not imported("inpaint", "photo.png", "--mask", "mask.png", "--dry-run") & (SLOW | {"torch"})


@pytest.mark.parametrize("module", ["typer", "damgan_cli.inpainting.jobs"])
def test_ctrl_c_while_importing_is_one_line(module):
    program = (
        "import sys\n"
        "class Importing:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Importing())\n"
        "from damgan_cli.__main__ import main\n"
        "main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, "inpaint", "photo.png", "--mask", "mask.png"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "interrupted\n")


@pytest.mark.skipif(
    tuple(map(int, version("torch").split(".")[:2])) < (2, 11),
    reason="torch 2.6 to 2.8 load it themselves where a module is made without values",
)
def test_filling_a_photo_needs_neither_torchs_compiler_nor_the_hub():
    save("photo.png", noise())
    save("mask.png", HOLE)
    weights = save_tiny_weights(Path("tiny"))
    modules = imported("inpaint", "photo.png", "--mask", "mask.png", "--weights", weights)
    assert "torch" in modules
    assert not modules & SLOW


def test_the_collector_rests_while_importing_and_works_again_after(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    try:
        with quick_imports():
            assert not gc.isenabled()
            assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        assert gc.isenabled()
        assert gc.get_freeze_count()
        monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        with quick_imports():
            assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"  # as the user wants it
    finally:
        gc.unfreeze()


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
@pytest.mark.parametrize(("own", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_freed_memory_is_used_again_unless_the_user_says_otherwise(own, kept):
    """Memory that the kernel gave anew costs a page fault for every 4 KiB."""
    program = (
        "import os, resource\n"
        "from damgan_cli.runtime.imports import keep_memory\n"
        "keep_memory()\n"
        "import torch\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(10):\n"
        "        torch.ones(100_000_000, dtype=torch.uint8)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "faults()\n"
        "print(faults(), os.environ.get('THP_MEM_ALLOC_ENABLE'))"
    )
    ours = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "THP_MEM_ALLOC_ENABLE")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **own},
    )
    faults, large_pages = ran.stdout.split()
    assert (int(faults) < 100) == kept, faults
    assert (large_pages == "1") == kept
