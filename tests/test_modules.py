"""The tests themselves."""

from __future__ import annotations

import re
from pathlib import Path


def test_no_test_module_imports_another():
    """What several need is in a conftest.py, or in a module that is no test."""
    importing = re.compile(r"^\s*(from|import) tests\S*(\.test_| import .*\btest_)", re.MULTILINE)
    files = sorted(Path(__file__).parent.rglob("*.py"))
    assert len(files) > 50
    assert [path.name for path in files if importing.search(path.read_text(encoding="utf-8"))] == []
