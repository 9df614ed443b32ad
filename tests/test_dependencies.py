"""What the package imports is what it says it needs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = {
    "sklearn": "scikit-learn",
    "backports": "backports.zstd",
}  # where a package is called otherwise


def needed(group: str) -> set[str]:
    """The names in a list of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(rf"^{group} = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
    assert listed
    return set(re.findall(r'"([a-z0-9.-]+)', listed[1]))


def imported(path: Path) -> set[str]:
    """The packages that a file takes when it is imported itself."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {alias.name for one in body if isinstance(one, ast.Import) for alias in one.names}
    names |= {one.module or "" for one in body if isinstance(one, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in names} - {"netdiffus", *sys.stdlib_module_names}
    return {NAMED.get(name, name) for name in tops}


@pytest.mark.parametrize("evaluation", [False, True])
def test_imports_are_named(evaluation: bool) -> None:
    files = (ROOT / "netdiffus").rglob("*.py")
    judges = {"evaluation", "attacks", "plots.py"}  # which need the extra `eval`
    chosen = [
        f for f in files if bool(judges & set(f.parts)) == evaluation and "triton" not in f.parts
    ]
    known = needed("dependencies") | (needed("eval") if evaluation else set())
    assert len(chosen) > 10
    for file in chosen:
        assert imported(file) <= known, file
