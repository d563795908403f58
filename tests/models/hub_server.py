"""A hub in small, as a process of its own: one model that is there, one gated, none else. `hub_server.py FOLDER`.

It answers as the hub's own API does: a listing, files by revision with their hashes, and its error codes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        print(self.command, self.path, flush=True, file=sys.stderr)
        if "gated/model" in path and not path.startswith("api/models/gated/model/revision"):
            self.answer(403, {"X-Error-Code": "GatedRepo"}, b'{"error": "Access to model is restricted"}')
        elif path.startswith("api/models/"):
            self.list_files(path.removeprefix("api/models/"))
        elif path.startswith("there/model/resolve/"):
            self.send_file(path.removeprefix("there/model/resolve/").partition("/")[2])
        else:
            self.missing()

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

    def list_files(self, path: str) -> None:
        owner, name, *rest = path.split("/")
        if f"{owner}/{name}" not in ("there/model", "gated/model"):
            return self.missing()
        files = sorted(p for p in self.folder.iterdir() if p.is_file())
        if rest[:1] == ["tree"]:
            body = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": digest(p)} for p in files]
            return self.answer(200, {}, json.dumps(body).encode())
        siblings = [{"rfilename": p.name, "size": p.stat().st_size} for p in files]
        body = {"id": f"{owner}/{name}", "sha": REVISION, "private": False, "siblings": siblings}
        return self.answer(200, {}, json.dumps(body).encode())

    def send_file(self, name: str) -> None:
        path = self.folder / name
        if not path.is_file():
            return self.answer(404, {"X-Error-Code": "EntryNotFound"}, b"")
        return self.answer(200, {"ETag": f'"{digest(path)}"', "X-Repo-Commit": REVISION}, path.read_bytes())

    def missing(self) -> None:
        self.answer(404, {"X-Error-Code": "RepoNotFound"}, b'{"error": "Repository not found"}')

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body)), "Content-Type": "application/json"}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    Hub.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(server.server_address[1], flush=True)
    server.serve_forever()
