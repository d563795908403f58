"""`reason-iad serve`: the page and the HTTP interface over one or several model processes."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.cli.method import add_method_options, method_options

if TYPE_CHECKING:
    from reason_iad.server.settings import Settings

_EPILOG = """\
Without --tokens the server answers on this machine only. Make a token with
  reason-iad records token NAME --role inspector --file tokens.json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `serve`."""
    parser = subparsers.add_parser(
        "serve",
        help="run the server with its page",
        description="Run the server: a page to inspect images in, an HTTP interface, and a record of all inspections.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8321, help="port to listen on (default: 8321)")
    parser.add_argument(
        "--data", type=Path, default=Path("reason-iad-data"), metavar="DIR",
        help="folder of the record and its evidence (default: reason-iad-data)",
    )  # fmt: skip
    parser.add_argument("--database", metavar="URL", help="database of the record (default: SQLite inside --data)")
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="who may use the server: `reason-iad records token`"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="processes with a model each, which share the cores; see docs/server.md (default: 1)",
    )  # fmt: skip
    parser.add_argument("--queue", type=int, default=16, metavar="N", help="inspections that may wait (default: 16)")
    parser.add_argument(
        "--rate", type=int, default=600, metavar="N", help="requests a minute of one client (default: 600)"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a name besides its address that the server is reached by without tokens",
    )  # fmt: skip
    parser.add_argument(
        "--traces", metavar="URL",
        help="send traces to this collector of OpenTelemetry (OTLP over HTTP), such as http://127.0.0.1:4318",
    )  # fmt: skip
    add_method_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 then."""
    settings = settings_of(args)
    serve(settings)
    return 0


def settings_of(args: argparse.Namespace) -> Settings:
    """Check the arguments.

    Raises:
        InputError: they would be unsafe or meaningless.
    """
    from reason_iad.cli.batch import check_method
    from reason_iad.errors import InputError
    from reason_iad.server.settings import Limits, Settings, read_tokens

    check_method(args)
    if args.rate < 1:
        raise InputError(f"the rate is {args.rate}; expected at least 1 request a minute")
    return Settings(
        data=args.data,
        database=args.database,
        host=args.host,
        port=args.port,
        tokens=() if args.tokens is None else read_tokens(args.tokens),
        queue_size=args.queue,
        workers=args.workers,
        limits=Limits(requests_per_minute=args.rate, burst=max(1, args.rate // 5)),
        allowed_hosts=tuple(args.allow_host),
        traces=args.traces,
        method=method_options(args),
    )


def serve(settings: Settings) -> None:
    """Run the server until SIGINT or SIGTERM; what runs is finished first."""
    import uvicorn

    from reason_iad.server.app import create_app, drain

    app = create_app(settings)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            drain(app)  # before connections are closed: those who wait for a queued inspection are told
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", timeout_keep_alive=20,
        limit_concurrency=512, server_header=False, timeout_graceful_shutdown=int(settings.stop_seconds) + 5,
    )  # fmt: skip
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"Serving on http://{host}:{settings.port}/ (stop with Ctrl+C); the model is loading", flush=True)
    server = Server(config)
    signal.signal(signal.SIGTERM, server.handle_exit)
    server.run()
