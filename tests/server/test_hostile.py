"""What nobody sends by accident: every one is refused with a 4xx that says why, and the server goes on."""

from __future__ import annotations

import base64
import io
import struct
import zipfile
import zlib

import pytest

from reason_iad.server.settings import Limits


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", "x")
    return buffer.getvalue()


def text_bomb() -> bytes:
    """A PNG whose compressed text unpacks to 100 MB."""
    data = b"Comment\0\0" + zlib.compress(b"a" * 100_000_000, 9)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    plain = header_of(64, 64)
    return plain[:33] + chunk + plain[33:]


HOSTILE = {
    "decompression bomb": (lambda p: header_of(60_000, 60_000), 413, "too_large"),
    "30,000 pixel image": (lambda p: header_of(30_000, 1_600), 413, "too_large"),
    "text bomb": (lambda p: text_bomb(), 413, "too_large"),
    "SVG": (lambda p: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415, "not_an_image"),
    "SVG behind a declaration": (lambda p: b"<?xml version='1.0'?>\n<svg/>", 415, "not_an_image"),
    "web page": (lambda p: b"<!doctype html><script>alert(1)</script>", 415, "not_an_image"),
    "zip": (lambda p: archive(), 415, "not_an_image"),
    "pdf": (lambda p: b"%PDF-1.7\n", 415, "not_an_image"),
    "program": (lambda p: b"\x7fELF" + bytes(200), 415, "not_an_image"),
    "polyglot of image and zip": (lambda p: p + archive(), 415, "polyglot"),
    "polyglot of image and page": (lambda p: p + b"<SCRIPT>alert(1)</SCRIPT>", 415, "polyglot"),
    "truncated": (lambda p: p[: len(p) // 2], 422, "unusable_image"),
    "noise": (lambda p: bytes(range(256)) * 8, 415, "not_an_image"),
    "empty": (lambda p: b"", 400, "empty_file"),
    "tiny": (lambda p: header_of(2, 2), 422, "unusable_image"),
    "endless strip": (lambda p: header_of(9_000, 20), 422, "unusable_image"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(request, serve_all):
    """A server on each database; on PostgreSQL with two workers."""
    limits = Limits(requests_per_minute=1_000_000, burst=1_000_000)
    if request.param == "sqlite":
        return serve_all(limits=limits)
    return serve_all(database=request.getfixturevalue("kept_url"), workers=2, limits=limits)


def kept(client) -> set[str]:
    """Digests of all files that the server has kept."""
    return set(client.app.state.reason_iad.store.files.digests())


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_image_is_refused_with_its_reason(client, picture, kind):
    make, status, code = HOSTILE[kind]
    data, before = make(picture()), kept(client)
    for answer in (
        client.post("/v1/inspections", files={"image": ("part.png", data, "image/png")}),
        client.post("/v1/inspections", files=[("image", ("p.png", picture())), ("references", ("r.png", data))]),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert len(answer.json()["error"]["message"]) > 20
    if data:
        sent = base64.b64encode(data).decode()
        assert client.post("/v1/inspections", json={"image": sent}).status_code == status
    traces = client.get("/v1/inspections?limit=2").json()["inspections"]  # which part it was, and none of its bytes
    assert [(trace["state"], trace["pictures"]) for trace in traces] == [("failed", {})] * 2
    assert kept(client) == before


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "a\x00b.png", "x" * 5000, ""]
)
def test_a_name_with_tricks_is_only_ever_shown(client, picture, name):
    sent = base64.b64encode(picture()).decode()
    answer = client.post("/v1/inspections", json={"image": sent, "name": name})
    assert answer.status_code == (422 if len(name) > 255 else 200)
    if answer.status_code == 200:
        shown = answer.json()["name"]
        assert "/" not in shown
        assert "\\" not in shown
        assert "\x00" not in shown
    names = {path.name for path in client.app.state.reason_iad.settings.data.parent.rglob("*")}
    assert not names & {"passwd", "boot.ini", "shadow"}


@pytest.mark.parametrize(
    "path",
    ["/assets/../app.py", "/assets/..%2fapp.py", "/v1/inspections/../../etc/passwd", "/v1/profiles/..%2f..%2fetc",
     "/v1/inspections/" + "0" * 32 + "/pictures/..%2f..%2frecord.db"],
)  # fmt: skip
def test_paths_lead_nowhere(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "error" in answer.json()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 422),
        (b"[" * 100_000, {"content-type": "application/json"}, 422),
        (b'{"image": "!!!"}', {"content-type": "application/json"}, 422),
        (b'{"image": "AAAA", "path": "/etc/passwd"}', {"content-type": "application/json"}, 422),
        (b"\xff\xfe", {"content-type": "application/json"}, 422),
        (b"x", {"content-type": "text/plain"}, 415),
        (b"x", {"content-type": "multipart/form-data"}, 400),
        (b"x", {"content-type": "multipart/form-data; boundary=y"}, 400),
        (b"", {}, 415),
    ],
)
def test_a_broken_body_is_refused(client, body, headers, status):
    answer = client.post("/v1/inspections", content=body, headers=headers)
    assert answer.status_code in (status, 422)
    assert answer.json()["error"]["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(serve, picture):
    client = serve("small_inspectors:load_never", limits=Limits(max_bytes=10_000), stop_seconds=0.1)
    answer = client.post(
        "/v1/inspections", content=iter([b"x" * 8_000] * 4), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert client.post("/v1/inspections", content=b"x" * 100_000).status_code == 413
    small = client.post("/v1/inspections/" + "0" * 32 + "/feedback", content=b"x" * 200_000)
    assert small.status_code == 413


def test_markup_in_names_questions_and_comments_is_escaped_in_the_report(client, picture):
    evil = "<img src=x onerror=alert(1)>"
    files = {"image": (f"{evil}.png", picture(), "image/png")}
    body = client.post("/v1/inspections", files=files, data={"question": evil}).json()
    assert body["state"] == "done"
    page = client.get(f"/v1/inspections/{body['id']}/report.html").text
    assert evil not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in page


def test_a_page_of_another_site_gets_no_answer(client, picture):
    files = {"image": ("a.png", picture(), "image/png")}
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        answer = client.post("/v1/inspections", files=files, headers={"origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/v1/status", headers={"host": "evil.example"}).status_code == 421
    preflight = client.options("/v1/inspections", headers={"origin": "https://evil.example"})
    assert preflight.status_code == 403
