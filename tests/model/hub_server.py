"""A small server that speaks what huggingface_hub asks of a hub, and keeps what it is given."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse


@dataclass
class Hub:
    """Repositories by name: files by name, of one branch."""

    address: str
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    tokens: set[str | None] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def sha(self, repo: str) -> str:
        return hashlib.sha1(repr(sorted(self.files[repo].items())).encode()).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.hub  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing on stderr."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.tokens.add(self.headers.get("Authorization"))
        path = urlparse(self.path).path
        parts = path.split("/")
        if path == "/api/repos/create":
            about = json.loads(body)
            repo = f"{about.get('organization', 'me')}/{about['name']}"
            address = {"url": f"{self.hub.address}/{repo}", "id": repo}
            if repo in self.hub.files:
                self._answer({"error": "it is there", **address}, 409)
                return
            self.hub.files[repo] = {}
            seen = about.get("visibility", "private" if about.get("private") else "public")
            self.hub.private[repo] = seen == "private"
            self._answer(address)
        elif parts[1:3] == ["api", "models"] and parts[5] == "preupload":
            files = json.loads(body)["files"]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer({"files": [{"path": one["path"], **mode} for one in files]})
        elif parts[1:3] == ["api", "models"] and parts[5] == "commit":
            self._commit("/".join(parts[3:5]), body)
        else:
            self._answer({})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.hub.files[repo][line["value"]["path"]] = content
        sha = self.hub.sha(repo)
        self._answer({"commitUrl": f"{self.hub.address}/{repo}/commit/{sha}", "commitOid": sha})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        parts = path.strip("/").split("/")
        repo = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        self.hub.asked.append(path)
        if repo not in self.hub.files:
            self._answer({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        elif "tree" in parts:
            files = self.hub.files[repo].items()
            self._answer(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": _sha1(content)}
                    for name, content in files
                ]
            )
        elif parts[0] == "api":
            siblings = [{"rfilename": name} for name in self.hub.files[repo]]
            self._answer({"id": repo, "sha": self.hub.sha(repo), "siblings": siblings})
        else:
            self._file(repo, parts[-1])

    def _file(self, repo: str, name: str) -> None:
        content = self.hub.files[repo].get(name)
        commit = {"X-Repo-Commit": self.hub.sha(repo)}
        if content is None:
            self._answer({"error": "none"}, 404, **{"X-Error-Code": "EntryNotFound"}, **commit)
            return
        self._send(content, 200, "application/octet-stream", {"ETag": _sha1(content)} | commit)

    def _answer(self, what: Any, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(what).encode(), status, "application/json", headers)

    def _send(self, content: bytes, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers |= {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _sha1(content: bytes) -> str:
    return f'"{hashlib.sha1(content).hexdigest()}"'
