"""Files are whole or not there, and nobody writes over another."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import files_of_at_most, run
from small import packets, volumes

from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError, visible
from netdiffus.export.capture import write_capture
from netdiffus.files import (
    LONGEST_NAME,
    alone_in,
    claim,
    refuse_existing,
    whole_file,
    write_text,
    write_together,
)
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces

# A writer in another container: process 1 of a namespace of its own, as each there is.
RIVAL = """
import sys, time
from pathlib import Path
from netdiffus.files import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("rival")
    print(part.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def rival(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing a file; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", RIVAL, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match="nowhere"), whole_file(path):
        tmp_path.joinpath("nowhere", "b").write_text("new")
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "old")


def test_many_threads_write_one_name(tmp_path: Path) -> None:
    """As many processes with one number in many containers do."""
    path, texts = tmp_path / "a.txt", [str(k) * 200_000 for k in range(8)]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert names(tmp_path) == ["a.txt"]


def test_a_living_rival_keeps_its_file_and_a_dead_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with rival(path) as process:
        write_text(path, "mine")
        assert len(names(tmp_path)) == 2
        process.communicate("")
        assert (names(tmp_path), path.read_text()) == (["a.txt"], "rival")
    with rival(path):
        pass
    assert len(names(tmp_path)) == 2  # killed
    write_text(tmp_path / "b.txt", "mine")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_files_of_others_are_no_orphans(tmp_path: Path) -> None:
    others = [".a.txt.1234.part", "x.netdiffus-part", f".{'0' * 16}.netdiffus-part", "b.part"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f".folder.{'0' * 16}.netdiffus-part").mkdir()
    write_text(tmp_path / "a.txt", "mine")
    assert set(others) < set(names(tmp_path))


def test_without_locks_an_orphan_is_a_day_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    new, old = (tmp_path / f".a.{c * 16}.netdiffus-part" for c in "12")
    for part in (new, old):
        part.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    write_text(tmp_path / "a", "mine")
    assert names(tmp_path) == [new.name, "a"]


@pytest.mark.parametrize("name", ["x" * LONGEST_NAME, "é" * 127, "漢" * 85])
def test_long_names(name: str, tmp_path: Path) -> None:
    with claim(tmp_path / name, force=False):
        write_text(tmp_path / name, "long")
    assert names(tmp_path) == [name]
    with pytest.raises(InputError, match="longer than 255 bytes"):
        refuse_existing(tmp_path / f"{name}xx", force=True)


def test_a_file_that_is_replaced_stays_as_private_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(0o600)
    write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a device or a pipe"):
        refuse_existing(tmp_path / "pipe", force=True)
    with pytest.raises(InputError, match="is a device or a pipe"):
        refuse_existing(Path("/dev/null"), force=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        refuse_existing(tmp_path / "link", force=False)


class TestClaim:
    def test_keeps_rivals_out_before_their_work(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        with claim(path, force=False):
            with (
                pytest.raises(InputError, match="a: another run writes it"),
                claim(path, force=True),
            ):
                pass
            write_text(path, "mine")  # the holder may
            assert len(names(tmp_path)) == 2
        assert names(tmp_path) == ["a"]
        with claim(path, force=True):
            pass

    def test_leaves_no_folders_of_a_run_that_failed(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), claim(tmp_path / "b" / "c" / "a", force=False):
            raise RuntimeError
        assert names(tmp_path) == []

    def test_of_a_dead_run_is_taken_over(self, tmp_path: Path) -> None:
        with claim(tmp_path / "a", force=False):
            (left,) = names(tmp_path)
        (tmp_path / left).touch()
        with claim(tmp_path / "a", force=False):
            pass
        assert names(tmp_path) == []


def test_texts_together(tmp_path: Path) -> None:
    pair = {tmp_path / "a": "1", tmp_path / "b": "2"}
    write_together(pair)
    write_together(pair)
    assert [(tmp_path / name).read_text() for name in names(tmp_path)] == ["1", "2"]


class TestFolders:
    """Checked as another user, where root may do all."""

    @pytest.fixture
    def closed(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            folder.chmod(0o755)
            (folder / "closed").mkdir(mode=0o555)
            yield folder / "closed"
            (folder / "closed").chmod(0o755)

    def test_that_take_no_files_are_named_before_the_work(self, closed: Path) -> None:
        for path in (closed / "a", closed / "b" / "c"):
            message = told(lambda path=path: refuse_existing(path, force=True))
            assert message.startswith(f"InputError: {path}: {closed} takes no files")

    def test_that_cannot_be_looked_into(self, closed: Path) -> None:
        closed.chmod(0)
        message = told(lambda: refuse_existing(closed / "b" / "c", force=True))
        assert message.startswith("InputError: ")
        assert str(closed) in message

    def test_models_and_samples(self, closed: Path, tmp_path: Path) -> None:
        model = Model.new(volumes(), TokenCodec(), width=8)
        assert f"{closed} takes no files" in told(lambda: model.save(closed / "m"))
        asked = ("sample", "no_model", "-n", 1, "-o", closed / "s.csv")
        code, out, err = eval(told(lambda: tuple(run(*asked))).removeprefix("returned "))
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {closed / 's.csv'}: {closed} takes no files")


def told(job: Callable[[], object]) -> str:
    """What a job raises or returns, of a user without rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            text = f"returned {job()!r}"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


class TestFullDisk:
    @pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.npz", "t.pcap", "m"])
    def test_names_the_file_and_leaves_the_old_one(self, name: str, tmp_path: Path) -> None:
        traces, path = packets(400, 60), tmp_path / name
        model = Model.new(traces, TokenCodec(), width=8)

        def write() -> None:
            if name == "m":
                model.save(path, force=True)
            elif name.endswith(".pcap"):
                write_capture(traces, path, force=True)
            else:
                traces.save(path, force=True)

        write()
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with files_of_at_most(4096), pytest.raises(OSError, match="File too large") as caught:
            write()
        assert str(caught.value.filename).startswith(str(path).removesuffix(".pcap"))
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before

    @pytest.mark.skipif(
        os.getuid() != 0 or shutil.which("mount") is None, reason="no rights to mount"
    )
    def test_of_a_disk_that_is_full(self, tmp_path: Path) -> None:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", MOUNT, "sh", str(tmp_path), sys.executable],
            capture_output=True,
            text=True,
        )
        if "denied" in done.stderr or "not permitted" in done.stderr:
            pytest.skip("no rights to mount")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"[Errno 28] No space left on device: '{tmp_path / 'a'}'\n[]\n"


MOUNT = """mount -t tmpfs -o size=64k tmpfs "$1" && "$2" -c '
import sys
from pathlib import Path
from netdiffus.files import write_text
try:
    write_text(Path(sys.argv[1], "a"), "x" * 200_000)
except OSError as error:
    print(error)
print(list(Path(sys.argv[1]).iterdir()))
' "$1"
"""


def test_two_models_at_once(tmp_path: Path) -> None:
    model = Model.new(volumes(), TokenCodec(), width=8)
    with alone_in(tmp_path / "m"), pytest.raises(InputError, match="another training writes here"):
        model.save(tmp_path / "m")


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "log.jsonl"])
def test_files_of_others_in_a_folder_are_no_models(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious\n")
    model = Model.new(volumes(), TokenCodec(), width=8)
    with pytest.raises(FileExistsError, match=name):
        model.save(tmp_path)
    assert (tmp_path / name).read_text() == "precious\n"


class TestVisible:
    def test_is_one_line_without_orders_to_the_terminal(self) -> None:
        shown = visible("a\x1b[31mb\nc\r\x9b\u202e\u2028\udce9é 漢")
        assert shown == r"a\x1b[31mb\nc\r\x9b\u202e\u2028\udce9é 漢"

    def test_labels_and_names_on_the_command_line(self, tmp_path: Path) -> None:
        label = "red\x1b[31m\nerror: none"
        lists = [[1 + i % 3, 2, 3] for i in range(20)]
        Traces.from_lists({"x": lists}, [label, "b"] * 10).save(tmp_path / "t.parquet")
        asked = ("--steps", 1, "--width", 8, "-o", tmp_path / "m\x1b")
        done = run("train", tmp_path / "t.parquet", *asked)
        assert done.code == 0
        made = run("sample", tmp_path / "m\x1b", "-n", 2, "-o", tmp_path / "s.csv")
        wrong = run(
            "sample", tmp_path / "m\x1b", "-n", 2, "--label", "x\n", "-o", tmp_path / "u.csv"
        )
        for text in (done.out, done.err, made.out, made.err, wrong.err):
            assert "\x1b" not in text
        assert r"red\x1b[31m\nerror: none: 1" in made.out
        assert len(wrong.err.splitlines()) == 1
