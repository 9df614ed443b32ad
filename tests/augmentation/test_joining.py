from __future__ import annotations

import warnings
from dataclasses import replace

import pyarrow as pa
import pytest

from netdiffus.augmentation.joining import check_unmarked, joined
from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces


def some(labels: list[str], **meta: list) -> Traces:
    return Traces.from_lists({"value": [[i + 1, 2] for i in range(len(labels))]}, labels, meta)


def test_no_column_is_lost_and_made_traces_are_marked():
    real = some(["a", "b"], trace_id=[7, 8], group=["x", "y"], port=[443, 53])
    made = some(["b", "a", "b"], trace_id=["s-0", "s-1", "s-2"], seed=[1, 1, 1], port=[53, 80, 53])
    both = joined(real, made, None)
    assert both.label_names.tolist() == ["a", "b", "b", "a", "b"]
    assert both.meta.to_pydict() == {
        "trace_id": ["7", "8", "s-0", "s-1", "s-2"],  # numbers on one side are text on the other
        "group": ["x", "y", None, None, None],
        "port": [443, 53, 53, 80, 53],
        "seed": [None, None, 1, 1, 1],
        "is_synthetic": [False, False, True, True, True],
    }


def test_without_made_traces_the_real_ones_are_as_they_were():
    real = some(["a", "b"], trace_id=[7, 8])
    alone = joined(real, None, None)
    assert replace(alone, meta=alone.meta.select(["trace_id"])).equals(real)
    assert alone.meta["is_synthetic"].to_pylist() == [False, False]
    check_unmarked(alone)
    assert joined(alone, None, None).equals(alone)


def test_made_traces_among_the_real_ones_are_refused():
    both = joined(some(["a", "b"]), some(["a"]), None)
    with pytest.raises(InputError, match=r"'is_synthetic' is True in row 2: synthetic traces"):
        check_unmarked(both)
    with pytest.raises(InputError, match=r"'is_synthetic' is 'no' in row 0"):
        check_unmarked(some(["a", "b"], is_synthetic=["no", "no"]))


@pytest.mark.parametrize("lacking", ["real", "made", "validation"])
def test_a_ledger_is_kept_only_if_all_traces_have_it(lacking: str) -> None:
    ledger = {"epsilon": 4.0}
    parts = {
        name: replace(some(["a", "b"]), ledger=ledger) for name in ("real", "made", "validation")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert joined(parts["real"], parts["made"], None).ledger == ledger
        assert joined(**parts).ledger == ledger
        assert joined(parts["real"], None, some(["a"])).ledger == ledger  # nothing was added
    parts[lacking] = replace(parts[lacking], ledger=None)
    with pytest.warns(Note, match="have different privacy ledgers"):
        assert joined(**parts).ledger is None


def test_a_column_of_any_type_is_joined() -> None:
    real = some(["a", "b"], share=[0.5, 1.0])
    dictionary = pa.array(["x", "y"]).dictionary_encode()
    real = replace(real, meta=real.meta.append_column("kind", dictionary))
    made = some(["a"], share=[2], kind=["z"])
    found = joined(real, made, None).meta
    assert found["share"].to_pylist() == [0.5, 1.0, 2.0]
    assert found["kind"].to_pylist() == ["x", "y", "z"]
