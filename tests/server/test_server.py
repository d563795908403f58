"""The server's interface, with a scripted model in a process of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reason_iad.types import InspectionReport


def send(client, data: bytes, name: str = "part.png", wait: float = 30, **fields):
    files = {"image": (name, data, "image/png")}
    return client.post(f"/v1/inspections?wait={wait}", files=files, data=fields)


def wait_for(client, identifier: str, state: str, seconds: float = 10.0) -> dict:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        body = client.get(f"/v1/inspections/{identifier}").json()
        if body["state"] == state:
            return body
        time.sleep(0.15)  # slower than the limit of requests
    raise AssertionError(f"still {body['state']}, not {state}: {body['error']}")


def test_an_image_sent_as_a_form_comes_back_with_a_report(serve, picture):
    client = serve()
    answer = send(client, picture(), category="screw")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["state"], body["verdict"], body["category"]) == ("done", "defective", "screw")
    assert InspectionReport.from_json(json.dumps(body["report"])).verdict == "defective"
    for address in body["pictures"].values():
        got = client.get(address)
        assert got.headers["content-type"] in ("image/jpeg", "image/png")
        assert got.headers["x-content-type-options"] == "nosniff"
    assert {"preview", "thumbnail", "map", "shown-1"} <= set(body["pictures"])


def test_base64_and_form_are_the_same_to_the_record(serve, picture):
    client = serve()
    text = base64.b64encode(picture()).decode()
    body = client.post("/v1/inspections", json={"image": text, "name": "part.png", "references": [text]}).json()
    again = send(client, picture()).json()
    assert body["report"]["image_sha256"] == again["report"]["image_sha256"]
    assert body["report"]["verdict"] == again["report"]["verdict"]


def test_a_queued_inspection_is_followed_to_its_end(serve, picture):
    client = serve()
    answer = send(client, picture(), wait=0)
    assert answer.status_code == 202
    where = answer.headers["location"]
    with client.stream("GET", f"{where}/events") as stream:
        events = [line[7:] for line in stream.iter_lines() if line.startswith("event: ")]
    assert events[0] == "queued"
    assert events[-1] == "done"
    assert "stage" in events
    with client.stream("GET", f"{where}/events") as stream:  # and once more, long after
        assert "event: done" in list(stream.iter_lines())


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(serve, picture):
    client = serve(queue_size=2)
    codes = [send(client, picture(), f"slow_{i}.png", wait=0) for i in range(5)]
    full = [c for c in codes if c.status_code == 429]
    assert [c.status_code for c in codes[:2]] == [202, 202]
    assert full
    assert int(full[0].headers["retry-after"]) >= 1
    assert full[0].json()["error"]["code"] == "queue_full"
    assert client.get("/v1/status").json()["waiting"] <= 2


def test_while_the_model_loads_the_page_is_there_and_readiness_says_what_is_missing(serve, picture):
    client = serve("small_inspectors:load_never", stop_seconds=0.2)
    assert client.get("/").status_code == 200
    assert client.get("/healthz").json()["status"] == "ok"
    limit = time.monotonic() + 10
    while (ready := client.get("/readyz")).json()["detail"] != "loading model that takes long":
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert ready.status_code == 503
    assert send(client, picture(), wait=0.2).status_code == 202  # accepted, waits for the model


def test_a_crash_of_the_model_marks_the_inspection_and_the_next_one_works(serve, picture):
    client = serve()
    lost = send(client, picture(), "crash_1.png")
    assert lost.status_code == 503
    assert lost.json()["error"]["code"] == "interrupted"
    assert send(client, picture()).status_code == 200
    failed = client.get("/v1/inspections?state=failed").json()["inspections"]
    assert [f["name"] for f in failed] == ["crash_1.png"]
    assert "reason_iad_model_restarts_total 2.0" in client.get("/metrics").text  # it was tried once more


def test_a_model_whose_own_server_is_away_is_no_fault_of_the_image(serve, picture):
    client = serve("small_inspectors:load_served")
    lost = send(client, picture())
    assert (lost.status_code, lost.json()["error"]["code"]) == (503, "model_unavailable")
    assert "the server 127.0.0.1:9 cannot be reached" in lost.json()["error"]["message"]
    assert "check that it runs" in lost.json()["error"]["message"]
    assert int(lost.headers["Retry-After"]) > 0


def test_a_process_that_is_killed_once_costs_no_inspection(serve, picture):
    client = serve()
    sent = send(client, picture(), "slow_1.png", wait=0).json()["id"]
    limit = time.monotonic() + 30
    while client.get(f"/v1/inspections/{sent}").json()["state"] != "running":
        assert time.monotonic() < limit
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(client.app.state.reason_iad.model.pids[0], signal.SIGKILL)
    wait_for(client, sent, "done")


def test_an_inspection_that_takes_too_long_is_stopped(serve, picture):
    from reason_iad.server.settings import Limits

    client = serve(limits=Limits(inspection_seconds=4))
    assert send(client, picture()).status_code == 200
    assert "longer than 4 s" in send(client, picture(), "stuck_.png").json()["error"]["message"]
    assert send(client, picture()).status_code == 200


@pytest.mark.parametrize("what", ["inspection", "question"])
def test_what_takes_too_long_harms_only_itself(serve, picture, what):
    from reason_iad.server.settings import Limits

    client = serve("small_inspectors:load_slowly", limits=Limits(inspection_seconds=4))  # loading takes 5 s
    first = send(client, picture()).json()["id"]
    with ThreadPoolExecutor() as pool:
        if what == "question":
            stuck = pool.submit(client.post, f"/v1/inspections/{first}/questions", json={"question": "Is it stuck?"})
        else:
            stuck = pool.submit(send, client, picture(), "stuck_.png")
        time.sleep(0.5)
        waiting = [send(client, picture(seed=n), f"{n}.png", wait=0).json()["id"] for n in range(3)]
        assert "longer than 4 s" in stuck.result().json()["error"]["message"]
    for identifier in waiting:
        assert wait_for(client, identifier, "done", 60)["error"] is None


def test_a_question_that_nobody_waits_for_is_taken_back(serve, picture):
    from reason_iad.server.settings import Limits

    client = serve(limits=Limits(wait_seconds=0.5))
    first = send(client, picture()).json()["id"]
    wait_for(client, first, "done", 60)
    second = send(client, picture(), "slow_1.png", wait=0).json()["id"]
    wait_for(client, second, "running")
    answer = client.post(f"/v1/inspections/{first}/questions", json={"question": "How does it look?"})
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "the model is busy and did not begin; ask again"
    assert client.get("/v1/status").json()["waiting"] == 0


def test_a_profile_that_is_learned_on_the_server_is_recognized(serve, picture):
    client = serve("small_inspectors:load_miniature")
    files = [("images", (f"{n}.png", picture(seed=n), "image/png")) for n in range(3)]
    answer = client.post("/v1/profiles", files=files, data={"category": "our lid"})
    assert answer.status_code == 201, answer.text
    from reason_iad.evidence.profile_store import find_profile
    from reason_iad.recognition.learned import read_embeddings

    folder = find_profile("our lid")
    assert read_embeddings(folder).shape[0] == 3
    inspected = send(client, picture(seed=9), category="our lid").json()
    assert inspected["category"] == "our_lid"
    said = {"kind": "missed" if inspected["verdict"] != "defective" else "false_alarm"}
    kept = client.post(f"/v1/inspections/{inspected['id']}/feedback", json=said).json()
    assert "version 2" in kept["effect"], kept
    facts = json.loads((folder / "versions" / "0002.json").read_text())
    from safetensors import safe_open

    for member in facts["members"]:
        with safe_open(folder / "members" / f"{member['id']}.safetensors", "numpy") as file:
            assert "embedding" in file.keys()  # noqa: SIM118 - not a mapping


def test_a_page_of_the_list_reads_no_reports(serve, picture):
    from sqlalchemy import event

    client = serve()
    send(client, picture())
    engine, asked = client.app.state.reason_iad.store._engine, []
    event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    found = client.get("/v1/inspections").json()["inspections"]
    assert found[0]["verdict"] == "defective"
    assert not [statement for statement in asked if "inspections.report" in statement]


def test_a_fault_and_a_refusal_have_their_own_codes_and_stay_in_the_record(serve, picture):
    client = serve()
    assert send(client, picture(), "fault_.png").status_code == 500
    refused = send(client, picture(), "refuse_.png")
    assert refused.status_code == 422
    assert "expected another" in refused.json()["error"]["message"]
    assert len(client.get("/v1/inspections?state=failed").json()["inspections"]) == 2


def test_what_waited_at_the_stop_is_done_after_the_next_start(serve, picture, tmp_path):
    client = serve("small_inspectors:load_never", stop_seconds=0.2)
    waiting = [send(client, picture(seed=i), wait=0).json()["id"] for i in range(3)]
    client.__exit__(None, None, None)
    again = serve()
    for identifier in waiting:
        wait_for(again, identifier, "done")


def test_a_question_uses_the_prepared_image(serve, picture):
    client = serve()
    identifier = send(client, picture()).json()["id"]
    told = client.post(f"/v1/inspections/{identifier}/questions", json={"question": "How does it look?"}).json()
    assert told["answer"]["text"] == "It looks scratched."
    assert told["prepared"] is True
    body = {"question": "Whole?", "choices": ["Yes.", "No."]}
    assert client.post(f"/v1/inspections/{identifier}/questions", json=body).json()["answer"]["text"] == "Yes."
    lone = {"question": "Whole?", "choices": ["Yes."]}
    assert client.post(f"/v1/inspections/{identifier}/questions", json=lone).status_code == 422


def test_feedback_is_kept_with_its_effect_and_found_by_it(serve, picture):
    client = serve()
    identifier = send(client, picture()).json()["id"]
    said = {"kind": "false_alarm", "comment": "wipes off"}
    body = client.post(f"/v1/inspections/{identifier}/feedback", json=said).json()
    assert body["who"] == "local"
    assert "no profile" in body["effect"]
    assert client.post(f"/v1/inspections/{identifier}/feedback", json={"kind": "missed"}).status_code == 409
    found = client.get("/v1/inspections?feedback=false_alarm").json()["inspections"]
    assert [f["id"] for f in found] == [identifier]


def test_history_is_filtered_and_paged(serve, picture):
    client = serve()
    for name in ("normal_a.png", "b.png", "uncertain_c.png"):
        send(client, picture(), name)
    assert [i["name"] for i in client.get("/v1/inspections?verdict=normal").json()["inspections"]] == ["normal_a.png"]
    first = client.get("/v1/inspections?limit=2").json()
    rest = client.get("/v1/inspections", params={"limit": 2, "cursor": first["next"]}).json()
    assert [i["name"] for i in first["inspections"] + rest["inspections"]] == [
        "uncertain_c.png", "b.png", "normal_a.png",
    ]  # fmt: skip
    assert client.get("/v1/inspections?cursor=x").status_code == 422


def test_a_report_is_one_page_and_one_picture(serve, picture):
    client = serve()
    identifier = send(client, picture(), "<b>&.png").json()["id"]
    page = client.get(f"/v1/inspections/{identifier}/report.html")
    assert page.status_code == 200
    assert "<b>&.png" not in page.text
    assert "&lt;b&gt;&amp;.png" in page.text
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    assert client.get(f"/v1/inspections/{identifier}/figure.png").content.startswith(b"\x89PNG")


def test_deleting_takes_the_files_along(serve, picture, tmp_path):
    client = serve()
    identifier = send(client, picture()).json()["id"]
    assert client.delete(f"/v1/inspections/{identifier}").status_code == 204
    assert client.get(f"/v1/inspections/{identifier}").status_code == 404
    assert [line["action"] for line in client.get("/v1/audit").json()][:2] == ["delete", "inspect"]


def test_knowledge_is_searched_without_the_model(serve):
    client = serve("small_inspectors:load_never", stop_seconds=0.2)
    hits = client.get("/v1/knowledge", params={"q": "weevil hole in a nut", "category": "hazelnut"}).json()
    assert any(hit["defect_type"] == "hole" for hit in hits)
    near = client.get("/v1/knowledge", params={"q": "hole", "category": "hazlenut"})
    assert near.status_code == 422
    assert "hazelnut" in near.json()["error"]["message"]
    assert any(c["category"] == "screw" for c in client.get("/v1/categories").json())


def test_metrics_count_what_happened(serve, picture):
    client = serve()
    send(client, picture(), "normal_.png")
    text = client.get("/metrics").text
    assert 'reason_iad_inspections_total{result="normal"} 1.0' in text
    assert 'route="/v1/inspections",status="200"' in text


@pytest.mark.parametrize("path", ["/openapi.json", "/", "/assets/app.css", "/assets/app.js"])
def test_the_page_and_the_description_are_served_with_safe_headers(serve, path):
    answer = serve("small_inspectors:load_never", stop_seconds=0.2).get(path)
    assert answer.status_code == 200
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


def test_every_route_of_the_description_has_an_error_shape(serve):
    from reason_iad.server.settings import Token

    tokens = (Token("someone", "viewer", hashlib.sha256(b"secret").hexdigest()),)
    client = serve("small_inspectors:load_never", stop_seconds=0.2, tokens=tokens)
    open_to_all = {"/", "/assets/{name}", "/v1/status", "/healthz", "/readyz"}
    refused = 0
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            declared = {code: found for code, found in operation["responses"].items() if code[0] in "45"}
            for code, found in declared.items():
                schema = found["content"]["application/json"]["schema"]
                expected = "HealthBody" if path == "/readyz" and code == "503" else "ErrorBody"
                assert schema == {"$ref": f"#/components/schemas/{expected}"}, (method, path, code)
            answer = client.request(method, path.replace("{id}", "0" * 32).replace("{name}", "nothing"))
            if path in open_to_all and answer.status_code != 404:
                continue
            assert answer.status_code == (404 if path in open_to_all else 401), (method, path)
            assert str(answer.status_code) in declared, (method, path)
            assert set(answer.json()) == {"error"}, (method, path)
            assert set(answer.json()["error"]) == {"code", "message", "request_id"}, (method, path)
            refused += 1
    assert refused >= 15


def test_an_uncertain_verdict_tells_a_client_why_and_what_to_check(serve, picture):
    client = serve()
    body = send(client, picture(), "uncertain_.png").json()
    assert any("50 %" in reason for reason in body["why_uncertain"])
    assert "region" in body["check_next"]
    assert send(client, picture(), "normal_.png").json()["why_uncertain"] == []
