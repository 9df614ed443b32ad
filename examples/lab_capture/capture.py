"""Capture the bundled lab traffic: `python examples/lab_capture/capture.py --help`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import app_dns
import app_ssh
import app_voip
import apps_http
import numpy as np
from link import Link, draw_link, run_link
from namespaces import CLIENT, SERVER, namespace, process, refuse_failed, remove_all, sniff, tun
from packets import (
    BIN_S,
    WINDOW_S,
    check,
    packet_columns,
    read_pcap,
    volume_columns,
    write,
)

CLASSES = {
    "web_http": (apps_http.serve, apps_http.browse_http),
    "web_tls": (apps_http.serve, apps_http.browse_tls),
    "video_low": (apps_http.serve, apps_http.watch_low),
    "video_high": (apps_http.serve, apps_http.watch_high),
    "bulk": (apps_http.serve, apps_http.download),
    "upload": (apps_http.serve, apps_http.upload),
    "ssh": (app_ssh.serve, app_ssh.work),
    "voip": (app_voip.serve, app_voip.dial),
    "dns": (app_dns.serve, app_dns.resolve),
}
SESSIONS_PER_LINK = 5  # of every class
TOOLS = {  # command: Debian package
    "ip": "iproute2",
    "tcpdump": "tcpdump",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}
FORK = multiprocessing.get_context("fork")
PREFIX = f"netdiffus-{os.getpid()}-"
PRIVSEP = Path("/run/sshd")  # sshd wants it; its init script makes it otherwise
RESULT_TIMEOUT_S = 180.0  # a session takes about 15 s


@dataclass(frozen=True)
class Session:
    """One trace to capture."""

    label: str
    index: int
    link: Link
    seed: int

    @property
    def trace_id(self) -> str:
        """The class and a number of its own in it."""
        return f"{self.label}-{self.index:03d}"


def main() -> None:
    """Capture all sessions and write both tables."""
    options = parse_arguments()
    require_tools()
    heed_signals(signal.default_int_handler)
    sessions = plan(options.seed, options.traces)
    with tempfile.TemporaryDirectory(prefix="lab_capture_") as name, ExitStack() as stack:
        folder = Path(name)
        stack.callback(remove_all, PREFIX)
        if not PRIVSEP.exists():
            PRIVSEP.mkdir(mode=0o755)
            stack.callback(PRIVSEP.rmdir)
        apps_http.make_certificate(folder)
        app_ssh.make_keys(folder)
        try:
            results = capture_all(sessions, folder, options.parallel)
        except RuntimeError as error:
            sys.exit(f"\n{error}")
    save(options.output, sorted(results, key=lambda result: str(result["trace_id"])), options)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of every session's parameters")
    parser.add_argument("--traces", type=int, default=100, help="sessions of each class")
    parser.add_argument("--parallel", type=int, default=20, help="sessions at a time")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    if options.traces < 1 or options.parallel < 1:
        parser.error("--traces and --parallel must be 1 at least")
    if not options.output.is_dir():
        parser.error(f"--output {options.output} is not a folder; make it first")
    return options


def require_tools() -> None:
    """Stop before any work where something is missing."""
    if os.geteuid() or not os.access("/dev/net/tun", os.W_OK):
        sys.exit("capture.py needs root and /dev/net/tun: it makes network namespaces")
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if missing:
        sys.exit(f"missing tools; on Debian: apt-get install {' '.join(missing)}")


def heed_signals(interrupt: signal.Handlers | Callable[[int, FrameType | None], Any]) -> None:
    """Make SIGTERM an exit by exception, so that everything is cleaned up; SIGINT as told."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, interrupt)


def plan(seed: int, traces: int) -> list[Session]:
    """Lay out all sessions, in an order that mixes heavy classes with light ones."""
    links = [
        draw_link(f"link-{number:02d}", Random(f"{seed}/link-{number}"))
        for number in range(-(-traces // SESSIONS_PER_LINK))
    ]
    sessions = [
        Session(label, index, links[index % len(links)], seed)
        for label in CLASSES
        for index in range(traces)
    ]
    Random(seed).shuffle(sessions)
    return sessions


def capture_all(sessions: list[Session], folder: Path, parallel: int) -> list[dict[str, Any]]:
    """Run the sessions, so many at a time."""
    results: list[dict[str, Any]] = []
    started = time.monotonic()
    # On Ctrl-C this process ends its workers by SIGTERM: one signal each, so one clean-up each.
    with FORK.Pool(min(parallel, len(sessions)), heed_signals, (signal.SIG_IGN,)) as pool:
        captured = pool.imap_unordered(partial(run_session, folder=folder), sessions)
        while len(results) < len(sessions):
            results.append(captured.next(RESULT_TIMEOUT_S))
            seconds = time.monotonic() - started
            print(f"\r{len(results)}/{len(sessions)} sessions, {seconds:.0f} s", end="", flush=True)
        pool.close()
        pool.join()
    print()
    return results


def run_session(session: Session, folder: Path) -> dict[str, Any]:
    """Capture one session between two fresh namespaces.

    Raises:
        RuntimeError: the session failed or is none; the message names it.
    """
    capture = folder / f"{session.trace_id}.pcap"
    try:
        lateness = carry(session, folder, capture)
        packets = read_pcap(capture)
        check(packets)
    except (ValueError, OSError, RuntimeError) as error:
        raise RuntimeError(f"{session.trace_id} over {session.link}: {error}") from error
    finally:
        capture.unlink(missing_ok=True)
    return {
        "label": session.label,
        "trace_id": session.trace_id,
        **asdict(session.link),
        "volumes": volume_columns(packets),
        "packets": packet_columns(packets),
        "lateness": lateness,
    }


def carry(session: Session, folder: Path, capture: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Run a session's two ends, its link and its sniffer; returns the link's lateness (s)."""
    serve, act = CLASSES[session.label]
    name, seed = PREFIX + session.trace_id, f"{session.seed}/{session.trace_id}"
    with ExitStack() as stack:
        client = stack.enter_context(namespace(name + "-c"))
        server = stack.enter_context(namespace(name + "-s"))
        client_tun = stack.enter_context(tun(client, CLIENT, SERVER))
        server_tun = stack.enter_context(tun(server, SERVER, CLIENT))
        stack.enter_context(sniff(client, capture))
        ready = FORK.Event()
        serving = partial(serve, Random(seed), folder, ready.set)
        served = stack.enter_context(process(server, serving))
        if not ready.wait(10):
            raise RuntimeError("the server did not start within 10 s")
        acted = stack.enter_context(process(client, partial(act, Random(seed), folder)))
        lateness = run_link(
            session.link, client_tun, server_tun, WINDOW_S + BIN_S, Random(seed + "/link")
        )
        refuse_failed(served, "server")
        refuse_failed(acted, "client")
    return np.asarray(lateness)


def save(folder: Path, results: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write both tables, and print how late the links' packets were."""
    lateness_ms = np.concatenate([result["lateness"] for result in results]) * 1e3
    made = {
        "seed": options.seed,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "link_packets": lateness_ms.size,
        "link_lateness_ms": {
            str(q): round(float(np.percentile(lateness_ms, q)), 3) for q in (50, 90, 99, 99.9, 100)
        },
        "link_lateness_mean_ms": round(float(lateness_ms.mean()), 3),
    }
    link_columns = [field.name for field in fields(Link)]
    ids = ["label", "trace_id", "group"]
    volumes = [
        {name: result[name] for name in [*ids, *link_columns[1:]]} | result["volumes"]
        for result in results
    ]
    packets = [{name: result[name] for name in ids} | result["packets"] for result in results]
    write(folder / "lab_volumes.parquet", volumes, {**made, "bin_s": BIN_S})
    write(folder / "lab_packets.parquet", packets, made)
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
