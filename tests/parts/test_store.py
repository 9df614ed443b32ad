"""Data sets in an object store, here in the memory that fsspec keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from command import run as command
from small import packets

from netdiffus import Dataset, InputError, Traces
from netdiffus.tables.manifest import MANIFEST
from netdiffus.tables.store import Store

TRACES = packets(90, longest=8, seed=2)
URL = "memory://bucket/made"


@pytest.fixture
def local(tmp_path: Path) -> Dataset:
    return Dataset.write(tmp_path / "made", [TRACES[:50], TRACES[50:51], TRACES[51:]])


@pytest.fixture
def store(local: Dataset) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for path in Path(local.folder).iterdir():
        files.pipe(f"/bucket/made/{path.name}", path.read_bytes())
    yield files
    files.rm("/bucket", recursive=True)


@pytest.mark.parametrize("url", [URL, f"{URL}/", Path(URL)])
def test_it_is_read_as_in_a_folder(
    url: str | Path, local: Dataset, store: fsspec.AbstractFileSystem
) -> None:
    found = Dataset(url)
    assert found.folder == URL
    assert repr(found) == repr(local).replace(str(local.folder), URL)
    assert found.take([80, 3]).equals(local.take([80, 3]))
    assert [one.counts() for one in found.batches(20)] == [
        one.counts() for one in local.batches(20)
    ]
    found.check()
    assert found.load().equals(Traces.load(local.folder))
    assert found.truncate(2).load().equals(Traces.load(local.folder, 2))


def test_what_is_wrong_is_named(store: fsspec.AbstractFileSystem) -> None:
    part = "/bucket/made/part-000001.parquet"
    content = store.cat(part)
    store.pipe(part, content[:-1])
    with pytest.raises(InputError, match=rf"{URL}/part-000001\.parquet: the part has \d+ bytes"):
        Dataset(URL)
    store.pipe(part, content[:-9] + bytes(9))
    with pytest.raises(InputError, match=rf"{URL}/part-000001\.parquet: not a readable part"):
        list(Dataset(URL))
    with pytest.raises(InputError, match=rf"{URL}/part-000001\.parquet: its bytes are not those"):
        Dataset(URL).check()
    store.rm(part)
    with pytest.raises(InputError, match=rf"{URL}/part-000001\.parquet: the part is missing"):
        Dataset(URL)
    store.pipe(f"/bucket/made/{MANIFEST}", b"\xff")
    with pytest.raises(InputError, match=rf"{URL}/{MANIFEST}: damaged"):
        Dataset(URL)
    with pytest.raises(InputError, match=r"memory://bucket/other: no data set"):
        Dataset("memory://bucket/other")


def test_urls_that_none_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere://bucket: Protocol not known"):
        Dataset("nowhere://bucket")
    with pytest.raises(InputError, match=r"made: no such folder"):
        Dataset(tmp_path / "made")


def test_a_folder_with_the_name_of_a_url_is_a_folder(
    local: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("memory:").mkdir()
    Path(local.folder).rename("memory:/made")
    assert Store.of("memory:/made").is_local
    assert len(Dataset("memory:/made")) == 90


def test_nothing_is_written_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no folder is made that has the name of a URL."""
    monkeypatch.chdir(tmp_path)
    TRACES.save("t.parquet")
    for verb, out in (("split", URL), ("privatise", URL), ("privatise", f"{URL}.parquet")):
        more = ["--epsilon", 4] if verb == "privatise" else []
        done = command(verb, "t.parquet", "-o", out, *more)
        assert done.code == 2
        assert "object stores are only read" in done.err
    with pytest.raises(InputError, match="object stores are only read"):
        Dataset.write(URL, [TRACES])
    assert [one.name for one in tmp_path.iterdir()] == ["t.parquet"]


def test_arrow_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fsspec needs a package more for each."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for url, kind in (("s3://bucket/made?region=x", "s3"), ("gs://anonymous@bucket/made", "gcs")):
        found = Store.of(url)
        assert found.files.type_name == kind
        assert found.path == "bucket/made"


def test_the_commands_read_it(tmp_path: Path, store: fsspec.AbstractFileSystem) -> None:
    done = command("split", URL, "-o", tmp_path / "sides", "--json")
    assert done.code == 0, done.err
    assert sum(json.loads(done.out)["traces"].values()) == 90
    done = command("train", URL, "-o", tmp_path / "m", "--steps", 2, "--width", 16)
    assert done.code == 0, done.err
    done = command("train", URL, "-o", tmp_path / "n", "--steps", 2, "--channels", "direction")
    assert done.code == 2
    assert f"{URL}: options for other columns are of no use" in done.err
