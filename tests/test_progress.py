"""How far long work is, where there is no terminal."""

from __future__ import annotations

import logging

import pytest
from small import volumes

from netdiffus import Recipe, progress, sample, train


def test_without_a_terminal_a_line_is_logged_each_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = iter([0.0, 30.0, 61.0, 61.0, 100.0, 200.0, 200.0])
    monkeypatch.setattr("netdiffus.progress.time.monotonic", lambda: next(now))
    with caplog.at_level(logging.INFO, "netdiffus"), progress.bar("train", 10.0) as shown:
        for done in (2.0, 5.0, 6.0, 8.0):
            shown(done, f"step {done:.0f}")
    assert [r.message for r in caplog.records] == ["train 50%: step 5", "train 80%: step 8"]


def test_training_and_sampling_tell_by_themselves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "netdiffus"):
        model = train(volumes(), recipe=Recipe(steps=3, batch_size=4), width=8)
        sample(model, 5)
    told = [record.message for record in caplog.records]
    assert [line.partition(" loss")[0] for line in told if line.startswith("train")] == [
        "train 33%: step 1",
        "train 67%: step 2",
        "train 100%: step 3",
    ]
    assert "sample 100%: 5 traces" in told


def test_what_is_given_is_called_instead(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[float] = []
    with caplog.at_level(logging.INFO, "netdiffus"):
        recipe = Recipe(steps=3, batch_size=4)
        train(volumes(), recipe=recipe, width=8, progress=lambda done, _: seen.append(done))
    assert seen == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert not [r for r in caplog.records if r.message.startswith("train")]
