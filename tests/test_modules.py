"""Which module may import which, of the package and of the tests."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import damgan_cli

PACKAGE = Path(damgan_cli.__file__).parent
ROOMS = (
    *("errors", "model", "runtime", "perceptual", "photos", "masks", "weights", "inpainting"),
    *("collection", "evaluation", "training", "page", "cli", "__main__"),
)
"""From the lowest, which imports no other, to the highest."""


def test_no_test_module_imports_another():
    """What several need is in a conftest.py, or in a module that is no test."""
    importing = re.compile(r"^\s*(from|import) tests\S*(\.test_| import .*\btest_)", re.MULTILINE)
    files = sorted(Path(__file__).parent.rglob("*.py"))
    assert len(files) > 50
    assert [path.name for path in files if importing.search(path.read_text(encoding="utf-8"))] == []


def test_imports_point_downwards():
    """Also those that are only for types, or stand in functions."""
    upwards = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if room != "__init__" and module and module.startswith("damgan_cli."):
                used = module.split(".")[1]
                if ROOMS.index(used) > ROOMS.index(room):
                    upwards.append(f"{path.name} imports {module}")
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle():
    """Also for types and in functions; the commands aside, and the package's own face."""
    rooms = set(ROOMS) - {"cli", "__main__"}
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] in rooms]
    files += [path for room in rooms if (path := PACKAGE / f"{room}.py").exists()]
    modules = {_name(path): path for path in files}
    uses = {name: _imported(path, modules) for name, path in modules.items()}
    assert "damgan_cli.inpainting.job" in uses["damgan_cli.inpainting.jobs"]
    TopologicalSorter(uses).prepare()  # or a CycleError that names the circle


def _name(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported(path, modules):
    """Which of ``modules`` a file imports: ``from package import name`` may mean a module, too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{name.name}" for name in node.names}
            names |= within & modules.keys() or {node.module}
    return names & modules.keys()
