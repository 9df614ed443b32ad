"""Somebody types into a shell over OpenSSH: sshd serves, ssh runs on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from draws import lognormal
from namespaces import SERVER, use_cubic

SSHD_CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PrintMotd no
PrintLastLog no
"""


def make_keys(folder: Path) -> None:
    """Make the host's and the user's key, and sshd's configuration."""
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(folder=folder))


def serve(rng: Random, folder: Path, ready: Callable[[], None]) -> None:
    """Hand each connection to an sshd, until killed."""
    command = ["/usr/sbin/sshd", "-i", "-e", "-f", str(folder / "sshd_config")]
    log_file = (folder / "sshd.log").open("ab")
    with socket.create_server((SERVER, 22)) as listener:
        use_cubic(listener)
        ready()
        while True:
            connection, _ = listener.accept()
            pipe = connection.fileno()
            with connection:
                subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log_file)


def work(rng: Random, folder: Path) -> None:
    """Log in, then type commands, read what they print, and think."""
    terminal = _log_in(folder)
    key_s, think_s = lognormal(rng, 0.15, 0.35), lognormal(rng, 0.9, 0.6)
    output = lognormal(rng, 900, 0.9)
    _read(terminal, 2.0, until=b"# ")
    while True:
        _read(terminal, lognormal(rng, think_s, 0.7))
        for letter in _command(rng, output):
            os.write(terminal, letter.encode())
            _read(terminal, min(1.5, lognormal(rng, key_s, 0.5)))
        os.write(terminal, b"\r")


def _log_in(folder: Path) -> int:
    command = ["ssh", "-F", "none", "-i", str(folder / "user_key"), "-tt"]
    command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    command += ["-o", "LogLevel=ERROR", f"root@{SERVER}", "PS1='lab:~# ' sh"]
    pid, terminal = pty.fork()
    if not pid:
        os.execvp(command[0], command)
    return terminal


def _command(rng: Random, output: float) -> str:
    """A line to type: it prints once, or again and again as a build or a monitor does."""
    size = round(min(60e3, lognormal(rng, output, 1.3)))
    say = f"head -c {size} /dev/urandom|base64"
    kind = rng.random()
    if kind < 0.15:
        return "cd " + "d" * rng.randint(2, 20) + " 2>&1"
    if kind < 0.75:
        return say
    pause = rng.choice([0.1, 0.2, 0.5, 1])
    return f"for i in {' '.join('123456'[: rng.randint(2, 6)])};do {say};sleep {pause};done"


def _read(terminal: int, seconds: float, until: bytes | None = None) -> None:
    """Read what comes for so many seconds, or until it ends as told."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            said = os.read(terminal, 65536)
            if until and said.endswith(until):
                return
