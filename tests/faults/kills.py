"""Kills each command wherever its calls have changed the disk, and looks at what is left.

    python kills.py FOLDER

The calls are found by a run that is not killed: audit events of Python for files that are opened
for writing, renamed, removed, and folders that are made or removed, and `os.fsync`. Libraries that
write by themselves write into files that were opened so before. That run also notes what the disk
is like before each call; of several calls that find it alike, the command is killed before the
first. Each run that is killed is a fork of this process. Prints a JSON object: for each command the
calls and the faults.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch._dynamo  # noqa: F401  # the first optimizer imports it, for seconds: once, not in each fork
from command import run
from small import packets, volumes

from netdiffus import evaluation
from netdiffus.codec import TokenCodec
from netdiffus.files import PART, write_text
from netdiffus.model.model import Model
from netdiffus.parts import Dataset
from netdiffus.tables.manifest import MANIFEST
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train
from netdiffus.training.checkpoint import read_log

EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.fsync")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
DEMO = (
    "demo.html", "train.parquet", "holdout.parquet", "synthetic.parquet", "filled.parquet",
    "report.html", "report.json",
)  # fmt: skip
TOKEN = re.compile(r"\.[0-9a-f]{16}\.")
FAILED = 3


@dataclass
class Watch:
    """Notes the calls that change files below a folder, and kills before the k-th.

    Attributes:
        folder: Below which calls count.
        kill: The number of the call; 0 kills at none.
        calls: Those so far.
        trees: What the folder was like before each of them; only where none is killed.
    """

    folder: Path
    kill: int = 0
    calls: tuple[tuple[str, str], ...] = ()
    trees: tuple[str, ...] = ()

    def start(self) -> None:
        fsync = os.fsync

        def noted(handle: int) -> None:
            self.note("os.fsync", os.readlink(f"/proc/self/fd/{handle}"))
            fsync(handle)

        os.fsync = noted
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and isinstance(arguments[0], (str, bytes, os.PathLike)):
            if event == "open" and not (arguments[2] or 0) & WRITING:
                return
            path = arguments[1] if event in ("os.rename", "os.link") else arguments[0]
            self.note(event, os.fsdecode(path))

    def note(self, event: str, path: str) -> None:
        where = os.path.abspath(path)
        if not where.startswith(f"{self.folder}{os.sep}") and where != str(self.folder):
            return
        self.calls += ((event, TOKEN.sub(".*.", os.path.relpath(where, self.folder))),)
        if not self.kill:
            self.trees += (tree(self.folder),)
        elif len(self.calls) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Command:
    """What is killed.

    Attributes:
        before: Makes what is there before, in a folder.
        act: The command, in that folder.
        state: What is there, in short; raises where it is not whole.
        again: The next run, in that folder.
        allowed: Whether a state may be left: given it, and those before, after each whole save.
    """

    before: Callable[[Path], object]
    act: Callable[[Path], object]
    state: Callable[[Path], Any]
    again: Callable[[Path], object]
    allowed: Callable[[Any, list[Any]], bool] = lambda found, known: found in known


def learn(folder: Path, steps: int = 1, seed: int = 0, **more: Any) -> None:
    seconds = more.pop("checkpoint_seconds", 60.0)
    recipe = Recipe(steps=steps, batch_size=4, seed=seed, checkpoint_seconds=seconds)
    train(volumes(12, 4), folder / "m", recipe=recipe, codec=TokenCodec(), width=4, **more)


def ok(*arguments: object) -> None:
    done = run(*arguments)
    assert done.code == 0, done.err


def model_state(folder: Path) -> Any:
    """Of a model: weights, steps, log and checkpoint, all of which must be of one save."""
    path = folder / "m"
    if not (path / "config.json").exists():
        return None
    model = Model.load(path)
    about = model.about
    weights = {name: one.numpy().tobytes() for name, one in model.network.state_dict().items()}
    return [
        hashlib.sha256(repr(sorted(weights.items())).encode()).hexdigest(),
        about["steps"],
        about["seed"],
        [line["step"] for line in read_log(path)],
    ]


def resumes(folder: Path) -> None:
    """The checkpoint is that of the model: it goes on from the same step."""
    if not (folder / "m" / "config.json").exists():
        learn(folder)
        return
    about = Model.load(folder / "m").about
    learn(folder, steps=about["steps"] + 1, seed=about["seed"], resume=True)
    assert Model.load(folder / "m").about["steps"] == about["steps"] + 1


def files_state(*names: str) -> Callable[[Path], Any]:
    def state(folder: Path) -> Any:
        paths = [folder / name for name in names]
        return [
            hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
            for path in paths
        ]

    return state


def no_mixture(found: Any, known: list[Any]) -> bool:
    """Each file is one of the before or the after, or missing; not one of each."""
    return any(
        all(one in (None, other) for one, other in zip(found, state, strict=True))
        for state in known
    )


class Figures:
    """A report that costs no work."""

    def __init__(self, text: str) -> None:
        self.text = self.figures = text

    def to_json(self) -> str:
        return json.dumps(self.text)

    def to_html(self) -> str:
        return self.text

    def summary(self) -> dict[str, str]:
        return {}

    def save_html(self, path: Path, **_: Any) -> None:
        write_text(path, self.text)

    save_json = save_html


def judge(folder: Path, text: str) -> None:
    traces = folder / "t.parquet"
    with mock.patch.object(evaluation, "evaluate", return_value=Figures(text)):
        ok("evaluate", traces, traces, "-o", folder / "r.html", "--force")


def with_traces(folder: Path) -> None:
    packets(12).save(folder / "t.parquet")


def sampled(folder: Path, seed: int = 0, suffix: str = ".csv") -> None:
    ok("sample", folder / "m", "-n", 2, "--seed", seed, "-o", folder / f"s{suffix}", "--force")


def exported(folder: Path, ip: int = 4) -> None:
    options = ("--ip", ip, "--small", "raise", "--force")
    ok("export", folder / "t.parquet", *options, "-o", folder / "c.pcap")


def split(folder: Path, seed: int = 0) -> None:
    ok("split", folder / "t.parquet", "-o", folder / "p", "--seed", seed, "--force")


def attack(folder: Path, text: str) -> None:
    sides = ("--train", folder / "t.parquet", "--holdout", folder / "t.parquet")
    with (
        mock.patch("netdiffus.attacks.audit.audit", return_value=Figures(text)),
        mock.patch("netdiffus.attacks.audit_page.page", str),
    ):
        ok("audit", folder / "m", *sides, "-o", folder / "r.html", "--force")


def add(folder: Path, seed: int = 0) -> None:
    found = packets(12, seed=seed), SimpleNamespace(made={})
    with mock.patch("netdiffus.augmentation.augment_with_report", return_value=found):
        ok("augment", folder / "t.parquet", "-o", folder / "a.parquet", "--force")


def show(folder: Path, seed: int = 0) -> None:
    """The demo without its work: what it writes, in its order."""
    traffic = volumes(24, 4, seed)
    traffic = replace(traffic, meta=pa.table({"group": np.arange(24) // 2}))
    filled = SimpleNamespace(made=volumes(4, 4, seed), summary=dict)
    demo = "netdiffus.demo"
    with (
        mock.patch(f"{demo}.lab_traffic", return_value=traffic),
        mock.patch(f"{demo}.train", side_effect=lambda *_, **__: learned(folder / "o", seed)),
        mock.patch(f"{demo}.sample", return_value=volumes(6, 4, seed)),
        mock.patch(f"{demo}.fill_up", return_value=filled),
        mock.patch(f"{demo}.evaluate", return_value=Figures(str(seed))),
        mock.patch(f"{demo}.page.page", return_value=str(seed)),
    ):
        ok("demo", "-o", folder / "o", "--seed", seed, "--force")


def learned(folder: Path, seed: int) -> Model:
    recipe = Recipe(steps=1, batch_size=4, seed=seed)
    return train(volumes(12, 4), folder / "model", recipe=recipe, width=4, force=True)


def with_model_and_beginnings(folder: Path) -> None:
    learn(folder)
    volumes(12, 4).truncate(1).save(folder / "u.parquet")
    continued(folder, 1)


def continued(folder: Path, seed: int = 0) -> None:
    out = "--seed", seed, "-o", folder / "k.parquet", "--force"
    ok("complete", folder / "m", folder / "u.parquet", *out)


def in_private(folder: Path) -> None:
    budget = "--epsilon", 100, "--length", 2, "--anyway", "--ledger", folder / "l.json"
    ok("privatise", folder / "t.parquet", *budget, "-o", folder / "p.parquet", "--force")


def releases(folder: Path) -> list[int]:
    """How many releases the private traces know of, and the ledger file."""
    ledger = Traces.load(folder / "p.parquet").ledger
    entries = json.loads((folder / "l.json").read_text())["releases"]
    return [ledger["total"]["releases"] if ledger else 0, len(entries)]


def never_less(found: list[int], known: list[list[int]]) -> bool:
    """The ledger file says as much as was spent, or more."""
    return known[0][0] <= found[0] <= found[1] <= known[-1][1]


def drawn(folder: Path) -> None:
    ok("inspect", folder / "t.parquet", "-o", folder / "g.png", "--force")


def exported_as(kind: str, name: str) -> Command:
    def act(folder: Path, length: int = 4) -> None:
        options = "--as", kind, "--length", length, "--force"
        ok("export", folder / "t.parquet", *options, "-o", folder / name)

    return Command(
        lambda folder: (with_traces(folder), act(folder, 2)), act, files_state(name), act
    )


def with_captures(folder: Path) -> None:
    (folder / "v" / "web").mkdir(parents=True)
    with_traces(folder)
    exported(folder)
    shutil.move(folder / "c.pcap", folder / "v" / "web" / "c.pcap")


def imported(folder: Path, packets: int = 4) -> None:
    options = "--packets", packets, "--threads", 1, "--force"
    ok("import", folder / "v", *options, "-o", folder / "i.parquet")


def set_state(folder: Path) -> Any:
    """Of a data set: its parts, which must be as its manifest says."""
    if not (folder / MANIFEST).exists():
        return None
    found = Dataset(folder)
    found.check()
    return [part.sha256 for part in found.manifest.parts]


def with_set(folder: Path) -> None:
    Dataset.write(folder / "n", [packets(12), packets(12, seed=1)])


def parted(folder: Path, seed: int = 0) -> None:
    ok("split", folder / "n", "-o", folder / "q", "--seed", seed, "--force")


def captured(folder: Path) -> None:
    ok("export", folder / "n", "-o", folder / "e", "--small", "raise")


def sampled_in_parts(folder: Path) -> None:
    options = "-n", 6, "--part-size", 3, "--seed", 0
    ok("sample", folder / "m", *options, "-o", folder / "d")


def imported_in_parts(folder: Path) -> None:
    ok("import", folder / "v", "--threads", 1, "-o", folder / "d")


def in_place(folder: Path) -> None:
    with (folder / "s.csv").open("w") as file:
        for part in ("half", "half"):
            file.write(part)
            file.flush()
            os.fsync(file.fileno())


COMMANDS = {
    "train": Command(  # the first save, and one that replaces it
        lambda folder: None,
        lambda folder: learn(folder, checkpoint_seconds=1e-9),
        model_state,
        resumes,
    ),
    "train, force": Command(
        lambda folder: learn(folder, 25, seed=1),
        lambda folder: learn(folder, force=True),
        model_state,
        resumes,
    ),
    "sample": Command(
        lambda folder: (learn(folder), sampled(folder, 1)),
        sampled,
        files_state("s.csv"),
        sampled,
    ),
    "export": Command(
        lambda folder: (with_traces(folder), exported(folder, 6)),
        exported,
        files_state("c.pcap", "c.labels.csv"),
        exported,
        no_mixture,
    ),
    "evaluate": Command(
        lambda folder: (with_traces(folder), judge(folder, "old")),
        lambda folder: judge(folder, "new"),
        files_state("r.html", "r.json"),
        lambda folder: judge(folder, "new"),
        no_mixture,
    ),
    "split": Command(
        lambda folder: (with_traces(folder), split(folder, 1)),
        split,
        files_state("p/train.parquet", "p/holdout.parquet"),
        split,
        no_mixture,
    ),
    "split, folder": Command(
        lambda folder: (with_set(folder), parted(folder, 1)),
        parted,
        lambda folder: [set_state(folder / "q" / side) for side in ("train", "holdout")],
        parted,
        no_mixture,
    ),
    "audit": Command(
        lambda folder: (with_traces(folder), attack(folder, "old")),
        lambda folder: attack(folder, "new"),
        files_state("r.html", "r.json"),
        lambda folder: attack(folder, "new"),
        no_mixture,
    ),
    "augment": Command(
        lambda folder: (with_traces(folder), add(folder, 1)), add, files_state("a.parquet"), add
    ),
    "complete": Command(with_model_and_beginnings, continued, files_state("k.parquet"), continued),
    "demo": Command(
        lambda folder: show(folder, 1),
        show,
        files_state(*(f"o/{name}" for name in DEMO)),
        show,
        no_mixture,
    ),
    "inspect": Command(
        lambda folder: (with_traces(folder), (folder / "g.png").write_text("old")),
        drawn,
        files_state("g.png"),
        drawn,
    ),
    "privatise": Command(
        lambda folder: (with_traces(folder), in_private(folder)),
        in_private,
        releases,
        lambda folder: in_private(folder),  # one release more, whatever was spent before
        never_less,
    ),
    "import": Command(
        lambda folder: (with_captures(folder), imported(folder, 2)),
        imported,
        files_state("i.parquet"),
        imported,
    ),
    "import, folder": Command(
        with_captures, imported_in_parts, lambda folder: set_state(folder / "d"), imported_in_parts
    ),
    "sample, folder": Command(
        learn, sampled_in_parts, lambda folder: set_state(folder / "d"), sampled_in_parts
    ),
    "sample, parquet": Command(
        lambda folder: (learn(folder), sampled(folder, 1, ".parquet")),
        lambda folder: sampled(folder, 0, ".parquet"),
        files_state("s.parquet"),
        lambda folder: sampled(folder, 0, ".parquet"),
    ),
    "export, folder": Command(
        with_set,
        captured,
        files_state("e/part-000000.pcap", "e/part-000000.labels.csv"),
        captured,
        no_mixture,
    ),
    "export, flows": exported_as("flows", "f.csv"),
    "export, ppi": exported_as("ppi", "f.parquet"),
    "export, splt": exported_as("splt", "f.parquet"),
    "export, arrays": exported_as("arrays", "f.npz"),
    "in place": Command(  # which is wrong, and must be found
        lambda folder: (folder / "s.csv").write_text("old"),
        in_place,
        files_state("s.csv"),
        lambda folder: None,
    ),
    "in parts": Command(
        lambda folder: [(folder / name).write_text("old") for name in ("r.html", "r.json")],
        lambda folder: [write_text(folder / name, "new") for name in ("r.html", "r.json")],
        files_state("r.html", "r.json"),
        lambda folder: None,
        no_mixture,
    ),
}


def forked(job: Callable[[], Any]) -> tuple[int, Any]:
    """The wait status of a fork that does a job, and what the job returned as JSON."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = FAILED
        try:
            found = job()
            os.write(writing, json.dumps(found).encode())
            code = 0
        except BaseException as error:
            os.write(writing, json.dumps(f"{type(error).__name__}: {error}").encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitpid(child, 0)[1]
    return status, json.loads(told) if told else None


def must(job: Callable[[], Any]) -> Any:
    status, found = forked(job)
    assert status == 0, found
    return found


def leavings(folder: Path) -> list[str]:
    """Files that no save has under their final names."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    staged = re.compile(r"-[0-9a-f]{32}\.|log-new")
    return [name for name in names if name.endswith(PART) or staged.search(name)]


def tree(folder: Path) -> str:
    """All names and contents, but for what chance puts into names and clocks into settings."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(TOKEN.sub(".", str(path.relative_to(folder))).encode())
        if path.is_file():
            text = path.read_bytes()
            digest.update(re.sub(rb'"(cpu_)?seconds": [0-9.]+', b"", text))
    return digest.hexdigest()


def kill_all(command: Command, work: Path) -> dict[str, Any]:
    """Kills a command before the first of all calls that find the disk alike."""
    start, folder = work / "start", work / "run"
    start.mkdir(parents=True)
    command.before(start)

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder)

    def watched(kill: int) -> list[Any]:
        watch = Watch(folder, kill)
        states = []
        replace = os.replace

        def noted(*arguments: Any) -> None:  # after each config that is written
            replace(*arguments)
            if not kill and str(arguments[1]).endswith("config.json"):
                states.append(command.state(folder))

        watch.start()
        with mock.patch.object(os, "replace", noted):
            command.act(folder)
        return [watch.calls, watch.trees, states]

    fresh()
    before = command.state(folder)
    calls, trees, states = must(lambda: watched(0))
    after = command.state(folder)
    known = [before, *states, after]
    faults = missed(start, folder, calls)
    kills = [trees.index(one) + 1 for one in dict.fromkeys(trees)]
    for kill in kills:
        fresh()
        status, told = forked(lambda kill=kill: watched(kill))
        if not os.WIFSIGNALED(status):
            faults.append(f"{calls[kill - 1]}: was not killed: {told}")
            continue
        try:
            found = command.state(folder)
            wrong = [] if command.allowed(found, known) else [f"left {found}"]
            command.again(folder)
            if command.again is command.act and command.state(folder) != after:
                wrong.append(f"the next run left {command.state(folder)}")
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        wrong += [f"not cleared: {name}" for name in leavings(folder)]
        faults += [f"{kill}, before {calls[kill - 1]}: {one}" for one in wrong]
    return {"calls": calls, "states": len(kills), "faults": faults}


def missed(start: Path, folder: Path, calls: list[list[str]]) -> list[str]:
    """Files that changed although no call on them was seen: the list of calls is not whole."""
    touched = {path for _, path in calls}
    found = []
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        old = start / name
        same = old.exists() and (path.is_dir() or old.read_bytes() == path.read_bytes())
        if not same and name not in touched:
            found.append(f"{name} changed unseen")
    return found


def main(folder: Path) -> None:
    wanted = sys.argv[2:] or list(COMMANDS)
    found = {}
    for k, name in enumerate(wanted):
        began = time.process_time()
        found[name] = kill_all(COMMANDS[name], folder / str(k))
        print(name, round(time.process_time() - began, 1), "s", file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
