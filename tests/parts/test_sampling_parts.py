"""Traces made part by part are those made at once, whoever makes which part."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from command import files_of_at_most, run
from small import packets, volumes

from netdiffus import Dataset, InputError, Model, Recipe, Traces, sample, sample_to_parts, train
from netdiffus.parts.shards import Shard
from netdiffus.tables.manifest import MANIFEST

N, SIZE = 30, 7  # five parts


@pytest.fixture(scope="module")
def model() -> Model:
    return train(packets(60), recipe=Recipe(steps=5, batch_size=8), width=16)


def content(folder: Path) -> dict[str, bytes]:
    """All that is in a data set, but for what its makers note."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def once(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set as one process makes it."""
    folder = tmp_path_factory.mktemp("once") / "set"
    made = sample_to_parts(model, N, folder, part_size=SIZE, seed=4)
    assert (made.parts, made.made, made.there, made.missing) == (5, 5, 0, 0)
    return folder


def test_they_are_the_traces_that_sample_makes(model: Model, once: Path) -> None:
    found = Dataset(once)
    found.check()
    assert [part.rows for part in found.manifest.parts] == [7, 7, 7, 7, 2]
    assert found.load().equals(sample(model, N, seed=4, batch_size=SIZE))


def test_shards_make_the_same_bytes_in_any_order(model: Model, once: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for index, missing in ((2, 4), (0, 2), (1, 0)):
        assert not (folder / MANIFEST).exists()
        made = sample_to_parts(model, N, folder, part_size=SIZE, seed=4, shard=f"{index}/3")
        assert made.missing == missing
    assert content(folder) == content(once)


def test_one_shard_does_what_another_left(model: Model, once: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sample_to_parts(model, N, folder, part_size=SIZE, seed=4, shard="1/3")
    made = sample_to_parts(model, N, folder, part_size=SIZE)  # with the seed of the folder
    assert (made.made, made.there) == (3, 2)
    assert content(folder) == content(once)


def test_a_lost_part_is_made_again_alone(model: Model, once: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sample_to_parts(model, N, folder, part_size=SIZE, seed=4)
    (folder / "part-000003.parquet").unlink()
    (folder / "part-000001.parquet").write_bytes(b"cut")
    (folder / "records" / "part-000002.json").write_text("{")
    kept = (folder / "part-000000.parquet").stat().st_mtime_ns
    made = sample_to_parts(model, N, folder, part_size=SIZE)
    assert (made.made, made.there) == (3, 2)
    assert content(folder) == content(once)
    assert (folder / "part-000000.parquet").stat().st_mtime_ns == kept


def test_a_run_that_is_broken_off_leaves_whole_parts(
    model: Model, once: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"

    def stop(done: float, note: str) -> None:
        if done > 2 * SIZE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_to_parts(model, N, folder, part_size=SIZE, seed=4, progress=stop)
    assert sorted(path.name for path in folder.glob("part-*")) == [
        f"part-{k:06d}.parquet" for k in range(3)
    ]
    with pytest.raises(InputError, match="the data set is incomplete"):
        Traces.load(folder)
    assert sample_to_parts(model, N, folder, part_size=SIZE).made == 2
    assert content(folder) == content(once)


def test_a_full_disk_costs_the_part_that_did_not_fit(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sample_to_parts(model, N, folder, part_size=SIZE, seed=4, shard="0/5")
    with files_of_at_most(100), pytest.raises(OSError, match="too large") as raised:
        sample_to_parts(model, N, folder, part_size=SIZE)
    assert raised.value.filename == str(folder / "part-000001.parquet")
    assert sorted(path.name for path in folder.iterdir()) == [
        "part-000000.parquet",
        "plan.json",
        "records",
    ]


def test_numbers_of_each_class(model: Model, tmp_path: Path) -> None:
    asked = {"web": 9, "ssh": 4}
    sample_to_parts(model, None, tmp_path / "set", part_size=5, seed=1, label=asked)
    wanted = sample(model, label=asked, seed=1, batch_size=5)
    assert Dataset(tmp_path / "set").load().equals(wanted)


def test_parts_begin_at_start(model: Model, tmp_path: Path) -> None:
    sample_to_parts(model, 10, tmp_path / "set", part_size=4, seed=4, start=20)
    wanted = sample(model, 10, seed=4, start=20, batch_size=4)
    assert Dataset(tmp_path / "set").load().equals(wanted)


def test_a_residual_is_kept(tmp_path: Path) -> None:
    from netdiffus import GasfCodec

    of_images = train(
        volumes(), recipe=Recipe(steps=2, batch_size=4), codec=GasfCodec(8), preset="paper", width=8
    )
    made = sample_to_parts(of_images, 6, tmp_path / "set", part_size=4, seed=1, steps=2)
    found = Dataset(tmp_path / "set").load().meta["residual"].to_pylist()
    kept = [record.about["residual"] for record in made.records]
    assert kept == pytest.approx([sum(found[:4]) / 4, sum(found[4:]) / 2])
    assert made.summary()["residual"] == pytest.approx(sum(found) / 6)


def test_what_differs_from_the_plan_is_named(model: Model, once: Path) -> None:
    other = train(packets(60), recipe=Recipe(steps=1, batch_size=8), width=16)
    for net, n, more, message in (
        (model, 31, {}, "begun with n 30, now 31"),
        (model, N, {"part_size": 8}, "begun with part_size 7, now 8"),
        (model, N, {"seed": 5}, "begun with seed 4, now 5"),
        (model, N, {"mix": "real"}, "begun with mix None, now 'real'"),
        (other, N, {}, "begun with model '"),
    ):
        with pytest.raises(InputError, match=message):
            sample_to_parts(net, n, once, **{"part_size": SIZE, **more})


def test_another_version_of_netdiffus_is_named(model: Model, once: Path) -> None:
    with (
        mock.patch("netdiffus.sampling_parts.SOFTWARE", "9.9"),
        pytest.raises(InputError, match=r"begun with netdiffus '.*', now '9\.9'"),
    ):
        sample_to_parts(model, N, once, part_size=SIZE)


def test_force_begins_anew(model: Model, once: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sample_to_parts(model, 80, folder, part_size=SIZE, seed=9)
    with pytest.raises(InputError, match="force with a shard"):
        sample_to_parts(model, N, folder, seed=4, shard="0/2", force=True)
    sample_to_parts(model, N, folder, part_size=SIZE, seed=4, force=True)
    assert content(folder) == content(once)


def test_what_others_have_written_is_left_alone(model: Model, tmp_path: Path) -> None:
    Dataset.write(tmp_path / "set", [volumes()])
    before = content(tmp_path / "set")
    for force in (False, True):
        with pytest.raises(InputError, match=r"holds manifest\.json, which is of no data set"):
            sample_to_parts(model, 5, tmp_path / "set", seed=1, force=force)
    assert content(tmp_path / "set") == before


def test_a_folder_that_is_used_is_left_alone(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"holds README\.md, which is of no data set"):
        sample_to_parts(model, 5, tmp_path, seed=1)
    assert content(tmp_path) == before


def test_a_shard_needs_a_seed(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a shard without a seed"):
        sample_to_parts(model, 5, tmp_path / "set", shard="0/2")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4/4", r"4/4: shards count from 0, so give one of 0/4 to 3/4"),
        ("0/0", "at least one shard"),
        ("1", "give INDEX/COUNT"),
        ("-1/4", "give INDEX/COUNT"),
        ("a/b", "give INDEX/COUNT"),
    ],
)
def test_a_shard_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shard.parse(text)


def test_shards_share_all_parts() -> None:
    parts = [k for index in range(3) for k in Shard(index, 3).of(range(10))]
    assert sorted(parts) == list(range(10))


def test_the_command_line(model: Model, once: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    folder = tmp_path / "set"
    command = ["sample", tmp_path / "model", "-n", N, "-o", folder, "--part-size", SIZE, "--json"]
    first = run(*command, "--seed", 4, "--shard", "0/2")
    assert first.code == 0
    assert json.loads(first.out)["missing"] == 2
    assert "is incomplete: 2 of 5 parts are missing" in first.err
    second = run(*command, "--shard", "1/2")
    assert (second.code, second.err) == (0, "")
    assert json.loads(second.out)["classes"] == Dataset(once).counts()
    assert content(folder) == content(once)
    for more, message in (
        (["--shard", "2/2"], "shards count from 0"),
        (["--mtu", 1400], "a folder has no use for --mtu"),
    ):
        failed = run(*command, *more)
        assert failed.code == 2
        assert message in failed.err
    failed = run("sample", tmp_path / "model", "-o", tmp_path / "x.npz", "--shard", "0/2")
    assert "a file has no use for --shard" in failed.err


def test_the_order_of_classes_with_numbers_is_in_the_plan(model: Model, tmp_path: Path) -> None:
    options = {"seed": 1, "part_size": 5, "shard": "0/2"}
    sample_to_parts(model, None, tmp_path / "s", label={"ssh": 8, "web": 4}, **options)
    with pytest.raises(InputError, match="begun with label"):
        sample_to_parts(model, None, tmp_path / "s", label={"web": 4, "ssh": 8}, **options)
