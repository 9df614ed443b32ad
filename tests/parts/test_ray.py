"""Parts made by Ray: on a cluster of two small nodes, of which one is killed under way."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock

import pytest
from command import run
from small import packets
from test_import_parts import content, write_captures

from netdiffus import Dataset, InputError, Recipe, import_to_parts, sample_to_parts, train
from netdiffus.parts.on_ray import by_ray

ray = pytest.importorskip("ray", reason="no wheel of Ray for this Python")
# Of Ray's own: files and processes that it leaves to the end of the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


# Workers of Ray wait for all others (nice 15), and here others are other tests.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one processor; tests add the node that they kill."""
    from ray.cluster_utils import Cluster

    with mock.patch.dict(os.environ, SETTINGS):
        found = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        yield found
        ray.shutdown()
        found.shutdown()


def test_tasks_of_a_killed_node_are_done_again(cluster: Any, tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=1)

    def task(item: int) -> int:
        node = ray.get_runtime_context().get_node_id()
        tmp_path.joinpath(f"{item}-{node}").touch()
        time.sleep(1.0)
        return item * item

    def kill() -> None:
        while not list(tmp_path.glob(f"*-{doomed.node_id}")):
            time.sleep(0.05)
        cluster.remove_node(doomed, allow_graceful=False)

    killer = Thread(target=kill)
    killer.start()
    found = sorted(by_ray(task, range(6), cluster.address))
    killer.join()
    assert found == [item * item for item in range(6)]
    begun = [int(path.name.split("-")[0]) for path in tmp_path.iterdir()]
    assert len(begun) > len(set(begun))  # at least one was begun on both nodes


def test_a_sampling_survives_the_loss_of_a_node(cluster: Any, tmp_path: Path) -> None:
    model = train(packets(60), recipe=Recipe(steps=5, batch_size=8), width=16)
    sample_to_parts(model, 60, tmp_path / "once", part_size=10, seed=4)
    doomed = cluster.add_node(num_cpus=1)
    killed: list[float] = []

    def kill(done: float, note: str) -> None:
        if not killed:
            cluster.remove_node(doomed, allow_graceful=False)
        killed.append(done)

    made = sample_to_parts(
        model,
        60,
        tmp_path / "set",
        part_size=10,
        seed=4,
        ray=cluster.address,
        progress=kill,
    )
    assert (made.made, made.missing) == (6, 0)
    assert content(tmp_path / "set") == content(tmp_path / "once")
    assert len(Dataset(tmp_path / "set")) == 60


def test_the_command_line(cluster: Any, tmp_path: Path) -> None:
    captures = write_captures(tmp_path / "captures")
    done = run("import", captures, "-o", tmp_path / "set", "--ray", cluster.address, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["made"] == 5
    import_to_parts(captures, tmp_path / "once")
    assert content(tmp_path / "set") == content(tmp_path / "once")


def test_what_a_task_raises_comes_through_and_the_rest_is_done(
    cluster: Any, tmp_path: Path
) -> None:
    def task(item: int) -> int:
        if item == 1:
            raise OSError(28, "No space left on device", "part-1")
        return item

    found: list[int] = []
    with pytest.raises(OSError, match="No space left") as raised:
        found.extend(by_ray(task, range(3), cluster.address))
    assert 0 in found
    assert socket.gethostname() in str(raised.value)
    assert raised.value.filename == "part-1"


def test_a_worker_of_another_version_is_refused(cluster: Any) -> None:
    with (
        mock.patch("netdiffus.parts.on_ray.version", return_value="9.9"),
        pytest.raises(InputError, match=r"has netdiffus .*, this process 9\.9"),
    ):
        list(by_ray(abs, [1], cluster.address))


def test_a_task_that_kills_its_worker_ends(cluster: Any) -> None:
    with (
        mock.patch("netdiffus.parts.on_ray.TRIES", 0),
        pytest.raises(InputError, match="Ray gives no result of a part"),
    ):
        list(by_ray(os._exit, [3], cluster.address))


def test_no_ray_at_the_address_is_said_at_once(tmp_path: Path) -> None:
    captures = write_captures(tmp_path / "captures")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # nobody listens there
        done = run("import", captures, "-o", tmp_path / "set", "--ray", address)
    assert done.code == 2
    assert f"error: no Ray answers at '{address}'" in done.err
    assert done.err.count("\n") == 1


def test_no_ray_installed_is_said(tmp_path: Path) -> None:
    captures = write_captures(tmp_path / "captures")
    with mock.patch.dict(sys.modules, {"ray": None}):
        done = run("import", captures, "-o", tmp_path / "set", "--ray", "local")
    assert done.code == 2
    assert "Ray is not installed; run: pip install 'netdiffus[ray]'" in done.err
