"""What several processes may do at once in a folder, and several threads in a process."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import files_of_at_most

from netdiffus import InputError
from netdiffus.files import write_new
from netdiffus.parts.building import begin, plan_of
from netdiffus.parts.work import each
from netdiffus.tables.manifest import PLAN


def test_of_many_that_begin_at_once_one_says_the_plan(tmp_path: Path) -> None:
    """All others are refused, as their seed is another, and the plan is whole at any time."""
    start = threading.Barrier(8)

    def one(seed: int) -> str:
        start.wait()
        try:
            begin(tmp_path / "set", {"seed": seed, "filling": "x" * 100_000})
        except InputError as error:
            return str(error)
        return "began"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(one, range(8)))
    plan = plan_of(tmp_path / "set")
    assert plan is not None
    assert said.pop(plan["seed"]) == "began"
    assert all(f"begun with seed {plan['seed']}, now" in text for text in said)
    assert [path.name for path in (tmp_path / "set").iterdir()] == [PLAN]


def test_the_first_to_write_a_new_file_wins(tmp_path: Path) -> None:
    assert write_new(tmp_path / "a", "first")
    assert not write_new(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "first"
    with files_of_at_most(10), pytest.raises(OSError, match="too large") as raised:
        write_new(tmp_path / "b", "x" * 100)
    assert raised.value.filename == str(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_plan_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / PLAN).write_text(text)
    with pytest.raises(InputError, match=r"plan\.json: (damaged|not a plan)"):
        begin(tmp_path, {"seed": 1})
    (tmp_path / PLAN).write_text(json.dumps({"seed": 1, "more": 2}))
    with pytest.raises(InputError, match="begun with more 2, now None"):
        begin(tmp_path, {"seed": 1})


@pytest.mark.parametrize("threads", [1, 3])
def test_each_gives_all(threads: int) -> None:
    assert sorted(each(lambda k: k * k, range(20), threads=threads)) == [k * k for k in range(20)]


def test_after_an_error_those_under_way_are_given() -> None:
    begun: list[int] = []
    both = threading.Barrier(2)

    def task(k: int) -> int:
        begun.append(k)
        both.wait(10)
        if k == 0:
            raise OSError("full")
        time.sleep(1.0)  # the other's error is long known
        return k

    given: list[int] = []
    with pytest.raises(OSError, match="full"):
        given.extend(each(task, range(9), threads=2))
    assert given == [1]
    assert sorted(begun) == [0, 1]
