"""`reason-iad serve`: the page and the HTTP interface over one or several model processes."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.cli.database import add_database
from reason_iad.cli.method import add_method_options, method_options
from reason_iad.languages import say

if TYPE_CHECKING:
    from reason_iad.server.settings import Settings
    from reason_iad.store.store import Store

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
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8321, help="port to listen on (default: 8321)")
    parser.add_argument(
        "--data", type=Path, default=Path("reason-iad-data"), metavar="DIR",
        help="folder of the record and its evidence (default: reason-iad-data)",
    )  # fmt: skip
    add_database(parser)
    parser.add_argument(
        "--files", metavar="PLACE",
        help="folder or s3:// address of images and maps (default: evidence inside --data; see docs/operations.md)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", metavar="FILE",
        help="who may use the server: a file of `reason-iad records token`, or the word record for those kept there",
    )  # fmt: skip
    parser.add_argument(
        "--mirror", action="store_true",
        help="share profiles and knowledge with other servers through the record, where their machines share no folder",
    )  # fmt: skip
    parser.add_argument(
        "--linger", type=float, default=0.0, metavar="S",
        help="seconds between being told to stop and stopping, while /readyz says so and requests are answered "
        "(default: 0)",
    )  # fmt: skip
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
    if not 0 <= args.linger <= 600:
        raise InputError(f"--linger is {args.linger:g}; expected 0 to 600 seconds")
    source: Any = None if args.tokens is None else "record" if args.tokens == "record" else Path(args.tokens)
    return Settings(
        data=args.data,
        database=args.database,
        evidence=args.files,
        host=args.host,
        port=args.port,
        tokens=read_tokens(source) if isinstance(source, Path) else (),
        token_source=source,
        linger_seconds=args.linger,
        mirror=args.mirror,
        queue_size=args.queue,
        workers=args.workers,
        limits=Limits(requests_per_minute=args.rate, burst=max(1, args.rate // 5)),
        allowed_hosts=tuple(args.allow_host),
        traces=args.traces,
        method=method_options(args),
    )


def serve(settings: Settings) -> None:
    """Run the server until SIGINT or SIGTERM; what runs is finished first."""
    from reason_iad.server.opening import opened

    with opened(settings) as store:  # before anything is loaded: a record that cannot be used is said at once
        _serve(settings, store)


def _serve(settings: Settings, store: Store) -> None:
    import asyncio

    import uvicorn

    from reason_iad.server.app import create_app, drain, leave

    app = create_app(settings, store=store)

    class Server(uvicorn.Server):
        lingers = settings.linger_seconds > 0

        def handle_exit(self, sig: int, frame: Any) -> None:
            if self.lingers and self.started:
                self.lingers = False  # told again, it stops at once
                leave(app)
                loop = asyncio.get_running_loop()
                loop.call_soon_threadsafe(loop.call_later, settings.linger_seconds, self.handle_exit, sig, None)
                return
            drain(app)  # before connections are closed: those who wait for a queued inspection are told
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", timeout_keep_alive=20,
        limit_concurrency=512, server_header=False, timeout_graceful_shutdown=int(settings.stop_seconds) + 5,
    )  # fmt: skip
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"Serving on http://{host}:{settings.port}/ (stop with Ctrl+C); the model is loading")
    server = Server(config)
    signal.signal(signal.SIGTERM, server.handle_exit)
    server.run()
