"""schemathesis against the description: what it promises holds for generated requests, good and bad."""

from __future__ import annotations

import pytest
from running import running

schemathesis = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module", params=["postgresql", pytest.param("sqlite", marks=pytest.mark.slow)])
def address(request, tmp_path_factory):
    """A server on each database; on PostgreSQL with two workers."""
    more = {}
    if request.param == "postgresql":
        more = {"database": request.getfixturevalue("kept_url"), "workers": 2}
    with running(tmp_path_factory.mktemp("home"), data=tmp_path_factory.mktemp("data"), **more) as where:
        yield where


@pytest.mark.parametrize("examples", [2, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_generated_requests_are_answered_as_described(address, examples):
    import httpx
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_dict(httpx.get(f"{address}/openapi.json", timeout=60).json())
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [one for one in operations if one.path != "/v1/board/events"]  # it has no end; test_board follows it
    assert len(operations) > 15
    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
        response_headers_conformance,
    ]  # fmt: skip
    quiet = settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True,
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    asked = 0
    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @quiet
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case):
                nonlocal asked
                asked += 1
                case.validate_response(case.call(base_url=address, timeout=60), checks=checks)

            try:
                ask()
            except BaseException as error:
                if type(error).__name__ not in ("Unsatisfiable", "SkipTest", "Skipped"):
                    raise  # an operation without parameters has no wrong ones
    assert asked > 50
