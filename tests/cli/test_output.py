from __future__ import annotations

import json

import pytest

from netdiffus.cli.output import show

FILES = [f"{i}.txt" for i in range(40)]


def test_a_long_list_is_cut_on_the_terminal_and_whole_in_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show({"files": FILES, "rules": {"hosts": [], "bins": 0.123456}}, False)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == (
        "files: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt, and 34 more (--json lists all)"
    )
    assert printed[1:] == ["rules:", "  hosts: none", "  bins: 0.1235"]
    show({"files": FILES}, True)
    assert json.loads(capsys.readouterr().out) == {"files": FILES}
