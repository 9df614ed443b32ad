from __future__ import annotations

import html
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow.parquet
import pytest
import torch
import typer
from command import files_of_at_most, run
from small import packets, volumes

from netdiffus.cli.main import app
from netdiffus.cli.options import as_made, load
from netdiffus.cli.sample import _condition
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.networks.build import PRESETS
from netdiffus.sampling import sample
from netdiffus.tables import ReadOptions
from netdiffus.traces.traces import Traces

VERBS = ["demo", "inspect", "import", "split", "privatise", "train", "sample", "augment"]
VERBS += ["export", "evaluate", "audit", "info"]
SMALL = ("--steps", 3, "--width", 8)
IMAGES = (*SMALL, "--preset", "paper", "--size", 8)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with traces, their two parts, two models and traces made by one of them."""
    folder = tmp_path_factory.mktemp("work")
    volumes(60).save(folder / "all.parquet")
    assert run("split", folder / "all.parquet", "-o", folder).code == 0
    assert run("train", folder / "train.parquet", *SMALL, "-o", folder / "model").code == 0
    assert run("train", folder / "train.parquet", *IMAGES, "-o", folder / "images").code == 0
    assert run("sample", folder / "model", "-n", 20, "-o", folder / "made.parquet").code == 0
    return folder


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """`netdiffus ARGUMENTS` in a process of its own."""
    command = [sys.executable, "-m", "netdiffus", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": _heed_ctrl_c}
    return subprocess.Popen(command, text=True, **{**pipes, **options})


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in a background job it is ignored from birth


def without_report(err: str) -> str:
    """Standard error without the lines that say what was read."""
    return "".join(line for line in err.splitlines(True) if not line.startswith("read "))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


class TestHelp:
    def test_all_verbs_are_listed(self) -> None:
        shown = run("--help").out
        assert all(verb in shown for verb in VERBS)

    @pytest.mark.parametrize("verb", VERBS)
    def test_help_shows_an_example_that_parses(self, verb: str) -> None:
        shown = run(verb, "--help")
        words = shlex.split(shown.out.partition("Example:")[2])
        assert shown.code == 0
        assert words[:2] == ["netdiffus", verb]
        group = typer.main.get_command(app)
        group.commands[verb].make_context(verb, words[2:])

    def test_no_verb_and_a_wrong_one(self) -> None:
        assert run().code == 2
        assert "No such command" in run("generate").err


class TestPath:
    def test_split(self, work: Path, tmp_path: Path) -> None:
        done = run(
            "split", work / "all.parquet", "--by", "group", "-o", tmp_path, "--json", "--seed", 4
        )
        told = json.loads(done.out)
        sides = [Traces.load(told[name]) for name in ("train", "holdout")]
        assert [len(side) for side in sides] == list(told["traces"].values())
        assert not set.intersection(*(set(side.meta["group"].to_pylist()) for side in sides))

    def test_train_tells_what_it_did(self, work: Path, tmp_path: Path) -> None:
        told = json.loads(
            run("train", work / "train.parquet", *SMALL, "-o", tmp_path / "m", "--json").out
        )
        assert (told["steps"], told["ended"]) == (3, "budget used")
        assert told["traces"] == len(Traces.load(work / "train.parquet"))
        assert Model.load(tmp_path / "m").classes == ("onoff", "steady")

    def test_options_of_train_reach_the_model(self, work: Path, tmp_path: Path) -> None:
        options = ["--channels", "value_up, value", "--scale", "value=0:9000", "--length", "12"]
        options += ["--gamma", "0.5", "--resize", "area", "--seed", "9", "--validation", "0.2"]
        done = run("train", work / "train.parquet", *IMAGES, *options, "-o", tmp_path)
        model = Model.load(tmp_path)
        assert done.code == 0
        assert [channel.name for channel in model.codec.channels] == ["value_up", "value"]
        assert (model.codec.length, model.codec.gamma, model.codec.resize) == (12, 0.5, "area")
        assert model.preset == "paper"
        assert (model.about["seed"], model.about["validation_fraction"]) == (9, 0.2)

    def test_groups_of_train_reach_the_model(self, work: Path, tmp_path: Path) -> None:
        """Of six groups, each value that is kept is in five; of two nothing can be."""
        asked = ("train", work / "train.parquet", *SMALL, "--by", "group", "-o", tmp_path)
        assert run(*asked).code == 0
        alone = {v for row in Traces.load(work / "train.parquet").values[:, 0] for v in row}
        table = Model.load(tmp_path).codec.vocabularies[0].table
        ungrouped = Model.load(work / "model").codec.vocabularies[0].table
        assert len(alone & set(table.flatten())) < len(alone & set(ungrouped.flatten()))

    @pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
    def test_sample_writes_what_python_makes(self, work: Path, tmp_path: Path, suffix: str) -> None:
        out = tmp_path / f"made{suffix}"
        options = ["--label", "steady", "--steps", 2, "--seed", 5, "--batch-size", 3]
        done = run("sample", work / "images", "-n", 7, *options, "-o", out, "--json")
        model = Model.load(work / "images")
        expected = sample(model, 7, label="steady", steps=2, seed=5, batch_size=3)
        made = Traces.load(out)
        told = json.loads(done.out)
        assert told["classes"] == {"onoff": 0, "steady": 7}
        assert made.label_names.tolist() == ["steady"] * 7
        np.testing.assert_array_equal(made.values, expected.values)
        assert told["residual"] == pytest.approx(np.mean(expected.meta["residual"].to_pylist()))

    @pytest.mark.usefixtures("quick_reports")
    def test_evaluate(self, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("netdiffus.evaluation.evaluator.REPEATS", 2)
        sets = [work / "train.parquet", work / "made.parquet"]
        options = ["--holdout", work / "holdout.parquet", "--model", work / "model"]
        page = tmp_path / "r.html"
        done = run("evaluate", *sets, *options, "--by", "group", "-o", page, "--json")
        told = json.loads(done.out)
        figures = json.loads((tmp_path / "r.json").read_text())
        assert told["report"] == str(page)
        assert figures["protocol"]["holdout"] == "given"
        assert figures["protocol"]["by"] == "group"
        assert figures["protocol"]["repeats"] == 2  # of few traces, unless asked otherwise
        assert figures["about"]["steps"] == 3
        assert len(told["figures"]) >= 4
        assert page.read_text().startswith("<!doctype html>")

    @pytest.mark.usefixtures("quick_reports")
    def test_evaluate_by_attacks(self, work: Path, tmp_path: Path) -> None:
        for part, traces in zip(("learned", "unseen"), volumes(80).split(0.5), strict=True):
            traces.save(tmp_path / f"{part}.parquet")
        sets = [tmp_path / "learned.parquet", work / "made.parquet"]
        options = ["--holdout", tmp_path / "unseen.parquet", "--attack"]
        done = run("evaluate", *sets, *options, "-o", tmp_path / "r.html", "--json")
        assert done.code == 0, done.err
        figures = json.loads((tmp_path / "r.json").read_text())
        page = html.unescape((tmp_path / "r.html").read_text())
        assert figures["audit"]["answer"]["text"] in page
        alone = run("evaluate", *sets, "--attack", "-o", tmp_path / "s.html")
        assert alone.code == 2
        assert "--attack needs --holdout" in alone.err

    def test_info(self) -> None:
        told = json.loads(run("info", "--json").out)
        assert told["backends"]["torch"] == "ok"
        assert told["packages"]["numpy"] == np.__version__
        assert "cpp: ok" in run("info").out or told["backends"]["cpp"] != "ok"

    def test_plain_output_is_lines(self, work: Path, tmp_path: Path) -> None:
        done = run("sample", work / "model", "-n", 4, "-o", tmp_path / "s.csv")
        assert done.out.splitlines()[:4] == [
            f"traces: {tmp_path / 's.csv'}",
            "classes:",
            "  onoff: 2",
            "  steady: 2",
        ]


class TestExisting:
    """What is there is refused, byte for byte as it was, and replaced with --force."""

    def test_split(self, work: Path, tmp_path: Path) -> None:
        (tmp_path / "holdout.parquet").write_text("precious")
        asked = ("split", work / "all.parquet", "-o", tmp_path)
        self.refused(tmp_path, asked, "holdout.parquet")

    def test_train(self, work: Path, tmp_path: Path) -> None:
        shutil.copytree(work / "model", tmp_path, dirs_exist_ok=True)
        asked = ("train", work / "train.parquet", *SMALL, "--seed", 8, "-o", tmp_path)
        self.refused(tmp_path, asked, "config.json")

    def test_sample(self, work: Path, tmp_path: Path) -> None:
        (tmp_path / "s.parquet").write_text("precious")
        asked = ("sample", work / "model", "-n", 4, "-o", tmp_path / "s.parquet")
        self.refused(tmp_path, asked, "s.parquet")

    @pytest.mark.parametrize("name", ["r.html", "r.json"])
    def test_evaluate(self, work: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("precious")
        sets = (work / "train.parquet", work / "made.parquet")
        done = run("evaluate", *sets, "-o", tmp_path / "r.html")
        assert done.code == 2
        assert name in done.err
        assert contents(tmp_path) == {name: b"precious"}

    def refused(self, folder: Path, asked: tuple[object, ...], name: str) -> None:
        before = contents(folder)
        done = run(*asked)
        assert done.code == 2
        assert f"{name} exists" in done.err
        assert "--force" in done.err
        assert contents(folder) == before
        assert run(*asked, "--force").code == 0
        assert contents(folder)[name] != before[name]


def test_the_version_is_that_of_the_package() -> None:
    done = run("--version")
    assert (done.code, done.out.strip()) == (0, importlib.metadata.version("netdiffus"))


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)])
def test_help_has_a_short_name(verb: list[str]) -> None:
    short, long = run(*verb, "-h"), run(*verb, "--help")
    assert short.code == 0
    assert short.out == long.out
    assert "Usage:" in short.out


def test_a_number_may_stand_behind_each_class(work: Path, tmp_path: Path) -> None:
    first, second = Model.load(work / "model").classes[:2]
    done = run(
        "sample",
        work / "model",
        "-o",
        tmp_path / "s.csv",
        "--label",
        f"{first}=3",
        "--label",
        f"{second}=2",
    )
    assert done.code == 0
    assert Traces.load(tmp_path / "s.csv").counts() == {first: 3, second: 2}
    again = ("sample", work / "model", "-o", tmp_path / "t.csv", "--label")
    assert "with each class" in run(*again, f"{first}=3", "--label", second).err
    assert "a class stands twice" in run(*again, f"{first}=3", "--label", f"{first}=1").err
    assert "is not a class" in run(*again, f"{first}=many").err


def test_made_traces_need_not_have_the_columns_of_the_real_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = packets()
    traces.save(tmp_path / "made.csv")
    table = traces.to_arrow().replace_schema_metadata(None)
    named = table.rename_columns(["what" if n == "label" else n for n in table.column_names])
    pyarrow.parquet.write_table(named, tmp_path / "real.parquet")
    options = ReadOptions(label_column="what", columns={"timestamp": "time"})
    for name in ("real.parquet", "made.csv"):
        assert as_made(load, tmp_path / name, options).counts() == traces.counts()
    assert "made.csv: read without the options for the columns" in capsys.readouterr().err
    with pytest.raises(InputError, match="no column 'x'"):
        as_made(load, tmp_path / "real.parquet", ReadOptions(label_column="x"))


def test_a_mistyped_command_names_the_nearest() -> None:
    assert "Did you mean 'split'?" in run("splot").err


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        ("sample m -o new.parquet --sampler euler", ["dpm++", "ddim", "ddpm"]),
        ("sample m -o new.parquet --mix odd", ["balanced", "real"]),
        ("train data -o new --preset big", list(PRESETS)),
        ("import data -o new --per packet", ["flow", "host", "capture"]),
        ("export data -o new --as v5", ["capture", "flows", "ppi", "splt", "arrays"]),
    ],
)
def test_a_wrong_choice_names_the_right_ones(command: str, choices: list[str]) -> None:
    done = run(*command.split())
    assert done.code == 2
    shown = done.err.replace("│", " ").split("is not one of")[1]
    assert re.findall(r"'([^']+)'", shown) == choices


ERRORS = [
    ("sample {model} -n 5 -o new.parquet --label p2p", "label 'p2p' is not a class"),
    ("sample {model} -n 0 -o new.parquet", "n must be at least 1, got 0"),
    ("sample {model} -n 5 -o new.txt", "new.txt: unknown kind of file"),
    ("sample {model} -n 5 -o new.parquet --sampler ddim", "sampler='ddim': a model of preset"),
    ("sample {model} -n 5 -o new.parquet --steps 9", "steps=9: a model of preset"),
    ("sample old -n 5 -o new.parquet", "keep this folder as private as the traces"),
    ("sample no_model -n 5 -o new.parquet", "no_model: not a netdiffus model folder"),
    ("sample truncated -n 5 -o new.parquet", "model.safetensors: truncated"),
    ("sample broken -n 5 -o new.parquet", "config.json: not readable JSON"),
    ("train none.parquet -o new", "none.parquet: no such file"),
    ("train data.pcap -o new", "data.pcap: this is a capture"),
    ("train no_label.csv -o new", "no_label.csv: no column 'label'"),
    ("train empty.csv -o new", "empty.csv: the file is empty"),
    ("train lonely.csv -o new", "at least 5 traces (or groups) are needed, got 3"),
    ("sample {model} -n 5 -o lonely.csv/new.npz", "lonely.csv is a file, not a folder"),
    ("sample {model} -n 5 -o new.npz --start 9223372036854775807", "start and n must add up to"),
    ("train {data} -o lonely.csv --steps 2", "lonely.csv is a file, not a folder"),
    ("train {data} -o new --size 8", "--size: preset 'default' draws no images"),
    ("train {data} -o new --by nix", "no column 'nix' to group by"),
    ("train {data} -o new --validation 0.9", "validation_fraction must lie in 0..0.5"),
    (
        "train {data} -o new --preset paper --scale value",
        "--scale value: give a channel and its scale",
    ),
    (
        "train {data} -o new --preset paper --scale value=a:b",
        "--scale value=a:b: bounds are two numbers",
    ),
    ("train {data} -o new --preset paper --scale size=log", "no channel size"),
    ("train {data} -o new --channels nix", "channel 'nix' is not there"),
    ("train {data} -o new --resume", "new: not a netdiffus model folder"),
    ("split lonely.csv -o new", "class 'lonely' has 1 trace(s)"),
    ("split {data} -o new --by nix", "no column 'nix' to group by"),
    ("split {data} -o new --fraction 2", "fraction must lie between 0 and 1"),
    ("split {data} -o new --seed -1", "seed must lie in 0..2**63 - 1, got -1"),
    ("evaluate {data} {data} -o new.html --seed -1", "seed must lie in 0..2**63 - 1, got -1"),
    ("demo -o new --seed -1", "seed must lie in 0..2**63 - 1, got -1"),
    ("demo -o new --minutes 0", "minutes must be a number above 0, got 0"),
    ("import . -o new.parquet --packets 9 --bin-width 1", "--packets with --bin-width"),
    ("export packets.csv -o new.csv --as ppi --ip 4 --server-port 1", "for --ip, --server-port;"),
    ("evaluate {data} packets.csv -o new.html", "the channels are packet_length"),
    ("evaluate {data} {data} -o new.json", "new.json: the figures go there"),
    ("evaluate {data} {data} -o new.html --model no_model", "no_model: not a netdiffus model"),
]


@pytest.fixture
def faults(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files and models that have something wrong."""
    monkeypatch.chdir(tmp_path)
    Path("no_label.csv").write_text('kind,value\na,"[1,2]"\n')
    Path("lonely.csv").write_text('label,value\na,"[1,2]"\na,"[3,4]"\nlonely,"[1,2]"\n')
    Path("empty.csv").touch()
    packets().save("packets.csv")
    for name, file in (("truncated", "model.safetensors"), ("broken", "config.json")):
        shutil.copytree(work / "model", name)
        os.truncate(Path(name) / file, 90)
    shutil.copytree(work / "model", "old")
    config = json.loads(Path("old", "config.json").read_text())
    Path("old", "config.json").write_text(json.dumps({**config, "format": 5}))
    return tmp_path


class TestErrors:
    @pytest.mark.parametrize(("line", "message"), ERRORS)
    def test_is_one_line_that_names_the_thing(
        self, work: Path, faults: Path, line: str, message: str
    ) -> None:
        before = sorted(faults.rglob("*"))
        paths = {"model": work / "model", "images": work / "images"}
        line = line.format(**paths, data=work / "train.parquet")
        done = run(*shlex.split(line))
        assert done.code == 2
        assert done.out == ""
        err = without_report(done.err)
        assert len(err.splitlines()) == 1
        assert err.startswith("error: ")
        assert message in err
        assert sorted(faults.rglob("*")) == before

    def test_json_has_the_error_too(self, tmp_path: Path) -> None:
        done = run("train", tmp_path / "none.csv", "-o", tmp_path / "m", "--json")
        assert json.loads(done.out) == {"error": f"{tmp_path / 'none.csv'}: no such file"}
        assert done.code == 2

    def test_other_settings_are_not_resumed(self, work: Path, tmp_path: Path) -> None:
        shutil.copytree(work / "model", tmp_path / "m")
        before = contents(tmp_path / "m")
        asked = ("train", work / "train.parquet", *SMALL, "--resume", "-o", tmp_path / "m")
        done = run(*asked, "--seed", 1)
        assert done.code == 2
        assert "resume: seed was 0 and is now 1" in done.err
        assert contents(tmp_path / "m") == before

    def test_cut_traces_are_said(self, tmp_path: Path) -> None:
        packets(30).save(tmp_path / "p.parquet")
        longer = int((packets(30).lengths > 6).sum())
        for k, options in enumerate(((*SMALL, "--length", 6), (*IMAGES, "--size", 6))):
            done = run("train", tmp_path / "p.parquet", *options, "-o", tmp_path / str(k))
            assert done.code == 0
            assert f"note: {longer} of 30 traces are longer than 6 points" in done.err

    def test_long_volumes_are_averaged_unless_a_length_is_given(self, tmp_path: Path) -> None:
        volumes(20, 600).save(tmp_path / "v.parquet")
        traces = ("train", tmp_path / "v.parquet", "--width", 8, "--steps", 1)
        for k, (options, points) in enumerate((
            (("--preset", "paper", "--length", 12, "--size", 6), [12, 6]),
            ((), [600, 300]),
            (("--length", 30), [30, 30]),
        )):  # fmt: skip
            told = json.loads(run(*traces, *options, "-o", tmp_path / str(k), "--json").out)
            assert [told[key] for key in ("length", "points")] == points

    def test_a_resumed_run_keeps_its_budget(self, work: Path, tmp_path: Path) -> None:
        shutil.copytree(work / "model", tmp_path / "m")
        steps = Model.load(tmp_path / "m").about["steps"]
        rest = [one for k, one in enumerate(SMALL) if "--steps" not in (one, SMALL[k - 1])]
        done = run("train", work / "train.parquet", *rest, "--resume", "-o", tmp_path / "m")
        assert done.code == 0, done.err
        assert Model.load(tmp_path / "m").about["steps"] == steps

    @pytest.mark.parametrize("asked", ["train --steps few", "sample -n few", "split --fraction x"])
    def test_words_for_numbers(self, asked: str) -> None:
        verb, *rest = asked.split()
        done = run(verb, "a", "-o", "b", *rest)
        assert done.code == 2
        assert rest[0] in done.err

    def test_in_a_process_of_its_own(self, tmp_path: Path) -> None:
        process = start("train", tmp_path / "none.parquet", "-o", tmp_path / "m")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err == f"error: {tmp_path / 'none.parquet'}: no such file\n"


class TestFullDisk:
    """A limit on file size fails a write midway, as a full disk does."""

    @pytest.mark.parametrize("verb", ["split", "train"])
    def test_exits_1_and_leaves_no_half_file(self, verb: str, tmp_path: Path) -> None:
        volumes(400, 64).save(tmp_path / "all.parquet")
        out = tmp_path / "out"
        # A GPU's driver writes larger files than the limit allows.
        options = (*SMALL, "--device", "cpu") if verb == "train" else ()
        with files_of_at_most(4096):
            done = run(verb, tmp_path / "all.parquet", *options, "-o", out)
        *progress, error = without_report(done.err).splitlines()
        assert done.code == 1
        assert error.startswith("error: ")
        assert "File too large" in error
        assert all(line.startswith(f"{verb} ") for line in progress)  # of a slow machine
        left = {str(path.relative_to(out)) for path in out.rglob("*")}
        assert left <= {"log.jsonl", "checkpoint", "checkpoint/PRIVATE.txt"}


class TestProgress:
    def test_none_where_stderr_is_no_terminal(self, work: Path, tmp_path: Path) -> None:
        done = run("sample", work / "model", "-n", 4, "-o", tmp_path / "s.csv")
        assert done.err == ""


class TestInterrupt:
    def test_is_one_line_whatever_typer_does(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("netdiffus.cli.split.load", interrupt)
        done = run("split", tmp_path / "all.csv", "-o", tmp_path)
        assert done == (130, "", "error: interrupted\n")

    def test_train_stays_usable_and_resumes(self, work: Path, tmp_path: Path) -> None:
        model = tmp_path / "m"
        asked = ("train", work / "train.parquet", "--width", 8, "-o", model)
        process = start(*asked, "--steps", 10**8)
        self.interrupt(process, once=lambda: (model / "log.jsonl").read_text() != "")
        assert process.returncode == 130
        steps = Model.load(model).about["steps"]
        made = run("sample", model, "-n", 4, "-o", tmp_path / "s.csv")
        more = ("--steps", steps + 2, "--resume", "--json")
        resumed = run(*asked, *more)
        assert made.code == 0
        assert steps >= 20
        assert json.loads(resumed.out)["steps"] == steps + 2
        assert json.loads(resumed.out)["ended"] == "budget used"

    def test_sample_leaves_nothing(self, work: Path, tmp_path: Path) -> None:
        asked = ("sample", work / "model", "-n", 10**7, "-o", tmp_path / "s.csv")
        terminal, stderr = os.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        process = start(*asked, stderr=stderr, env=environment)
        os.close(stderr)
        shown = b""
        while b"%" not in shown:  # until the bar is there: it samples
            shown += os.read(terminal, 1 << 16)
        self.interrupt(process, once=lambda: True)
        os.close(terminal)
        assert process.returncode == 130
        assert list(tmp_path.iterdir()) == []

    def interrupt(self, process: subprocess.Popen[str], once: Callable[[], bool]) -> None:
        """Ctrl-C as soon as `once()` holds."""
        try:
            ends = time.monotonic() + 300
            while not _holds(once):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < ends, "nothing happened for five minutes"
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=300)
        finally:
            process.kill()
            process.communicate()


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("command", "default"),
    [("sample", "(1000)"), ("import", "(64)"), ("augment", "(as the model,")],
)
def test_defaults_that_depend_are_shown(command: str, default: str) -> None:
    assert default in run(command, "--help").out


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("os=linux", ("os", "linux")),
        ("os=", ("os", None)),
        ('os=""', ("os", "")),
        ("loss=..0.05", ("loss", (None, "0.05"))),
        ('path="a..b"', ("path", "a..b")),
        ('path="say ""hi"""', ("path", 'say "hi"')),
        ("path=a=b", ("path", "a=b")),
        ('"a=b"=c..d', ("a=b", ("c", "d"))),
        ('path="a', ("path", '"a')),
    ],
)
def test_in_quotes_a_condition_is_taken_as_it_is(text: str, wanted: tuple[str, object]) -> None:
    assert _condition(text) == wanted


@pytest.mark.parametrize("text", ["os", "=linux", '"a=b', '"a"b=c'])
def test_a_condition_without_a_column_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="COLUMN=VALUE"):
        _condition(text)


def test_an_allocation_that_torch_refuses_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netdiffus.cli.split.load", lambda *_: torch.empty(2**55))
    done = run("split", tmp_path / "t.parquet", "-o", tmp_path / "p")
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert done.err.startswith("error: not enough memory: ")
    assert "in smaller batches (--batch-size)" in done.err


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        ImportError("x.so: failed to map segment from shared object"),
    ],
)
def test_other_words_for_no_memory_are_known(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netdiffus.cli.split.load", Mock(side_effect=error))
    done = run("split", tmp_path / "t.parquet", "-o", tmp_path / "p")
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert done.err.startswith(f"error: not enough memory: {error}; ")
