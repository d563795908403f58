"""Put the server together.

app = create_app(Settings(data=Path("data")))
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from reason_iad import __version__
from reason_iad.errors import InputError, RecordUnavailableError
from reason_iad.languages import translatable
from reason_iad.server import (
    routes_board,
    routes_dialog,
    routes_inspections,
    routes_labels,
    routes_lines,
    routes_system,
    routes_threshold,
)
from reason_iad.server.access import AppState
from reason_iad.server.freshness import keep_fresh
from reason_iad.server.guard import Guard
from reason_iad.server.knowledge import KnowledgeSearch, load_starter
from reason_iad.server.metrics import Metrics
from reason_iad.server.model_workers import ModelWorkers
from reason_iad.server.opening import opened
from reason_iad.server.problems import HttpProblem, error_body
from reason_iad.server.queue import InspectionQueue
from reason_iad.server.security import RateLimiter, TokenBook
from reason_iad.server.settings import Settings
from reason_iad.server.shared_queue import SharedQueue
from reason_iad.server.tracing import Tracing

if TYPE_CHECKING:
    from reason_iad.knowledge.retrieve import KnowledgeBase
    from reason_iad.store.store import Store

_log = logging.getLogger("reason_iad.server")
_ABOUT = "Inspect images of industrial products: verdict, probability, regions, and what they rest on."
_CODES = {404: "not_found", 405: "wrong_method"}


def create_app(
    settings: Settings,
    load_knowledge: Callable[[], KnowledgeBase] = load_starter,
    tracing: Tracing | None = None,
    store: Store | None = None,
) -> FastAPI:
    """The server as an ASGI app; its model process starts and ends with the app's lifespan.

    Args:
        settings: everything it is started with.
        load_knowledge: what searches run over.
        tracing: where traces go; where the settings say if None.
        store: the record, if it is open already (`opening.opened`); otherwise it is opened when the lifespan begins.

    Raises:
        InputError: the record cannot be opened (when the lifespan begins), or traces be sent.
    """
    metrics, traces = Metrics(), tracing or Tracing.to(settings.traces)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        model = ModelWorkers(settings, metrics)
        model.start()  # first: it takes longest
        with ExitStack() as stack:
            try:
                record = store or stack.enter_context(opened(settings))
                queue = (SharedQueue if record.shared else InspectionQueue)(settings, record, model, metrics, traces)
                limiter = RateLimiter(settings.limits.requests_per_minute, settings.limits.burst)
                app.state.reason_iad = AppState(
                    settings, metrics, record, model, queue, KnowledgeSearch(load_knowledge), limiter,
                    TokenBook(settings, record),
                )  # fmt: skip
                await queue.start()
                fresh = asyncio.create_task(keep_fresh(model, app.state.reason_iad.knowledge), name="freshness")
                yield
                fresh.cancel()
                await queue.stop()
            finally:
                await model.stop()
                await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="Reason-IAD", version=__version__, description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None,
        separate_input_output_schemas=False,
    )  # fmt: skip
    app.include_router(routes_inspections.router)
    app.include_router(routes_dialog.router)
    app.include_router(routes_system.router)
    app.include_router(routes_threshold.router)
    app.include_router(routes_board.router)
    app.include_router(routes_lines.router)
    app.include_router(routes_labels.router)
    app.add_middleware(Guard, settings=settings, metrics=metrics, tracing=traces)
    app.add_exception_handler(HttpProblem, _on_problem)
    app.add_exception_handler(InputError, _on_input_error)
    app.add_exception_handler(RecordUnavailableError, _on_no_record)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)
    _declare_request_schema(app)
    return app


def leave(app: FastAPI) -> None:
    """Let proxies know that the process is about to stop; everything that comes meanwhile is answered as before."""
    if (state := getattr(app.state, "reason_iad", None)) is not None:
        state.queue.leaving = True


def drain(app: FastAPI) -> None:
    """Begin nothing more; called when the process is told to stop, before connections are closed."""
    if (state := getattr(app.state, "reason_iad", None)) is not None:
        state.queue.drain()


def _declare_request_schema(app: FastAPI) -> None:
    """Put the JSON body of an inspection into OpenAPI: the route reads its body by itself, so FastAPI does not know."""
    from reason_iad.server.schemas import InspectionRequest

    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            model = InspectionRequest.model_json_schema(ref_template="#/components/schemas/{model}")
            schema["components"]["schemas"]["InspectionRequest"] = model
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HttpProblem)
    return JSONResponse(error.body(_id(request)), error.status, error.headers)


async def _on_input_error(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse(error_body("not_usable", str(error), _id(request)), 422)


async def _on_no_record(request: Request, error: Exception) -> JSONResponse:
    _log.error("request %s: %s", _id(request), error)  # it may name hosts and folders, which are nobody's business
    message = "the record cannot be reached or written now; nothing that was accepted is lost: send this again soon"
    return JSONResponse(error_body("no_record", message, _id(request)), 503, {"Retry-After": "5"})


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse(error_body("invalid", f"{where}: {first['msg']}", _id(request)), 422)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "refused")
    body = error_body(code, f"{request.method} {request.url.path[:200]}: {error.detail}", _id(request))
    return JSONResponse(body, error.status_code, error.headers)


async def _on_fault(request: Request, error: Exception) -> JSONResponse:
    _log.error("request %s failed", _id(request), exc_info=error)
    message = translatable("the server failed at this; look into its log for the request's number")
    return JSONResponse(error_body("fault", message, _id(request)), 500)
