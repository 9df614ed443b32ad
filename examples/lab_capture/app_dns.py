"""A stub resolver and its name server: DNS messages (RFC 1035) over UDP, in bursts."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from draws import lognormal
from namespaces import SERVER

PORT = 53
A, CNAME, AAAA, OPT, HTTPS = 1, 5, 28, 41, 65  # record types
OPT_RECORD = struct.pack("!BHHIH", 0, OPT, 1232, 0, 0)  # EDNS(0), RFC 6891


def serve(rng: Random, folder: Path, ready: Callable[[], None]) -> None:
    """Answer queries, some from the cache, others after asking further, until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SERVER, PORT))
        ready()
        while True:
            query, client = sock.recvfrom(2048)
            # The answer depends on the question alone, so a repeated question is answered alike.
            answer, delay = _answer(query, Random(query[2:]))
            threading.Timer(delay, sock.sendto, (answer, client)).start()


def resolve(rng: Random, folder: Path) -> None:
    """Look up the names of page after page."""
    names, think = lognormal(rng, 5, 0.5), lognormal(rng, 1.3, 0.7)
    kinds = [kind for kind, share in ((A, 1.0), (AAAA, 0.7), (HTTPS, 0.4)) if rng.random() < share]
    patience, spacing = rng.choice([1.0, 2.0, 5.0]), lognormal(rng, 0.02, 1.0)
    while True:
        for _ in range(max(1, round(lognormal(rng, names, 0.7)))):
            name = _name(rng)
            for kind in kinds:
                query = _query(name, kind)
                threading.Thread(target=_ask, args=(query, patience), daemon=True).start()
            time.sleep(rng.expovariate(1 / spacing))
        time.sleep(min(6.0, lognormal(rng, think, 0.8)))


def _ask(query: bytes, patience: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience)
        sock.connect((SERVER, PORT))
        for _ in range(3):
            sock.send(query)
            try:
                sock.recv(2048)
                return
            except TimeoutError:
                continue


def _name(rng: Random) -> bytes:
    labels = ["x" * rng.randint(3, 16) for _ in range(rng.choice([1, 1, 2, 3]))]
    labels = [f"{label}{rng.randrange(1000)}" for label in labels] + ["content", "example"]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def _query(name: bytes, kind: int) -> bytes:
    header = os.urandom(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 1)
    return header + name + struct.pack("!HH", kind, 1) + OPT_RECORD


def _answer(query: bytes, rng: Random) -> tuple[bytes, float]:
    """Make the answer to a query, and say how many seconds the server takes for it."""
    end = query.index(b"\0", 12) + 5
    kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
    records = [_record(CNAME, rng.randint(12, 60)) for _ in range(rng.choice([0, 0, 1, 2]))]
    if kind == HTTPS:
        records += [_record(HTTPS, rng.randint(20, 180))] * rng.choice([0, 1])
    else:
        records += [_record(kind, 4 if kind == A else 16)] * rng.choice([0, 1, 1, 2, 4, 8])
    if rng.random() < 0.1:  # signed
        records += [_record(46, rng.randint(100, 300))] * rng.choice([1, 2])
    header = query[:2] + struct.pack("!5H", 0x8180, 1, len(records), 0, 1)
    cached = rng.random() < 0.5
    delay = rng.uniform(1e-4, 2e-3) if cached else min(2.0, lognormal(rng, 0.04, 0.9))
    return header + query[12:end] + b"".join(records) + OPT_RECORD, delay


def _record(kind: int, size: int) -> bytes:
    # 0xC00C points back to the name in the question.
    return struct.pack("!HHHIH", 0xC00C, kind, 1, 300, size) + bytes(size)
