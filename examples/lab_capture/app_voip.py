"""A telephone call: RTP-like packets (RFC 3550) both ways over UDP, with silence suppression."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from namespaces import SERVER

PORT = 40000
CALL_S = 20.0
# name: payload bytes, seconds of sound in a packet, relative spread of the size
CODECS = {
    "G.711": (160, 0.02, 0.0),
    "G.729": (20, 0.02, 0.0),
    "Opus 20 ms": (70, 0.02, 0.18),
    "Opus 40 ms": (140, 0.04, 0.18),
    "Opus 60 ms": (120, 0.06, 0.22),
}


@dataclass(frozen=True)
class Call:
    """What both ends agree on."""

    payload: int
    interval: float
    spread: float
    noise_every: float  # seconds between comfort-noise packets in a silence; 0: it is not coded
    spurts: list[tuple[bool, float, float]]  # is it the client who talks, from, to (s)


def draw_call(rng: Random) -> Call:
    """Draw a call: its codec, and who talks when."""
    payload, interval, spread = CODECS[rng.choice(sorted(CODECS))]
    talk, pause = rng.uniform(0.7, 2.5), rng.uniform(0.2, 1.2)
    suppressed = rng.random() < 0.85
    noise_every = rng.choice([0.0, 0.16, 0.4])
    spurts, now, client = [], rng.uniform(0, 0.5), rng.random() < 0.5
    while now < CALL_S:
        length = rng.expovariate(1 / talk)
        spurts.append((client, now, now + length))
        # Now and then somebody interrupts, so the next spurt starts before this one is over.
        now += length + (rng.expovariate(1 / pause) if rng.random() < 0.8 else -0.3 * length)
        client = client if rng.random() < 0.3 else not client
    if not suppressed:
        spurts = [(True, 0.0, CALL_S), (False, 0.0, CALL_S)]
    return Call(payload, interval, spread, noise_every, spurts)


def serve(rng: Random, folder: Path, ready: Callable[[], None]) -> None:
    """Take the call and talk back."""
    call = draw_call(rng)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SERVER, PORT))
        ready()
        _, caller = sock.recvfrom(2048)
        sock.connect(caller)
        sock.send(os.urandom(420))  # ringing and accepted, in one
        _talk(sock, call, rng, client=False)


def dial(rng: Random, folder: Path) -> None:
    """Invite, wait for the answer, talk."""
    call = draw_call(rng)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((SERVER, PORT))
        sock.settimeout(0.5)
        while True:
            sock.send(os.urandom(780))
            try:
                sock.recv(2048)
                break
            except TimeoutError:
                continue
        _talk(sock, call, rng, client=True)


def _talk(sock: socket.socket, call: Call, rng: Random, *, client: bool) -> None:
    sock.settimeout(None)
    threading.Thread(target=_listen, args=(sock,), daemon=True).start()
    mine = [(start, end) for who, start, end in call.spurts if who == client]
    start, tick, noise_at, report_at = time.monotonic(), 0, 0.0, rng.uniform(1, 5)
    while (now := tick * call.interval) < CALL_S:
        time.sleep(max(0.0, start + now - time.monotonic()))
        if any(begin <= now < end for begin, end in mine):
            size = max(8, round(rng.gauss(call.payload, call.spread * call.payload)))
            _send(sock, tick, size)
            noise_at = now + call.noise_every
        elif call.noise_every and now >= noise_at:
            _send(sock, tick, 5)
            noise_at = now + call.noise_every
        if now >= report_at:  # RTCP: a sender report, a description
            sock.send(os.urandom(92))
            report_at = now + rng.uniform(2.5, 7.5)
        tick += 1


def _send(sock: socket.socket, tick: int, size: int) -> None:
    header = struct.pack("!BBHII", 0x80, 96, tick & 0xFFFF, tick * 960, 0x1AB)
    sock.send(header + bytes(size))


def _listen(sock: socket.socket) -> None:
    while True:
        sock.recv(2048)
