"""Images as clients send them: every usual form is taken, every refusal is documented and leaves a trace."""

from __future__ import annotations

import base64
import textwrap

import pytest

from reason_iad.server.forms import with_plain_name


def raw_form(disposition: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    """A form of one part, byte by byte, as no client library would write it."""
    head = f"--mark\r\nContent-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n".encode()
    return head + data + b"\r\n--mark--\r\n", {"content-type": "multipart/form-data; boundary=mark"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("filename*=UTF-8''teil%20%C3%A4.png", "teil ä.png"),
        ("filename*=utf-8'de'%e8%93%8b.png", "蓋.png"),
        ("filename*=\"UTF-8''part.png\"", "part.png"),
        ("filename*=ISO-8859-1''teil%E4.png", "teilä.png"),
        ("filename=\"x.png\"; filename*=UTF-8''%C3%A4.png", "ä.png"),
        ("filename*=UTF-8''%C3%A4.png; filename=\"x.png\"", "ä.png"),
        ("filename*=nonsense''..%2F..%2Fetc%2Fpart.png", "part.png"),
        ("filename*=UTF-8''a%22%0D%0Ab.png", "a___b.png"),
        ('filename="teil ä.png"', "teil ä.png"),
    ],
)
def test_a_files_name_is_read_in_its_extended_form_too(serve, picture, given: str, name: str) -> None:
    body, headers = raw_form(f'form-data; name="image"; {given}', picture())
    answer = serve().post("/v1/inspections", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == name


def test_a_plain_disposition_stays_as_it_is() -> None:
    for plain in (None, b'form-data; name="image"; filename="a.png"', b"", b"form-data; filename*=broken"):
        assert with_plain_name(plain) == plain


@pytest.mark.parametrize(
    "write",
    [
        lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
        lambda data: "DATA:image/png;charset=utf-8;BASE64," + base64.b64encode(data).decode(),
        lambda data: "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 76)),
        lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n") + "  ",
        lambda data: base64.urlsafe_b64encode(data).decode(),
        lambda data: base64.b64encode(data).decode().rstrip("="),
    ],
    ids=["data URL", "data URL with parameters", "wrapped", "MIME", "URL-safe", "without padding"],
)
def test_base64_is_read_as_programs_write_it(serve, picture, write) -> None:
    data = picture() + b"\xfb\xff"  # whose base64 has both signs of the other alphabet
    client = serve()
    plain = client.post("/v1/inspections", json={"image": base64.b64encode(data).decode()}).json()
    answer = client.post("/v1/inspections", json={"image": write(data), "references": [write(data)]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["report"]["image_sha256"] == plain["report"]["image_sha256"]


@pytest.mark.parametrize("text", ["data:image/png,abc", "data:,", "data:image/png;base64", "%%%", "a", "abc=def=", "Ä"])
def test_what_is_no_base64_is_refused_with_422(serve, text: str) -> None:
    answer = serve().post("/v1/inspections", json={"image": text, "name": "part.png"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_base64")
    assert answer.json()["error"]["message"].startswith("part.png is ")


def test_every_limit_on_what_a_request_may_hold_answers_422_as_documented(serve, picture) -> None:
    client, image = serve(), ("image", ("part.png", picture(), "image/png"))
    nine = [image, *(("references", (f"{n}.png", picture(seed=n), "image/png")) for n in range(9))]
    lesson = [("images", (f"{n}.png", picture(seed=n), "image/png")) for n in range(101)]
    cases = [
        ("too_many_references", "found 9 references; expected at most 8",
         client.post("/v1/inspections", files=nine)),
        ("too_many_images", "found 101 images; expected at most 100",
         client.post("/v1/profiles", files=lesson, data={"category": "lid"})),
        ("too_long", "`question` has 501 letters",
         client.post("/v1/inspections", files=[image], data={"question": "x" * 501})),
        ("too_long", "a choice has over 200 letters",
         client.post("/v1/inspections", files=[image], data={"question": "Which?", "choices": ["a", "b" * 201]})),
        ("not_usable", "expected 2 to 26",
         client.post("/v1/inspections", files=[image], data={"question": "Which?", "choices": list("abc" * 9)})),
        ("too_much", "Too many fields",
         client.post("/v1/inspections", files=[image], data={"question": "Which?", "choices": ["a"] * 400})),
        ("too_much", "Part exceeded",
         client.post("/v1/inspections", files=[image], data={"question": "x" * 20_000})),
        ("doubled_field", "`category` came more than once",
         client.post("/v1/inspections", files=[image], data={"category": ["screw", "bottle"]})),
        ("bad_body", "choices.0", client.post(
            "/v1/inspections", json={"image": "eA==", "question": "Which?", "choices": ["b" * 201, "a"]})),
        ("not_usable", "expected letters, digits",
         client.post("/v1/profiles", files=lesson[:1], data={"category": "../etc"})),
    ]  # fmt: skip
    for code, words, answer in cases:
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code), answer.text
        assert words in answer.json()["error"]["message"]


def test_half_of_a_character_is_refused(serve, picture) -> None:
    text = base64.b64encode(picture()).decode()
    body = '{"image": "' + text + '", "category": "\\ud800"}'
    answer = serve().post("/v1/inspections", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("data", "code"),
    [(lambda p: p[: len(p) // 2], "unusable_image"), (lambda p: b"no image at all", "not_an_image"),
     (lambda p: b"", "empty_file"), (lambda p: b"<svg/>", "not_an_image")],
)  # fmt: skip
def test_a_damaged_upload_leaves_a_trace_in_the_record(serve, picture, data, code: str) -> None:
    client = serve()
    sent = data(picture())
    refused = client.post("/v1/inspections", files={"image": ("part_12.png", sent)}, data={"category": "screw"})
    assert refused.status_code in (400, 415, 422)
    found = client.get("/v1/inspections?state=failed").json()["inspections"]
    assert [(one["name"], one["category"]) for one in found] == [("part_12.png", "screw")]
    assert found[0]["error"] == refused.json()["error"]["message"]
    whole = client.get(f"/v1/inspections/{found[0]['id']}").json()
    assert (whole["state"], whole["pictures"], whole["report"]) == ("failed", {}, None)
    line = next(line for line in client.get("/v1/audit").json() if line["action"] == "inspect")
    assert (line["target"], line["outcome"]) == (found[0]["id"], code)
    assert client.delete(f"/v1/inspections/{found[0]['id']}").status_code == 204


def test_a_damaged_reference_and_bad_base64_leave_a_trace_too(serve, picture) -> None:
    client = serve()
    files = [("image", ("part.png", picture())), ("references", ("good.png", picture()[:90]))]
    assert client.post("/v1/inspections", files=files).status_code == 422
    assert client.post("/v1/inspections", json={"image": "%", "name": "b.png"}).status_code == 422
    found = client.get("/v1/inspections?state=failed").json()["inspections"]
    assert [one["name"] for one in found] == ["b.png", "part.png"]
    assert "reference 1" in found[1]["error"]


def test_a_request_that_names_no_image_leaves_none(serve, picture) -> None:
    client = serve()
    assert client.post("/v1/inspections", data={"category": "screw"}).status_code in (415, 422)
    assert client.post("/v1/inspections", files={"image": picture()}, data={"category": "no such"}).status_code == 422
    assert client.get("/v1/inspections").json()["inspections"] == []


def test_a_test_clients_made_up_host_is_no_host(serve) -> None:
    client = serve()
    assert client.get("/healthz").status_code == 200
    for host in ("testserver", "evil.example", "127.0.0.1.evil.example"):
        assert client.get("/healthz", headers={"host": host}).status_code == 421
