"""The autoregressive network, by enumeration and by changing one input at a time."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from nets import asked, coded, made, network, tiny, with_ports
from scipy import stats
from small import packets, volumes
from torch import Tensor

from netdiffus.codec import TokenCodec
from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.networks import causal
from netdiffus.networks.batch import Batch
from netdiffus.networks.causal import CausalNetwork, Jitter, RunningTotals, _some_unknown
from netdiffus.networks.layers import tokens as tokens_module
from netdiffus.networks.layers.transformer import Block

# Losses are sums of float32 in two layers of width 16; they differ by 2e-6 if added otherwise.
ROUNDING = 2e-5


@torch.no_grad()
def losses(net: CausalNetwork, tokens: Tensor, label: Tensor, columns: Tensor) -> Tensor:
    """-log p of each point, (B, T)."""
    return net.log_loss(tokens, label, columns)[0]


def every_trace(net: CausalNetwork) -> Tensor:
    """All traces of at most two points that there are, the empty one first."""
    first, second = (range(n) for n in (net.end, net.config.sizes[1]))
    points, end = list(itertools.product(first, second)), (net.end, 0)
    rows = [[end, end], *([p, end] for p in points), *([p, q] for p in points for q in points)]
    return torch.tensor(rows)


def shown(net: CausalNetwork, tokens: Tensor) -> Tensor:
    """Tokens, with zeros where a feature stands behind the end and means nothing."""
    behind = (tokens[:, :, :1] == net.end) & (torch.arange(tokens.shape[2]) > 0)
    return tokens.masked_fill(behind, 0)


def given(n: int, label: int, *columns: int) -> tuple[Tensor, Tensor]:
    """The same class and columns n times."""
    return torch.full((n,), label), torch.tensor([columns]).expand(n, -1)


class TestWhatALossDependsOn:
    def test_a_loss_does_not_depend_on_the_lengths_of_others(self) -> None:
        """The longest trace of a batch decides which places are computed."""
        traces = with_ports(fixed=False)
        net, (tokens, label, columns) = network(traces), coded(traces)
        together = losses(net, tokens, label, columns)
        assert len(set((tokens[:, :, 0] != net.end).sum(1).tolist())) > 2
        for k in range(12):
            alone = losses(net, tokens[k : k + 1], label[k : k + 1], columns[k : k + 1])
            torch.testing.assert_close(alone[0], together[k], atol=ROUNDING, rtol=0)

    def test_no_point_depends_on_those_behind_it(self) -> None:
        traces = with_ports()
        net, (tokens, label, columns) = network(traces), coded(traces)
        before = losses(net, tokens, label, columns)
        for t in range(tokens.shape[1]):
            for f, size in enumerate(net.config.sizes):
                changed = tokens.clone()
                changed[:, t, f] = (changed[:, t, f] + 1) % (size - (f == 0))
                after = losses(net, changed, label, columns)
                torch.testing.assert_close(after[:, :t], before[:, :t], atol=ROUNDING, rtol=0)

    def test_every_token_is_seen_by_the_points_behind_it(self) -> None:
        traces = with_ports()
        net, (tokens, label, columns) = network(traces), coded(traces)
        before = losses(net, tokens, label, columns)
        for t in range(tokens.shape[1] - 1):
            for f, size in enumerate(net.config.sizes):
                changed = tokens.clone()
                changed[:, t, f] = (changed[:, t, f] + 1) % (size - (f == 0))
                later = (losses(net, changed, label, columns) - before)[:, t + 1 :].abs()
                assert later.mean(0).min() > 100 * ROUNDING, (t, f)

    def test_class_and_columns_are_seen_by_every_point(self) -> None:
        traces = with_ports()
        net, (tokens, label, columns) = network(traces), coded(traces)
        before = losses(net, tokens, label, columns)
        others = [(1 - label.clamp(max=1), columns)]
        for j in range(columns.shape[1]):
            changed = columns.clone()
            changed[:, j] = (changed[:, j] + 1) % net.config.columns[j]
            others.append((label, changed))
        assert len(others) == 3
        for other in others:
            seen = (losses(net, tokens, *other) - before).abs()
            assert seen.mean(0).min() > 100 * ROUNDING

    def test_the_place_of_a_point_is_seen(self) -> None:
        """Without places, a trace of equal points would differ only by its running totals."""
        net = network(tiny())
        with torch.no_grad():
            net.place.weight[1, 0] += 1.0
            moved = losses(net, every_trace(net), *given(43, 0, 1))
            net.place.weight[1, 0] -= 1.0
        before = losses(net, every_trace(net), *given(43, 0, 1))
        torch.testing.assert_close(moved[:, 0], before[:, 0], atol=ROUNDING, rtol=0)
        assert (moved - before)[1:, 1].abs().mean() > 100 * ROUNDING

    def test_no_weight_is_dead(self) -> None:
        traces = with_ports()
        net = network(traces).train()
        tokens, label, columns = coded(traces)
        net.loss(Batch(tokens, label, columns, label)).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_behind_the_end_nothing_counts(self) -> None:
        net, traces = network(tiny()), every_trace(network(tiny()))[:7]
        noisy = traces.clone()
        noisy[:, 1, 1] = 1
        noisy[0, 0, 1] = 1
        asked = given(7, 1, 1)
        assert torch.equal(losses(net, traces, *asked), losses(net, noisy, *asked))
        assert losses(net, traces, *asked)[0, 1] == 0


class TestProbabilities:
    @pytest.mark.parametrize("label", [0, 1])
    def test_those_of_all_traces_sum_to_1(self, label: int) -> None:
        net = network(tiny())
        total = losses(net, every_trace(net), *given(43, label, 1)).double().sum(1).neg().exp()
        assert float(total.sum()) == pytest.approx(1, abs=ROUNDING)
        assert total.max() < 0.9  # not one alone

    def test_features_of_a_point_depend_on_each_other(self) -> None:
        """P(second | first) = p(first, second) / p(first), for the three values of the first."""
        net = network(tiny(), seed=1)
        p = losses(net, every_trace(net)[1:7], *given(6, 0, 1))[:, 0].neg().exp().view(3, 2)
        of_second = p / p.sum(1, keepdim=True)
        for other in (1, 2):
            assert (of_second[0] - of_second[other]).abs().max() > 50 * ROUNDING

    def test_the_loss_of_a_batch_is_that_of_its_points_and_columns(self) -> None:
        net = network(tiny())
        tokens, (label, columns) = every_trace(net), given(43, 1, 1)
        points = losses(net, tokens, label, columns).sum()
        batch = Batch(tokens, label, columns, torch.arange(43))
        drawn = net.conditions.loss(batch).sum()
        counted = 1 + 6 * 2 + 36 * 2  # points and ends
        with torch.no_grad():
            found = net.loss(batch)
        torch.testing.assert_close(found, (points + drawn) / counted)


class TestGenerate:
    def test_traces_are_as_frequent_as_they_are_likely(self) -> None:
        """Joint with the columns, by a chi-squared test; a trace has a point at least."""
        net, n = network(tiny()), 20_000
        tokens, columns = made(net, asked(torch.zeros(n).long(), 7, torch.arange(n)), "torch")
        rows = torch.cat([shown(net, tokens).flatten(1), columns], 1)
        found = Counter(map(tuple, rows.tolist()))
        expected, counts = [], []
        for column in range(2):
            traces, wanted = every_trace(net), given(43, 0, column)
            p = losses(net, traces, *wanted).double().sum(1).neg().exp()
            with torch.no_grad():
                share = float(net.conditions.log_loss(wanted[0][:1], wanted[1][:1]).neg().exp())
            for trace, each in zip(traces[1:], p[1:] / (1 - p[0]), strict=True):
                expected.append(n * share * float(each))
                counts.append(found[(*trace.flatten().tolist(), column)])
        assert sum(counts) == n
        wide = np.array(expected) >= 5  # the usual rule; the others are one cell
        cells = [np.append(v[wide], v[~wide].sum()) for v in map(np.array, (counts, expected))]
        cells[1] *= n / cells[1].sum()  # float32 losses
        assert wide.sum() > 30
        assert stats.chisquare(*cells).pvalue > 1e-3

    @pytest.mark.parametrize("backend", ["torch", "auto"])
    def test_a_step_with_a_cache_is_the_pass_over_the_whole_trace(
        self, backend: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The tokens drawn are replaced by those of real traces, and their chances are noted."""
        traces = packets(60)
        net, (tokens, label, columns) = network(traces), coded(traces)
        noted = torch.zeros(tokens.shape[:2])
        calls = itertools.count()

        def instead(logits: Tensor, uniforms: Tensor, backend: str) -> Tensor:
            t, f = divmod(next(calls), tokens.shape[2])
            one = torch.nn.functional.cross_entropy(logits, tokens[:, t, f], reduction="none")
            noted[:, t] += one * ((f == 0) | (tokens[:, t, 0] != net.end))
            return tokens[:, t, f].clone()

        monkeypatch.setattr(tokens_module, "draw_tokens", instead)
        monkeypatch.setattr(causal, "FEW_LEFT", 0.0)  # it knows the tokens of all traces
        drawn, _ = made(net, asked(label, 0, torch.arange(60)), backend)
        expected, inside = net.log_loss(tokens, label, columns)
        empty = torch.zeros_like(tokens)
        empty[:, :, 0] = net.end
        no_end = torch.log1p(-losses(net, empty, label, columns)[:, 0].neg().exp())
        expected = expected.detach().clone()
        expected[:, 0] += no_end  # as no trace that is drawn is empty
        torch.testing.assert_close(noted * inside, expected * inside, atol=ROUNDING, rtol=1e-5)
        assert torch.equal(drawn[:, :, 0], tokens[:, :, 0])

    @pytest.mark.parametrize("backend", ["torch", "auto"])
    def test_a_trace_does_not_depend_on_the_others(self, backend: str) -> None:
        """Rounding changes one token in 100,000: of 250 traces of 9 points, 0.05 on average."""
        traces = with_ports()
        net, index = network(traces), torch.arange(100, 350)
        label = index % 3
        tokens, columns = made(net, asked(label, 3, index), backend)
        together = shown(net, tokens)
        order = torch.randperm(250, generator=torch.Generator().manual_seed(0))
        parts = [made(net, asked(label[r], 3, index[r]), backend) for r in order.split(7)]
        apart = shown(net, torch.cat([part[0] for part in parts]))
        assert (apart == together[order]).flatten(1).all(1).sum() >= 248
        assert torch.equal(torch.cat([part[1] for part in parts]), columns[order])
        alone = shown(net, made(net, asked(label[:1], 3, index[:1]), backend)[0])
        assert torch.equal(alone[0], together[0])
        assert len({tuple(one.flatten().tolist()) for one in together}) > 200  # nor are all alike

    @pytest.mark.parametrize("window", [3, 128])
    def test_traces_that_have_ended_change_no_other(
        self, window: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rounding changes one token in 100,000."""
        traces = with_ports(fixed=False)
        net, index = network(traces, window=window), torch.arange(200)
        found = []
        for share in (0.0, 1.0):  # all go on to the end, or never one that has ended
            monkeypatch.setattr(causal, "FEW_LEFT", share)
            found.append(shown(net, made(net, asked(index % 3, 3, index))[0]))
        lengths = (found[0][:, :, 0] != net.end).sum(1)
        assert len(lengths.unique()) > 4
        assert (found[0] == found[1]).flatten(1).all(1).sum() >= 199

    def test_another_seed_gives_other_traces(self) -> None:
        net, index = network(with_ports()), torch.arange(50)
        first, again, other = (made(net, asked(index % 3, s, index))[0] for s in (1, 1, 2))
        assert torch.equal(first, again)
        assert (first != other).flatten(1).any(1).all()

    def test_no_trace_is_empty_even_if_the_end_is_all_but_certain(self) -> None:
        net = network(packets(60))
        with torch.no_grad():
            net.logits.last[0].free.bias[net.end] += 1000
        tokens, _ = made(net, asked(torch.zeros(200).long(), 0, torch.arange(200)))
        assert (tokens[:, 0, 0] != net.end).all()
        assert (tokens[:, 1:, 0] == net.end).all()

    def test_once_ended_a_trace_stays_so(self) -> None:
        net = network(packets(60), seed=1)
        tokens, _ = made(net, asked(torch.arange(300) % 3, 0, torch.arange(300)))
        ended = tokens[:, :, 0] == net.end
        assert 0.05 < ended.float().mean() < 0.95
        assert torch.equal(ended, ended.cummax(1).values)


class TestTraining:
    """What is random in training alone, and there it is."""

    def loss(self, net: CausalNetwork, traces: object = None) -> list[float]:
        traces = tiny() if traces is None else traces
        tokens, label, columns = coded(traces)
        with torch.no_grad():
            return [float(net.loss(Batch(tokens, label, columns, label))) for _ in range(2)]

    def test_dropout_hiding_and_jitter_each_make_the_loss_vary(self) -> None:
        still = {"dropout": 0.0, "hidden": 0.0}
        for more, traces in (
            ({"dropout": 0.3}, tiny()),
            ({"hidden": 0.5}, tiny()),
            ({}, amounts()),
        ):
            net = network(traces, **{**still, **more})
            net.hidden_columns = 0.0
            first, again = self.loss(net.train(), traces)
            assert first != again, more
            first, again = self.loss(net.eval(), traces)
            assert first == again
        net = network(tiny(), **still).train()
        net.hidden_columns = 0.0
        first, again = self.loss(net)
        assert first == again

    def test_what_a_network_is_given_is_dropped(self) -> None:
        """All of it: then no class, column or token matters."""
        net = network(tiny(), dropout=1.0, hidden=0.0).train()
        p = [losses(net, every_trace(net), *given(43, k, k)) for k in range(2)]
        assert torch.equal(*p)

    def test_a_block_drops_what_it_adds(self) -> None:
        block, x = Block(16, 4, 2, dropout=1.0, window=8), torch.randn(3, 5, 16)
        assert torch.equal(block.train()(x), x)
        assert not torch.equal(block.eval()(x), x)

    @pytest.mark.parametrize("hidden", [0.3, 1.0])
    def test_of_each_trace_another_share_of_points_is_hidden(self, hidden: float) -> None:
        """Even from 0 to `hidden`, by SciPy, and whole points."""
        net = network(tiny(), hidden=hidden).train()
        torch.manual_seed(0)
        left = net._hide(torch.ones(2000, 400, 2))
        assert torch.equal(left[..., 0], left[..., 1])
        share = 1 - left[..., 0].mean(1)
        # Shares of 400 points have a deviation of 0.025 at most, which blurs the ends of the law.
        assert stats.kstest(share / hidden, "uniform").statistic < 0.06
        assert share.max() < hidden + 0.1

    def test_of_each_trace_another_share_of_columns_is_unknown(self) -> None:
        """Even from 0 to 0.6, by SciPy; columns that are known stay."""
        torch.manual_seed(0)
        columns = torch.arange(400).repeat(2000, 1)
        seen = _some_unknown(columns, 0.6)
        known = seen >= 0
        assert torch.equal(seen[known], columns[known])
        share = 1 - known.float().mean(1)
        # As above: shares of 400 columns blur the ends of the law.
        assert stats.kstest(share / 0.6, "uniform").statistic < 0.06

    def test_training_alone_does_not_show_all_columns(self) -> None:
        net = network(tiny(), dropout=0.0, hidden=0.0)
        first, again = self.loss(net.train())
        assert first != again
        first, again = self.loss(net.eval())
        assert first == again
        net.hidden_columns = 0.0
        first, again = self.loss(net.train())
        assert first == again

    def test_jitter_moves_bins_by_normal_steps_and_leaves_atoms(self) -> None:
        rng = np.random.default_rng(0)
        values = np.append(rng.lognormal(size=20_000), np.full(5000, 1.0))
        vocabulary = Vocabulary.fit(values, np.arange(25_000) % 100, 100, 1)
        atom, jitter = int(np.flatnonzero(vocabulary.is_atom)[0]), Jitter(vocabulary)
        torch.manual_seed(0)
        still = torch.tensor([[atom, len(vocabulary)]])  # and the end
        assert torch.equal(jitter(still.expand(500, 2), 2.0), still.expand(500, 2))
        middle = 10 if atom > 50 else 90
        moved = jitter(torch.full((20_000, 1), middle), 2.0).flatten() - middle
        # A normal number of deviation 2, rounded, which adds a variance of 1/12.
        assert float(moved.double().std()) == pytest.approx((4 + 1 / 12) ** 0.5, rel=0.03)
        assert float(moved.double().mean()) == pytest.approx(0, abs=0.06)
        ends = jitter(torch.tensor([[0, len(vocabulary) - 1]]).expand(500, 2), 2.0)
        assert ends.min() >= 0
        assert ends.max() < len(vocabulary)


def amounts() -> object:
    """Volumes, no two alike: their tokens are bins."""
    return volumes(24, 8)


def test_running_totals_are_the_sums_so_far() -> None:
    """By NumPy: of sizes that are as large as their tokens say."""
    amounts = [torch.tensor([-1.0, 3.0, 4.0]), torch.tensor([2.0, 8.0])]
    totals = RunningTotals(amounts, 6)
    totals.project = torch.nn.Identity()  # type: ignore[assignment]
    tokens = torch.tensor([[[0, 1], [2, 0], [1, 1]], [[1, 0], [3, 0], [3, 0]]])  # the second ends
    found = totals(tokens).numpy()
    size = np.array([[1, 4, 3], [3, 0, 0]]) / (8 / 3)
    other = np.array([[8, 2, 8], [2, 2, 2]]) / 5
    for f, a in enumerate((size, other)):
        sums = np.cumsum(a, 1)
        np.testing.assert_allclose(found[..., f], np.log1p(a), rtol=1e-6)
        np.testing.assert_allclose(found[..., 2 + f], np.log1p(sums), rtol=1e-6)
        np.testing.assert_allclose(found[..., 4 + f], np.log1p(sums / [1, 2, 3]), rtol=1e-6)


def test_the_network_has_the_codec_s_tokens() -> None:
    traces = packets(60)
    assert network(traces).config.sizes == TokenCodec().fit(traces).sizes
    assert network(traces).end == TokenCodec().fit(traces).end
