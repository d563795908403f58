"""Bodies of requests, spoiled: an answer below 500 with the one shape of errors, and the server goes on."""

from __future__ import annotations

import base64
import json

import httpx
from made_mutants import MUTANTS, run_mutants, spoiled

FORM = (
    b"--mark\r\nContent-Disposition: form-data; name=\"image\"; filename*=UTF-8''%C3%A4.png\r\n"
    b"Content-Type: image/png\r\n\r\n<image>\r\n"
    b'--mark\r\nContent-Disposition: form-data; name="category"\r\n\r\nscrew\r\n'
    b'--mark\r\nContent-Disposition: form-data; name="references"; filename="g.png"\r\n\r\n<image>\r\n--mark--\r\n'
)
KINDS = {
    "form": "multipart/form-data; boundary=mark",
    "json": "application/json",
    "charset": "multipart/form-data; charset=utf-16; boundary=mark",
    "odd charset": 'multipart/form-data; charset="idna"; boundary="mark"',
    "none": "",
}


def test_spoiled_bodies_are_refused_below_500_and_the_server_goes_on(address, picture) -> None:
    image = picture(16, 20)
    text = base64.b64encode(image).decode()
    whole = {"image": f"data:image/png;base64,{text}", "name": "a.png", "question": "Which?", "choices": ["x", "y"]}
    seeds = [FORM.replace(b"<image>", image), json.dumps(whole).encode(), json.dumps({"image": text}).encode()]
    seeds = [f"{kind}\x01".encode() + seed for kind in KINDS for seed in seeds]
    with httpx.Client(base_url=address, timeout=60) as client:

        def read(data: bytes) -> str:
            kind, _, body = data.partition(b"\x01")
            headers = {"content-type": KINDS.get(kind.decode("latin-1"), "multipart/form-data; boundary=mark")}
            answer = client.post("/v1/inspections?wait=0", content=body, headers=headers)
            if answer.status_code == 429:
                return "429"
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"code", "message", "request_id"}
            return str(answer.status_code)

        run_mutants("bodies", spoiled(seeds, MUTANTS // 5 or 150), read, ())
        for path, body in (("questions", {"question": "Why?"}), ("feedback", {"kind": "missed", "comment": "x"})):
            small = [json.dumps(body).encode()]

            def ask(data: bytes, path: str = path) -> str:
                url = f"/v1/inspections/{'0' * 32}/{path}"
                answer = client.post(url, content=data, headers={"content-type": "application/json"})
                assert answer.status_code < 500, answer.text
                return str(answer.status_code)

            run_mutants(path, spoiled(small, MUTANTS // 20 or 50), ask, ())
        assert client.get("/healthz").status_code == 200
