"""Network namespaces, TUN devices, processes inside them, and tcpdump on their wire."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"  # TEST-NET-1 (RFC 5737): routed nowhere
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
CLONE_NEWNET = 0x40000000  # linux/sched.h
DEVICE = "tun0"
# IPv6 would add neighbour discovery to every trace; saved metrics would let one connection's TCP
# start from what an earlier one learnt.
SETTINGS = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/tcp_no_metrics_save": "1",
}
libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make a network namespace; end its processes and remove it afterwards."""
    _ip("netns", "add", name)
    try:
        with inside(name):
            for key, value in SETTINGS.items():
                setting = Path("/proc/sys/net", key)
                if "ipv6" not in key or setting.exists():  # a kernel without IPv6 will do
                    setting.write_text(value)
        yield name
    finally:
        remove(name)


def remove(name: str) -> None:
    """End what runs in a namespace and delete it."""
    for pid in _ip("netns", "pids", name).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    _ip("netns", "delete", name)


def remove_all(prefix: str) -> None:
    """Remove every namespace whose name starts with `prefix`."""
    for line in _ip("netns", "list").splitlines():
        if line.startswith(prefix):
            remove(line.split()[0])


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Move this thread into a namespace, and back."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _enter(Path("/run/netns", name))
        yield
    finally:
        _setns(home)
        os.close(home)


def use_cubic(sock: socket.socket) -> None:
    """Send by CUBIC, Linux's usual congestion control, whichever this machine prefers.

    Set by socket because a namespace may choose only among those that the machine allows anybody.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


@contextmanager
def tun(name: str, address: str, peer: str) -> Iterator[int]:
    """Make a TUN device in a namespace; yields its non-blocking file descriptor.

    No offload is asked for, so the kernel hands over whole packets of at most the MTU.
    """
    with inside(name):  # where it is opened is where the device will be
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        _ip("-n", name, "address", "add", address, "peer", peer, "dev", DEVICE)
        _ip("-n", name, "link", "set", DEVICE, "up")
        yield device
    finally:
        os.close(device)


@contextmanager
def process(name: str, target: Callable[[], None]) -> Iterator[int]:
    """Run `target` in a forked process inside a namespace; yields its process id."""
    pid = os.fork()
    if not pid:
        _run_and_exit(name, target)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _run_and_exit(name: str, target: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _enter(Path("/run/netns", name))
        target()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def refuse_failed(pid: int, who: str) -> None:
    """Raise a RuntimeError if a process has ended badly; it may be running or done."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended and ended.si_status:
        raise RuntimeError(f"the {who} failed with exit status {ended.si_status}")


@contextmanager
def sniff(name: str, path: Path) -> Iterator[None]:
    """Let tcpdump write the headers of all packets at a namespace's TUN device to `path`.

    Raises:
        RuntimeError: tcpdump did not start, or the kernel dropped packets before it saw them.
    """
    command = ["ip", "netns", "exec", name, "tcpdump", "-i", DEVICE, "-n", "-s", "64", "-Z", "root"]
    # Without the immediate mode, the last second would be lost in the kernel's buffer.
    command += ["--immediate-mode", "-B", "4096", "--time-stamp-precision=nano", "-w", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as dump:
        assert dump.stderr
        try:
            if "listening on" not in (line := dump.stderr.readline()):
                raise RuntimeError(f"tcpdump did not start: {line}{dump.stderr.read()}")
            yield
        finally:
            dump.send_signal(signal.SIGINT)
            said = dump.stderr.read()
    if "\n0 packets dropped by kernel" not in said:
        raise RuntimeError(f"tcpdump lost packets: {said}")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _enter(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    _setns(handle)
    os.close(handle)


def _setns(handle: int) -> None:
    # os.setns is there from Python 3.12 on only.
    if libc.setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")
