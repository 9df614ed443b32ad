"""What is carried over HTTP/1.1, plain or in TLS 1.3: browsing, video, download and upload.

The server sends what the path asks for: `/SIZE/WAIT_MS/PADDING`. So the client alone decides what
a session looks like, from its own random numbers.
"""

from __future__ import annotations

import functools
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

from draws import log_uniform, lognormal
from namespaces import SERVER, use_cubic

PORT, TLS_PORT = 80, 443
CHUNK = bytes(65536)
Connect = Callable[[], HTTPConnection]
Object = tuple[int, float]  # bytes, seconds that the server thinks before it answers


def make_certificate(folder: Path) -> None:
    """Make a self-signed certificate with as many names as a content network's has."""
    names = ",".join(f"DNS:host-{i:02d}.content.example" for i in range(50))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=content.example", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True)


class Handler(BaseHTTPRequestHandler):
    """Answers GET with as many bytes as asked for, and POST with a short receipt."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 14  # so that a header leaves together with the first of its body

    def do_GET(self) -> None:
        """Wait, then send the object."""
        _, size, wait_ms, _ = self.path.split("/", 3)
        time.sleep(int(wait_ms) / 1e3)
        self._answer(int(size))

    def do_POST(self) -> None:
        """Swallow the body, then send the receipt."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, len(CHUNK))))
        self._answer(180)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def _answer(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "private, max-age=600")
        self.send_header("ETag", f'"{size:032x}"')
        self.end_headers()
        for start in range(0, size, len(CHUNK)):
            self.wfile.write(CHUNK[: size - start])


class Server(ThreadingHTTPServer):
    """One thread a connection, and none of the complaints when a client is gone."""

    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: the session's end cuts connections."""


def serve(rng: Random, folder: Path, ready: Callable[[], None]) -> None:
    """Answer plain requests and those in TLS until killed."""
    plain, secure = Server((SERVER, PORT), Handler), Server((SERVER, TLS_PORT), Handler)
    for server in (plain, secure):
        use_cubic(server.socket)  # accepted connections inherit it
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    # The handshake is the connection's thread's work, not the accepting one's.
    secure.socket = context.wrap_socket(
        secure.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    ready()
    secure.serve_forever()


def browse_http(rng: Random, folder: Path) -> None:
    """Page after page of a lean site, over plain HTTP."""
    _browse(rng, _plain, rng.choice([2, 4, 6]), objects=9, size=13e3, polls=False)


def browse_tls(rng: Random, folder: Path) -> None:
    """Page after page of a scripted site over TLS, which goes on polling once it is loaded."""
    _browse(rng, _secure(folder), rng.choice([3, 6]), objects=18, size=13e3, polls=True)


def watch_low(rng: Random, folder: Path) -> None:
    """Watch small-screen video: 0.3 to 1 Mbit/s."""
    _watch(rng, _secure(folder), log_uniform(rng, 0.3e6, 1e6))


def watch_high(rng: Random, folder: Path) -> None:
    """Watch high-definition video: 1.5 to 4.5 Mbit/s."""
    _watch(rng, _secure(folder), log_uniform(rng, 1.5e6, 4.5e6))


def download(rng: Random, folder: Path) -> None:
    """Fetch one large file, or a row of smaller ones, over one to four connections."""
    connect = rng.choice([_plain, _secure(folder)])
    connections = [connect() for _ in range(rng.choice([1, 1, 1, 2, 4]))]
    total = lognormal(rng, 20e6, 0.8)
    files = rng.choice([len(connections), 4, 12])
    sizes = [lognormal(rng, total / files, 0.4) for _ in range(files)]
    _load(connections, [(int(size), _wait(rng)) for size in sizes])


def upload(rng: Random, folder: Path) -> None:
    """Back up files: post one after another, reading and packing each before it is sent."""
    connection = _secure(folder)()
    connection.connect()
    use_cubic(connection.sock)
    size, pause = lognormal(rng, 0.7e6, 0.9), lognormal(rng, 0.15, 1.0)
    _get(connection, (int(lognormal(rng, 4e3, 0.8)), _wait(rng)))
    while True:
        body = bytes(int(min(8e6, lognormal(rng, size, 0.6))))
        connection.request("POST", "/backup", body)
        connection.getresponse().read()
        time.sleep(lognormal(rng, pause, 0.7))


def _browse(
    rng: Random, connect: Connect, parallel: int, *, objects: float, size: float, polls: bool
) -> None:
    connections = [connect() for _ in range(parallel)]
    objects, size = lognormal(rng, objects, 0.4), lognormal(rng, size, 0.3)
    think, poll = lognormal(rng, 2.2, 0.5), lognormal(rng, 0.6, 0.4)
    while True:
        _get(connections[0], (int(lognormal(rng, 28e3, 0.7)), _wait(rng)))
        count = max(1, round(lognormal(rng, objects, 0.5)))
        sizes = [min(1e6, 150 + lognormal(rng, size, 1.1)) for _ in range(count)]
        _load(connections, [(int(size), _wait(rng)) for size in sizes])
        leave = time.monotonic() + lognormal(rng, think, 0.6)
        while polls and time.monotonic() + poll < leave:
            time.sleep(poll)
            _get(connections[0], (int(lognormal(rng, 900, 0.8)), _wait(rng)))
        time.sleep(max(0.0, leave - time.monotonic()))


def _watch(rng: Random, connect: Connect, bits_per_s: float) -> None:
    connection = connect()
    segment_s, ahead_s = rng.choice([1, 2, 4]), rng.uniform(2, 9)
    audio, address = rng.choice([0, 64e3, 128e3]), rng.randint(350, 700)
    _get(connection, (int(lognormal(rng, 6e3, 0.8)), _wait(rng)), address)  # the manifest
    start = time.monotonic()
    fetched_s = 0.0
    while True:
        # The buffer may hold ahead_s: so a burst at the start, then one segment after another.
        time.sleep(max(0.0, start + fetched_s - ahead_s - time.monotonic()))
        for rate, spread in ((bits_per_s, 0.25), (audio, 0.05)):
            if rate:
                size = lognormal(rng, rate / 8 * segment_s, spread)
                _get(connection, (int(size), _wait(rng)), address)
        fetched_s += segment_s


def _load(connections: Iterable[HTTPConnection], objects: Iterable[Object]) -> None:
    """Fetch objects over several connections, each taking the next one when it is free."""
    todo = iter(list(objects))

    def take(connection: HTTPConnection) -> None:
        for item in todo:
            _get(connection, item)

    threads = [threading.Thread(target=take, args=(one,)) for one in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _get(connection: HTTPConnection, item: Object, address: int = 0) -> None:
    """Fetch an object; a signed `address` has so many characters more, and sends no cookie."""
    size, wait = item
    path = f"/{size}/{round(wait * 1e3)}/" + "x" * (20 + size % 90 + address)
    headers = {"User-Agent": "lab/1.0 " + "u" * 90}
    if not address:
        headers["Cookie"] = "c" * (60 + size % 400)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    while response.read(len(CHUNK)):
        pass


def _wait(rng: Random) -> float:
    return min(1.0, lognormal(rng, 0.03, 0.8))


def _plain() -> HTTPConnection:
    return HTTPConnection(SERVER, PORT)


def _secure(folder: Path) -> Connect:
    context = ssl.create_default_context(cafile=folder / "tls.crt")
    context.check_hostname = False  # the server is known by its address alone
    return functools.partial(HTTPSConnection, SERVER, TLS_PORT, context=context)
