"""A chat server in small, as a process of its own. The model's name says how it behaves; every request is kept.

`GET /log` gives the requests so far: what was sent, with which key.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOG: list[dict[str, Any]] = []


class Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, LOG)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = str(body["model"])
        LOG.append({"body": body, "key": self.headers.get("Authorization"), "path": self.path})
        tries = sum(entry["body"]["model"] == name for entry in LOG)
        if self.path != "/v1/chat/completions":
            return self.answer(404, {"error": {"message": "no such path"}})
        if name == "locked" and self.headers.get("Authorization") != "Bearer right":
            return self.answer(401, {"error": {"message": "invalid key"}})
        if name in ("busy", "polite") and tries <= 2:
            return self.answer(503 if tries == 1 else 429, {"error": {"message": "overloaded"}}, {"Retry-After": "3"})
        if name == "down":
            return self.answer(500, {"error": "out of order"})
        if name == "slow":
            time.sleep(2)
        if name == "garbage":
            return self.answer(200, ["no object"])
        if name == "strict" and "logprobs" in body:
            return self.answer(400, {"error": {"message": "logprobs are not supported"}})
        text = {"chatty": "I see a picture.", "words": "The part is scratched.", "thinker": "<think>hm</think>B"}.get(
            name, "AB"[body.get("seed", 0) % 5 > 2]
        )
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        if body.get("logprobs") and name in ("open", "busy", "polite", "locked"):
            top = [("B", -0.5), (" B", -2.0), ("A", -1.5), ("Hello", -3.0)]
            tops = [{"token": token, "logprob": value} for token, value in top]
            choice["logprobs"] = {"content": [{"token": "B", "logprob": -0.5, "top_logprobs": tops}]}
        return self.answer(200, {"choices": [choice]})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    print(server.server_address[1], flush=True)
    server.serve_forever()
