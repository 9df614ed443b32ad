"""Pages of documentation as code that can be run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from command import run

ROOT = Path(__file__).parents[1]


class Block(NamedTuple):
    """A fenced block: its language, empty for commands, and its lines."""

    language: str
    text: str


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = re.findall(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [Block(*one) for one in found]


def smaller(text: str, budgets: Mapping[str, str]) -> str:
    """The text with its budgets made small; each must be there."""
    for old, new in budgets.items():
        assert old in text, f"the page no longer says {old!r}"
        text = text.replace(old, new)
    return text


def run_commands(text: str) -> list[str]:
    """Runs lines of `netdiffus …`, of which each must succeed; returns their verbs."""
    verbs = []
    for line in text.strip().splitlines():
        program, verb, *_ = shlex.split(line)
        assert program == "netdiffus", line
        done = run(*shlex.split(line)[1:])
        assert done.code == 0, f"{line}: {done.err}"
        verbs.append(verb)
    return verbs


def run_page(page: str, budgets: Mapping[str, str]) -> dict[str, Any]:
    """Runs all blocks of Python and of commands of a page, and returns what Python knows then."""
    names: dict[str, Any] = {}
    ran = 0
    for language, text in blocks(smaller(read(page), budgets)):
        if language == "python":
            exec(compile(text, page, "exec"), names)
        elif language == "":
            run_commands(text)
        else:
            continue
        ran += 1
    assert ran, f"{page} has no code"
    return names
