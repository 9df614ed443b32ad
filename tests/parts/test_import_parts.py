"""Captures as a data set: the traces of one import, however many make its parts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from captures import SECOND, conversation, frames, pcap
from command import files_of_at_most, run

from netdiffus import Dataset, InputError, Rules, Traces, import_captures, import_to_parts
from netdiffus.tables.manifest import MANIFEST

CAPTURES = ("voip/a.pcap", "voip/b.pcap", "web/a.pcap", "web/deep/c.pcap")


def write_captures(folder: Path) -> Path:
    for k, name in enumerate(CAPTURES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pcap(frames(conversation(SECOND * (k + 1)))))
    (folder / "web" / "empty.pcap").write_bytes(pcap([]))
    (folder / "notes.txt").write_text("no capture")
    return folder


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    return write_captures(tmp_path / "captures")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def parts_of(folder: Path) -> dict[str, bytes]:
    return {name: found for name, found in content(folder).items() if name.startswith("part-")}


def test_its_traces_are_those_of_one_import(captures: Path, tmp_path: Path) -> None:
    wanted, report = import_captures(captures)
    made, found = import_to_parts(captures, tmp_path / "set")
    assert (made.parts, made.made, made.missing) == (5, 5, 0)
    read = Dataset(tmp_path / "set")
    read.check()
    assert read.load().equals(wanted)
    assert len(read.manifest.parts) == 4  # of the empty capture there is none
    assert found == report


def test_shards_make_the_same_folder(captures: Path, tmp_path: Path) -> None:
    import_to_parts(captures, tmp_path / "once")
    folder = tmp_path / "set"
    for index, missing in ((1, 4), (0, 2), (2, 1), (3, 0)):
        assert not (folder / MANIFEST).exists()
        made, _ = import_to_parts(captures, folder, shard=f"{index}/4")
        assert made.missing == missing
    assert content(folder) == content(tmp_path / "once")


def test_captures_elsewhere_are_known_again(captures: Path, tmp_path: Path) -> None:
    import_to_parts(captures, tmp_path / "set")
    before = content(tmp_path / "set")
    moved = shutil.move(captures, tmp_path / "elsewhere")
    made, report = import_to_parts(moved, tmp_path / "set")
    assert (made.made, made.there) == (0, 5)
    assert report.packets == 44
    assert content(tmp_path / "set") == before


def test_only_a_new_or_lost_part_is_made(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    import_to_parts(captures, folder)
    before = content(folder)
    lost = sorted(parts_of(folder))[1]
    (folder / lost).unlink()
    (captures / "web" / "new.pcap").write_bytes(pcap(frames(conversation(SECOND * 9))))
    made, _ = import_to_parts(captures, folder)
    assert (made.parts, made.made, made.there) == (6, 2, 4)
    assert before.items() >= {(name, c) for name, c in parts_of(folder).items() if name in before}
    assert Dataset(folder).load().equals(import_captures(captures)[0])


def test_a_changed_capture_is_named_and_then_replaced(captures: Path, tmp_path: Path) -> None:
    """Also one of the same size."""
    folder = tmp_path / "set"
    import_to_parts(captures, folder)
    changed = captures / "web" / "a.pcap"
    changed.write_bytes(pcap(frames(conversation(SECOND * 8))))
    with pytest.raises(InputError, match=r"part-.*: made from web/a\.pcap, which has changed"):
        import_to_parts(captures, folder)
    made, _ = import_to_parts(captures, folder, force=True)
    assert (made.made, made.there) == (0, 5)
    assert Dataset(folder).load().equals(import_captures(captures)[0])


def test_a_capture_that_is_gone_is_named_and_then_left_out(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    import_to_parts(captures, folder)
    (captures / "web" / "a.pcap").unlink()
    with pytest.raises(
        InputError, match=r"made from web/a\.pcap, which .* not among the given captures"
    ):
        import_to_parts(captures, folder)
    import_to_parts(captures, folder, force=True)
    assert Dataset(folder).load().equals(import_captures(captures)[0])


def test_other_rules_or_labels_are_named(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    import_to_parts(captures, folder)
    with pytest.raises(InputError, match=r"begun with rules .*'packets': 64.*'packets': 5"):
        import_to_parts(captures, folder, rules=Rules(packets=5))
    with pytest.raises(InputError, match="begun with label_from 'dir', now 'file'"):
        import_to_parts(captures, folder, label_from="file")
    with pytest.raises(InputError, match="force with a shard"):
        import_to_parts(captures, folder, force=True, shard="0/2")
    rules = Rules(packets=5)
    import_to_parts(captures, folder, rules=rules, label_from="file", force=True)
    wanted, _ = import_captures(captures, rules=rules, label_from="file")
    assert Dataset(folder).load().equals(wanted)


def test_a_list_of_labels_counts_by_its_bytes(captures: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\n" + "".join(f"{name},x{k}\n" for k, name in enumerate(CAPTURES)))
    wanted, _ = import_captures(captures, label_from=labels)
    import_to_parts(captures, tmp_path / "set", label_from=labels)
    assert Dataset(tmp_path / "set").load().equals(wanted)
    labels.rename(tmp_path / "moved.csv")
    made, _ = import_to_parts(captures, tmp_path / "set", label_from=tmp_path / "moved.csv")
    assert made.made == 0
    (tmp_path / "moved.csv").write_text("file,label\na.pcap,other\n")
    with pytest.raises(InputError, match="begun with label_from 'list "):
        import_to_parts(captures, tmp_path / "set", label_from=tmp_path / "moved.csv")


def test_a_damaged_capture_is_told_each_time(captures: Path, tmp_path: Path) -> None:
    path = captures / "web" / "a.pcap"
    path.write_bytes(path.read_bytes()[:-5])
    first = run("import", captures, "-o", tmp_path / "set")
    second = run("import", captures, "-o", tmp_path / "set")
    assert (first.code, second.code) == (1, 1)
    assert "web/a.pcap: byte" in first.err
    assert first.err == second.err
    assert run("import", captures, "-o", tmp_path / "set", "--lenient").code == 0


def test_captures_without_a_trace_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(pcap([]))
    with pytest.raises(InputError, match="no traces; captures: 1, packets: 0"):
        import_to_parts(tmp_path / "empty.pcap", tmp_path / "set")


def test_a_pipe_is_refused(tmp_path: Path, captures: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["cp", captures / "web" / "a.pcap", tmp_path / "pipe"])
    with pytest.raises(InputError, match="a pipe cannot be read again"):
        import_to_parts(tmp_path / "pipe", tmp_path / "set")
    writer.wait()


def test_a_full_disk_costs_one_part(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    import_to_parts(captures, folder, shard="0/2")
    kept = parts_of(folder)
    for most, name in ((100, "voip/b.pcap"), (6000, "part-")):
        with files_of_at_most(most), pytest.raises(OSError, match="too large") as raised:
            import_to_parts(captures, folder, threads=1)
        assert name in raised.value.filename
    assert parts_of(folder) == kept
    assert import_to_parts(captures, folder)[0].is_whole


KILLED = """
import sys, time
from pathlib import Path
from netdiffus.capture import import_parts
from netdiffus import import_to_parts

def slow(*given):
    print("writing", flush=True)
    part = before(*given)
    time.sleep(60)
    return part

import netdiffus.parts.building as building
before, building.write_text = building.write_text, slow
import_to_parts(sys.argv[1], sys.argv[2], threads=1)
"""


def test_a_killed_process_loses_one_part(captures: Path, tmp_path: Path) -> None:
    """It is killed when the first part has its name, but no record yet."""
    folder = tmp_path / "set"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(captures), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    time.sleep(0.2)
    process.kill()
    process.communicate()
    with pytest.raises(InputError, match="the data set is incomplete"):
        Traces.load(folder)
    assert import_to_parts(captures, folder)[0].is_whole
    assert Dataset(folder).load().equals(import_captures(captures)[0])


def test_the_command_line(captures: Path, tmp_path: Path) -> None:
    first = run("import", captures, "-o", tmp_path / "set", "--shard", "0/2", "--json")
    assert first.code == 0
    assert json.loads(first.out)["missing"] == 2
    assert "is incomplete: 2 of 5 parts are missing" in first.err
    second = run("import", captures, "-o", tmp_path / "set", "--shard", "1/2", "--json")
    assert second.code == 0
    found = json.loads(second.out)
    assert (found["parts"], found["made"], found["traces"]) == (5, 2, 12)
    failed = run("import", captures, "-o", tmp_path / "x.parquet", "--shard", "0/2")
    assert (failed.code, "a file has no use for --shard" in failed.err) == (2, True)
    failed = run("import", captures, "-o", tmp_path / "set", "--shard", "2/2")
    assert (failed.code, "shards count from 0" in failed.err) == (2, True)
