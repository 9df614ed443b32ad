"""Measure the emulated link from outside, by UDP between two namespaces: delay, loss, rate.

Run as root: `python examples/lab_capture/check_link.py`. Prints one row a link, asked and measured.
Both ends run as promptly as the emulator does, or a busy machine's delay would be counted as its.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import struct
import threading
import time
from contextlib import ExitStack
from functools import partial
from random import Random
from typing import Any

import numpy as np
from link import Link, real_time, run_link
from namespaces import CLIENT, SERVER, namespace, process, tun

FORK = multiprocessing.get_context("fork")
LINKS = [
    Link("short", delay_ms=5, jitter_ms=0, loss=0, rate_mbit=16, rate_up_mbit=16, queue_ms=50),
    Link("middle", delay_ms=20, jitter_ms=1, loss=0.01, rate_mbit=8, rate_up_mbit=4, queue_ms=100),
    Link("long", delay_ms=60, jitter_ms=5, loss=0.002, rate_mbit=2, rate_up_mbit=1, queue_ms=250),
]
PORT, PROBES, EVERY_S, PROBE = 7000, 2500, 0.002, 100  # a probe carries so many bytes
BLAST, BLAST_S = 1400, 3.0
HEADERS = 28  # IPv4 and UDP
SECONDS = PROBES * EVERY_S + BLAST_S + 2


def main() -> None:
    """Measure every link of the list."""
    print("| link | RTT asked | mean | sd | loss asked | got | Mbit/s asked | got | late |")
    print("|---|---|---|---|---|---|---|---|---|")
    for link in LINKS:
        seen, lateness = measure(link)
        size_s = (PROBE + HEADERS) * 8 / 1e6 * (1 / link.rate_mbit + 1 / link.rate_up_mbit)
        rtt = np.array(seen["rtt"]) * 1e3
        print(
            f"| {link.group} | {2 * link.delay_ms + size_s * 1e3:.2f} ms | {rtt.mean():.2f} ms "
            f"| {rtt.std():.2f} ms | {1 - (1 - link.loss) ** 2:.4f} | {1 - rtt.size / PROBES:.4f} "
            f"| {link.rate_mbit:.2f} | {seen['rate']:.2f} | {lateness:.3f} ms |"
        )


def measure(link: Link) -> tuple[dict[str, Any], float]:
    """Probe one link; returns what the client saw, and the link's own mean lateness in ms."""
    name, found = f"netdiffus-{os.getpid()}-", FORK.SimpleQueue()
    with ExitStack() as stack:
        client = stack.enter_context(namespace(name + "c"))
        server = stack.enter_context(namespace(name + "s"))
        client_tun = stack.enter_context(tun(client, CLIENT, SERVER))
        server_tun = stack.enter_context(tun(server, SERVER, CLIENT))
        ready = FORK.Event()
        stack.enter_context(process(server, partial(echo, link.rate_mbit, ready.set)))
        if not ready.wait(10):
            raise RuntimeError("the echo server did not start within 10 s")
        stack.enter_context(process(client, partial(probe, found.put)))
        lateness = run_link(link, client_tun, server_tun, SECONDS, Random(0))
        return found.get(), float(np.mean(lateness)) * 1e3


def echo(rate_mbit: float, ready: Any) -> None:
    """Send back what comes; after the last probe send half as much again as the link carries."""
    with real_time(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SERVER, PORT))
        ready()
        while True:
            message, peer = sock.recvfrom(2048)
            if message == b"blast":
                break
            sock.sendto(message, peer)
        pause = (BLAST + HEADERS) * 8 / (1.5 * rate_mbit * 1e6)
        start = time.monotonic()
        for number in range(int(BLAST_S / pause)):
            time.sleep(max(0.0, start + number * pause - time.monotonic()))
            sock.sendto(bytes(BLAST), peer)
        time.sleep(SECONDS)


def probe(report: Any) -> None:
    """Send the probes and note each one's round trip, then ask for the blast and time it."""
    with real_time(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((SERVER, PORT))
        arrivals: list[tuple[float, bytes]] = []
        threading.Thread(target=listen, args=(sock, arrivals), daemon=True).start()
        start = time.monotonic()
        for number in range(PROBES):
            time.sleep(max(0.0, start + number * EVERY_S - time.monotonic()))
            sock.send(struct.pack("d", time.monotonic()) + bytes(PROBE - 8))
        time.sleep(0.5)
        for _ in range(3):  # one might be lost
            sock.send(b"blast")
        time.sleep(BLAST_S + 0.5)
    rtt = [when - struct.unpack("d", m[:8])[0] for when, m in arrivals if len(m) == PROBE]
    blast = [when for when, m in arrivals if len(m) == BLAST]
    rate = (len(blast) - 1) * (BLAST + HEADERS) * 8 / 1e6 / (blast[-1] - blast[0])
    report({"rtt": rtt, "rate": rate})


def listen(sock: socket.socket, arrivals: list[tuple[float, bytes]]) -> None:
    """Keep what comes, with the time it came."""
    while True:
        message = sock.recv(2048)
        arrivals.append((time.monotonic(), message))


if __name__ == "__main__":
    main()
