"""A chat server in small, as a process of its own. The model's name says how it behaves; every request is kept.

`GET /log` gives the requests so far: what was sent, with which key. Some behave like servers that people run: what they
take, refuse and pass over in silence was written after the documentation of vLLM, Ollama, llama.cpp and OpenAI.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOG: list[dict[str, Any]] = []
Answer = tuple[int, Any, dict[str, str]]

TEXTS = {"chatty": "I see a picture.", "words": "The part is scratched.", "thinker": "<think>hm</think>B"}


def choice(text: Any, finish: str = "stop", tokens: list[Any] | None = None, **message: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"index": 0, "finish_reason": finish}
    made["message"] = {"role": "assistant", "content": text, **message}
    if tokens is not None:
        made["logprobs"] = {"content": tokens}
    return made


def token(text: str, *top: tuple[str, float]) -> dict[str, Any]:
    """A token and its alternatives, each with its log-probability."""
    others = [{"token": other, "logprob": value} for other, value in top]
    return {"token": text, "logprob": top[0][1] if top else -0.01, "top_logprobs": others}


def said(body: dict[str, Any], **made: Any) -> Answer:
    return 200, {"choices": [choice(**made)]}, {}


def refused(words: str, status: int = 400) -> Answer:
    return status, {"error": {"message": words, "type": "invalid_request_error"}}, {}


def constraint(body: dict[str, Any]) -> tuple[str, list[str]] | None:
    """The form of constraint that a request asks for, and what it lets pass."""
    if form := body.get("response_format"):
        return "schema", form["json_schema"]["schema"]["properties"]["answer"]["enum"]
    if form := body.get("structured_outputs"):
        return "structured", form["choice"]
    return ("guided", body["guided_choice"]) if body.get("guided_choice") else None


def drawn(body: dict[str, Any]) -> int:
    """Which of two options a sample takes: of five seeds, three take the first."""
    return int(body.get("seed", 4) % 5 > 2)


def kept(body: dict[str, Any], *forms: str) -> Answer | None:
    """An answer that keeps to a constraint, where the server knows its form; None where it passes it over."""
    asked = constraint(body)
    if asked is None or asked[0] not in forms:
        return None
    letter = asked[1][drawn(body)]
    return said(body, text=json.dumps({"answer": letter}) if asked[0] == "schema" else letter)


def vllm(body: dict[str, Any]) -> Answer:
    """Prose by itself; with a schema JSON, whose tokens have log-probabilities."""
    if (answer := kept(body, "schema")) is None:
        top = [("The", -0.01), ("A", -9.0), ("B", -11.0)]
        return said(body, text="The part is cracked, so", finish="length", tokens=[token("The", *top)])
    if body.get("logprobs"):
        letter = token("B", ("B", -0.2), ("A", -1.8))
        tokens = [token('{"'), token("answer"), token('":'), token(' "'), letter, token('"}')]
        answer[1]["choices"][0]["logprobs"] = {"content": tokens}
    return answer


def thought(body: dict[str, Any]) -> Answer:
    """A thought of a thousand tokens in the text, before an answer to any request."""
    top = [("<think>", 0.0), ("A", -12.0), ("B", -14.0)]
    if body["max_tokens"] < 1000:
        return said(body, text="<think>Let", finish="length", tokens=[token("<think>", *top)])
    return said(body, text="<think>Let me look. A?</think>\n\nThe answer is B.", tokens=[token("<think>", *top)])


def apart(body: dict[str, Any]) -> Answer:
    """A thought of a thousand tokens apart from the text, which is null until it ends."""
    if body["max_tokens"] < 1000:
        return said(body, text=None, finish="length", reasoning_content="Let me look")
    return said(body, text="B", reasoning_content="Let me look. A?")


def reasoning(body: dict[str, Any]) -> Answer:
    """OpenAI's models that think: no max_tokens, temperature, log-probabilities or field of another server."""
    if "max_tokens" in body:
        return refused(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    if body.get("temperature", 1.0) != 1.0:
        return refused("Unsupported value: 'temperature' does not support 0.0 with this model.")
    for name in ("logprobs", "top_logprobs", "guided_choice", "structured_outputs"):
        if name in body:
            return refused(f"Unsupported parameter: '{name}' is not supported with this model.")
    if body["max_completion_tokens"] < 1000:
        return refused("Could not finish the message because max_tokens or model output limit was reached.")
    return kept(body, "schema") or said(body, text="B")


def limited(body: dict[str, Any]) -> Answer:
    if body.get("top_logprobs", 0) > 5:
        return refused("top_logprobs must be between 0 and 5")
    return said(body, text="B", tokens=[token("B", ("B", -0.1), ("A", -2.4))])


UNDER_WAY = 0  # requests to "crowded" at this moment


def pictures(message: dict[str, Any]) -> int:
    return sum(part["type"] == "image_url" for part in message["content"] if isinstance(part, dict))


def single(body: dict[str, Any], in_all: bool) -> Answer:
    """Refuses several pictures: in a message, or in all, in vLLM's words."""
    counts = [pictures(message) for message in body["messages"]]
    if (sum(counts) if in_all else max(counts)) > 1:
        return refused("At most 1 image(s) may be provided in one prompt.")
    return said(body, text="B", tokens=[token("B", ("B", -0.1), ("A", -2.4))])


def behind_a_thought(body: dict[str, Any]) -> Answer:
    """A thought that came apart, whose tokens stand before those of the answer, as vLLM's parsers leave them."""
    thought = [token(t, (t, 0.0), ("A", -20.0)) for t in ("It", " may", " be", " A", ".", "</think>")]
    tokens = [*thought, token("\n\n", ("\n\n", 0.0)), token("B", ("B", -0.2), ("A", -1.8))]
    if body["max_tokens"] < 100:
        return said(body, text=None, finish="length", tokens=tokens[:4], reasoning_content="It may be A")
    return said(body, text="B", tokens=tokens, reasoning_content="It may be A.")


def answer(name: str, body: dict[str, Any], tries: int) -> Answer:
    """What the model of a name answers."""
    known = {"vllm": vllm, "thought": thought, "apart": apart, "reasoning": reasoning, "limited": limited}
    known |= {"one-a-message": lambda b: single(b, False), "one-in-all": lambda b: single(b, True)}
    known |= {"behind-a-thought": behind_a_thought}
    if name in known:
        return known[name](body)
    kind, _, text = name.partition(":")
    if kind == "says":
        return said(body, text=text)
    if kind == "tokens":  # the first token with its alternatives, and what the text goes on to say
        found = json.loads(text)
        return said(body, text=found["text"], tokens=[token(t, *map(tuple, top)) for t, top in found["tokens"]])
    if kind == "keeps":  # knows one form of constraint, passes over the others, and talks without one
        return kept(body, text) or said(body, text="I would say that it depends.")
    if kind == "refuses":  # the same, and refuses the others by name
        asked = constraint(body)
        names = {"schema": "response_format", "structured": "structured_outputs", "guided": "guided_choice"}
        if asked and asked[0] != text:
            return refused(f"extra fields not permitted: {names[asked[0]]}", 422)
        return kept(body, text) or said(body, text="I would say that it depends.")
    if kind == "inside":  # an error inside a 200
        return 200, json.loads(text), {}
    if name == "busy-inside" and tries <= 2:
        return 200, {"error": {"message": "rate limit", "code": 429}}, {}
    if name == "parts":
        return said(body, text=[{"type": "text", "text": "The answer"}, {"type": "text", "text": " is B."}])
    if name == "only-thought":
        return said(body, text=None, finish="stop", reasoning="It may be B.")
    plain = TEXTS.get(name, "AB"[body.get("seed", 0) % 5 > 2])
    top = [("B", -0.5), (" B", -2.0), ("A", -1.5), ("Hello", -3.0)]
    offers = body.get("logprobs") and name in ("open", "busy", "polite", "locked")
    return said(body, text="B" if offers else plain, tokens=[token("B", *top)] if offers else None)


class Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            return self.send(200, {"object": "list", "data": [{"id": "b", "object": "model"}, {"id": "a"}]})
        self.send(200, LOG)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = str(body["model"])
        LOG.append({"body": body, "key": self.headers.get("Authorization"), "path": self.path})
        tries = sum(entry["body"]["model"] == name for entry in LOG)
        if self.path != "/v1/chat/completions":
            return self.send(404, {"error": {"message": "no such path"}})
        if name == "locked" and self.headers.get("Authorization") != "Bearer right":
            return self.send(401, {"error": {"message": "invalid key"}})
        if name in ("busy", "polite") and tries <= 2:
            return self.send(503 if tries == 1 else 429, {"error": {"message": "overloaded"}}, {"Retry-After": "3"})
        if name == "crowded":
            return self.crowded(body)
        if name == "down":
            return self.send(500, {"error": "out of order"})
        if name == "slow":
            time.sleep(2)
        if name == "garbage":
            return self.send(200, ["no object"])
        if name == "strict" and "logprobs" in body:
            return self.send(400, {"error": {"message": "logprobs are not supported"}})
        return self.send(*answer(name, body, tries))

    def crowded(self, body: dict[str, Any]) -> None:
        """Take three requests at a time, refuse more, and count tokens."""
        global UNDER_WAY
        UNDER_WAY += 1
        time.sleep(0.05)
        if UNDER_WAY > 3:
            self.send(429, {"error": {"message": "too many requests"}})
        else:
            status, made, _ = said(body, text="B", tokens=[token("B", ("B", -0.1), ("A", -2.4))])
            self.send(status, {**made, "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        UNDER_WAY -= 1

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
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
