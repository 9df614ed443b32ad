"""The noise that is drawn is the noise that is stated."""

from __future__ import annotations

import subprocess
import sys
from math import sqrt
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from neighbours import PUBLIC, Row, traces_of
from scipy.stats import beta, kstest, norm

from netdiffus.errors import InputError, Note
from netdiffus.privacy import noise
from netdiffus.privacy.accounting import epsilon_of
from netdiffus.privacy.noise import UNIT, Noisy, NoisyMeter, add_noise
from netdiffus.privacy.privatise import privatise

RUNS = 3000
MISTAKE = 1e-6  # chance that a sound build fails the audit


def least_mu(with_it: npt.NDArray[np.float64], without: npt.NDArray[np.float64]) -> float:
    """A lower bound of mu by the best threshold between the answers with a trace and without.

    Of each threshold both error rates get Clopper-Pearson bounds, together sound up to `MISTAKE`;
    mu-Gaussian privacy asks that Phi^-1(true positives) - Phi^-1(false positives) <= mu.
    """
    thresholds = np.quantile(np.concatenate([with_it, without]), np.linspace(0.2, 0.8, 13))
    level = MISTAKE / (2 * len(thresholds))
    found = []
    for threshold in thresholds:
        hits, alarms = (int((x > threshold).sum()) for x in (with_it, without))
        lowest = beta.ppf(level, hits, RUNS - hits + 1)
        highest = beta.isf(level, alarms + 1, RUNS - alarms)
        found.append(norm.ppf(lowest) - norm.ppf(highest))
    return float(max(found))


def audit(mu: float) -> float:
    """A lower bound of what a release of `mu` spends, by the most that one trace can add."""
    sensitivity = sqrt(4.0)
    added = np.full(4, UNIT, dtype=np.int64)  # of norm 2, as stated
    answers = []
    for counts in (added, 0 * added):
        many = np.tile(counts, RUNS)  # noise is independent, so many runs are one long release
        noisy = add_noise(many, sensitivity, sensitivity / mu)
        answers.append(noisy.reshape(RUNS, 4).sum(axis=1))
    return least_mu(answers[0], answers[1])


def test_the_audit_passes() -> None:
    assert audit(1.0) <= 1.0


def test_the_audit_finds_noise_that_is_halved() -> None:
    original = add_noise
    with mock.patch.dict(globals(), {"add_noise": lambda c, d, s: original(c, d / 2, s / 2)}):
        assert audit(1.0) > 1.0


def epsilon_of_a_build() -> float:
    """Epsilon of a whole call, by the noise that all its answers have and not by what it states."""
    rows = [Row("ab"[i % 2], (i % 41, 7, 40), (1, -1, 1), (0.0, 0.1, 0.2), 6, "x")
            for i in range(60)]  # fmt: skip
    original, off, mus = NoisyMeter.release, [], []

    def release(
        meter: NoisyMeter,
        name: str,
        sensitivity: float,
        share: float,
        counts: npt.NDArray[np.int64],
    ) -> Noisy:
        answer = original(meter, name, sensitivity, share, counts)
        mu = meter.mu * sqrt(share)  # of the whole budget, which epsilon 4 gives
        off.append((answer.counts - counts / UNIT).reshape(-1) * mu / sensitivity)
        mus.append(mu)
        return answer

    with mock.patch.object(NoisyMeter, "release", release), pytest.warns(Note):
        privatise(traces_of(rows), 4, delta=1e-3, anyway=True, **PUBLIC)
    width = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))  # 1 if noise is as wide as it must be
    assert len(np.concatenate(off)) > 20_000  # so that it is known to 0.5 %
    return epsilon_of(sqrt(sum(mu * mu for mu in mus)) / width, 1e-3)


def test_a_whole_build_keeps_epsilon_and_one_with_half_the_noise_does_not() -> None:
    assert epsilon_of_a_build() < 4 * 1.03  # five deviations of the width
    original = add_noise
    with mock.patch.object(noise, "add_noise", lambda c, d, s: original(c, d / 2, s / 2)):
        assert epsilon_of_a_build() > 8


def test_noise_is_normal_and_as_wide_as_stated() -> None:
    drawn = add_noise(np.zeros(4000, dtype=np.int64), 3.0, 7.5)
    # Steps of 1 / 256 are far below sigma, so the normal law is the oracle.
    assert kstest(drawn / 7.5, "norm").pvalue > 1e-6
    assert np.array_equal(np.rint(drawn * UNIT), drawn * UNIT)


def test_noise_is_new_each_time() -> None:
    zeros = np.zeros(40, dtype=np.int64)
    assert not np.array_equal(add_noise(zeros, 1.0, 5.0), add_noise(zeros, 1.0, 5.0))


def test_a_meter_writes_down_what_it_spends() -> None:
    meter = NoisyMeter(0.5, most=4)
    counts = np.zeros((2, 3), dtype=np.int64)
    answer = meter.release("x", 2.0, 0.25, counts)
    assert answer.counts.shape == (2, 3)
    assert answer.sigma == pytest.approx(4 * 2.0 / (0.5 * sqrt(0.25)))
    (entry,) = meter.spent
    assert entry["sensitivity"] / entry["sigma"] == pytest.approx(entry["mu"]) == 0.25


def test_a_missing_package_names_the_extra() -> None:
    with (
        mock.patch.dict("sys.modules", {"opendp.prelude": None}),
        pytest.raises(InputError, match=r"not installed; run: pip install 'netdiffus\[privacy\]'"),
    ):
        noise.library()


def test_a_library_without_memory_is_an_error_of_memory() -> None:
    """As OpenDP says it: a plain Exception with the loader's error inside."""
    found = OSError("libopendp.so: failed to map segment from shared object")
    error = Exception("Unable to load OpenDP shared library", Path("libopendp.so"), found)

    def load(name: str, *given: object) -> object:
        if name == "opendp.prelude":
            raise error
        return real(name, *given)  # type: ignore[arg-type]

    real = __import__
    with mock.patch("builtins.__import__", load), pytest.raises(MemoryError, match="failed to map"):
        noise.library()


# A new process for each limit: without memory OpenDP ends it, and threads may never start.
LIMITED = """
import os, re, resource, signal
from pathlib import Path
import numpy as np
from netdiffus.privacy.noise import add_noise, library

library()
size = 1024 * int(re.findall(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])
for free in (0, 20, 100, 200):  # MiB
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        resource.setrlimit(resource.RLIMIT_AS, (size + (free << 20),) * 2)
        try:
            add_noise(np.zeros(100_000, np.int64), 1.0, 3.0)
        except MemoryError:
            os._exit(3)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_no_memory_is_an_error_and_ends_no_process() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.stdout.split() == ["3"] * 4, done.stderr
