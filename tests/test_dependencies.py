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
    listed = re.search(rf"^{group} = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
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
    judges = {"evaluation", "attacks", "demo", "plots.py"}  # which need the extra `eval`
    chosen = [
        f for f in files if bool(judges & set(f.parts)) == evaluation and "triton" not in f.parts
    ]
    known = needed("dependencies") | (needed("eval") if evaluation else set())
    assert len(chosen) > 10
    for file in chosen:
        assert imported(file) <= known, file


def locked() -> dict[str, str]:
    """Of each package in requirements.lock the lines: versions, markers and hashes."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^#.*\n", "", text)):
        name = re.match(r"[a-z0-9-]+(?===)", entry)
        assert name, entry
        found[name[0]] = found.get(name[0], "") + entry
    return found


def plain(name: str) -> str:
    return re.sub(r"[._-]+", "-", name).lower()


def test_all_packages_are_locked_with_hashes() -> None:
    lock = locked()
    groups = [needed(one) for one in ("dependencies", "eval", "privacy", "test", "dev", "docs")]
    names = {plain(name) for name in set().union(*groups)} - {"netdiffus", "torch"}
    assert len(names) > 30
    assert names <= set(lock)
    for name, entry in lock.items():
        versions = re.split(rf"(?m)^{name}==", entry)[1:]
        assert all("--hash=sha256:" in one for one in versions), name


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    lock = locked()
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pairs = re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text)
    assert len(pairs) > 30
    for name, version in pairs:
        if name != "torch":
            assert f"{plain(name)}=={version} " in lock[plain(name)], f"{name}: make lock"
