"""A link between two TUN devices, emulated in user space.

Each direction delays, jitters, drops and paces the IP packets that it reads from one device and
writes to the other. Order is kept, as on a real path.
"""

from __future__ import annotations

import math
import os
import select
import time
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from draws import log_uniform

# How fast the delay wanders: the time constant of its autocorrelation.
JITTER_MEMORY_S = 0.02
MTU = 1500


@dataclass(frozen=True)
class Link:
    """What a path does to packets; `rate_up_mbit` is client to server, the rest is both ways."""

    group: str
    delay_ms: float
    jitter_ms: float
    loss: float
    rate_mbit: float
    rate_up_mbit: float
    queue_ms: float


def draw_link(group: str, rng: Random) -> Link:
    """Draw a link between a fast fibre line and a slow mobile one."""
    delay_ms = log_uniform(rng, 4, 60)
    rate_mbit = log_uniform(rng, 3, 20)
    return Link(
        group=group,
        delay_ms=round(delay_ms, 2),
        jitter_ms=round(delay_ms * rng.uniform(0.01, 0.12), 2),
        loss=round(rng.choice([0.0, log_uniform(rng, 2e-4, 1e-2)]), 5),
        rate_mbit=round(rate_mbit, 2),
        rate_up_mbit=round(max(1.0, rate_mbit * rng.uniform(0.25, 1)), 2),
        queue_ms=round(log_uniform(rng, 30, 250)),
    )


class Direction:
    """One direction of a link, from the TUN device `source` to the TUN device `sink`."""

    def __init__(self, source: int, sink: int, link: Link, rate_mbit: float, rng: Random) -> None:
        """Take non-blocking TUN file descriptors; `rng` decides on loss and jitter."""
        self.source, self.sink, self.link, self.rng = source, sink, link, rng
        self.bytes_per_s = rate_mbit * 1e6 / 8
        # A queue holds two full packets at least, or nothing large would ever pass.
        self.queue_s = max(link.queue_ms / 1e3, 2 * MTU / self.bytes_per_s)
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.lateness = array("f")
        self.sent_until = self.last_due = self.jitter_at = 0.0
        self.jitter_s = 0.0

    def receive(self, now: float) -> None:
        """Take every packet that the source has ready."""
        while True:
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            self._admit(packet, now)

    def release(self, now: float) -> None:
        """Deliver what is due, and note how late each packet was."""
        while self.waiting and self.waiting[0][0] <= now:
            due, packet = self.waiting.popleft()
            os.write(self.sink, packet)
            self.lateness.append(time.monotonic() - due)

    def _admit(self, packet: bytes, now: float) -> None:
        start = max(now, self.sent_until)
        if start - now > self.queue_s or self.rng.random() < self.link.loss:
            return
        self.sent_until = start + len(packet) / self.bytes_per_s
        due = self.sent_until + max(0.0, self.link.delay_ms / 1e3 + self._jitter(now))
        self.last_due = max(due, self.last_due)
        self.waiting.append((self.last_due, packet))

    def _jitter(self, now: float) -> float:
        # An Ornstein-Uhlenbeck walk: neighbouring packets see nearly the same delay, so that
        # keeping their order does not bias the mean delay as independent draws would.
        kept = math.exp((self.jitter_at - now) / JITTER_MEMORY_S)
        fresh = self.rng.gauss(0, self.link.jitter_ms / 1e3)
        self.jitter_s = kept * self.jitter_s + math.sqrt(1 - kept * kept) * fresh
        self.jitter_at = now
        return self.jitter_s


def run_link(link: Link, client: int, server: int, seconds: float, rng: Random) -> array[float]:
    """Carry packets until `seconds` after the client's first one.

    Args:
        link: the path to emulate.
        client: non-blocking file descriptor of the client's TUN device.
        server: the server's.
        seconds: how long to go on after the first packet.
        rng: source of loss and jitter.

    Returns:
        How late each delivered packet was against the schedule, in seconds.

    Raises:
        TimeoutError: the client sent nothing for 10 s.
    """
    with real_time():
        return _forward(link, client, server, seconds, rng)


@contextmanager
def real_time() -> Iterator[None]:
    """Let this process run before all ordinary ones, whatever else keeps the machine busy."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _forward(link: Link, client: int, server: int, seconds: float, rng: Random) -> array[float]:
    up = Direction(client, server, link, link.rate_up_mbit, rng)
    down = Direction(server, client, link, link.rate_mbit, rng)
    by_source = {client: up, server: down}
    now = time.monotonic()
    end, started = now + 10, False
    while now < end:
        wake = min([end, *(way.waiting[0][0] for way in (up, down) if way.waiting)])
        # select takes microseconds; epoll and poll would round the wait up to a millisecond.
        ready, _, _ = select.select([client, server], [], [], max(0.0, wake - now))
        now = time.monotonic()
        if not started and client in ready:
            end, started = now + seconds, True
        for source in ready:
            by_source[source].receive(now)
        for way in (up, down):
            way.release(now)
        now = time.monotonic()
    if not started:
        raise TimeoutError("the client sent no packet within 10 s")
    return up.lateness + down.lateness
