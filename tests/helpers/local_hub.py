"""A stand-in for the Hugging Face Hub on this machine, which speaks enough of its protocol for its real client."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class LocalHub(ThreadingHTTPServer):
    """Repositories in memory. `refused` is a user whose repositories nobody may write."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, Any] = {}
        self.tokens: set[str | None] = set()
        self.commits: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def revision(self, repo_id: str) -> str:
        """The commit: a fingerprint of all files."""
        digest = hashlib.sha1()
        for name, content in sorted(self.files[repo_id].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.server.tokens.add(self.headers.get("Authorization"))
        body, parts = self._body(), unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            owner, name = asked.get("organization") or "me", asked["name"]
            if owner == "refused":
                return self._json({"error": "you do not own this namespace"}, 403)
            self.server.files.setdefault(f"{owner}/{name}", {})
            self.server.private[f"{owner}/{name}"] = asked.get("visibility") or asked.get("private")
            return self._json({"url": f"{self.server.address}/{owner}/{name}", "name": f"{owner}/{name}"})
        if parts == ["api", "validate-yaml"]:
            return self._json({"warnings": [], "errors": []})
        repo_id, what = "/".join(parts[2:4]), parts[4]
        if what == "preupload":
            paths = [one["path"] for one in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return self._json({"files": [{"path": path, **plain} for path in paths]})
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                self.server.files[repo_id][one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "header":
                self.server.commits.append(one["value"]["summary"])
        sha = self.server.revision(repo_id)
        return self._json({"commitUrl": f"{self.server.address}/{repo_id}/commit/{sha}", "commitOid": sha})

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"] and (repo_id := "/".join(parts[2:4])) in self.server.files:
            files = [{"rfilename": name} for name in self.server.files[repo_id]]
            if parts[4:5] == ["tree"]:
                sizes = {name: len(content) for name, content in self.server.files[repo_id].items()}
                return self._json([{"type": "file", "path": n, "size": size, "oid": n} for n, size in sizes.items()])
            return self._json({"id": repo_id, "sha": self.server.revision(repo_id), "siblings": files})
        repo_id, name = "/".join(parts[:2]), "/".join(parts[4:])
        if parts[2:3] == ["resolve"] and name in self.server.files.get(repo_id, {}):
            content = self.server.files[repo_id][name]
            tag = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": self.server.revision(repo_id)}
            return self._answer(content, 200, tag)
        return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, content: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self._answer(json.dumps(content).encode(), code, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, content: bytes, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving() -> Iterator[LocalHub]:
    """A hub while the context lasts."""
    hub = LocalHub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
