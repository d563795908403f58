"""What came of a request whose client sends it again, because it did not hear the answer: the header Idempotency-Key.

    async def ask(..., once: Once):
        return await once.done(question, lambda: ...)

The same request under the same key is done once, at whichever server of the record it arrives, and gets the first
answer again; another request under that key is refused (422), and so is one that is still being done (409). Only what
was done is kept: after an error the key is free. Without a key every request is a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder

from reason_iad.errors import KeyInUseError, KeyReusedError, RecordUnavailableError
from reason_iad.files import sha256, sha256_of_json
from reason_iad.server.access import someone, state_of
from reason_iad.server.problems import HttpProblem
from reason_iad.server.security import Principal
from reason_iad.store.idempotency import Claim, Settled

REPLAYED = "Idempotency-Replayed"
ACCEPT_SECONDS = 30.0  # for an inspection to be in the record, once its images are checked
RETRY_SECONDS = 2
_ABOUT = (
    "a string of your own for this request, such as a UUID: sent again under the same key within 24 hours, the request "
    "is not done again, and the answer is that of the first time"
)


class Idempotency:
    """The key of one request, if it came with one."""

    def __init__(self, request: Request, response: Response, who: str, key: str | None) -> None:
        self._request, self._response, self._who = request, response, who
        self.key = None if key is None else _plain(key)
        self._keys = state_of(request).store.idempotency

    async def done(self, body: Any, do: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of `do`, or that of the first time.

        Args:
            body: what was asked, beside the address: models, dataclasses, texts, files as bytes.
            do: does it; an error leaves the key as if it had not come.

        Raises:
            HttpProblem: 409 it is still being done, 422 the key came with another request.
        """
        limits = state_of(self._request).settings.limits
        async with self.claimed(body, limits.body_seconds + limits.inspection_seconds) as claim:
            if isinstance(claim, Settled):
                return claim.answer
            answer = await do()
            if claim is None:
                return answer
            answer = jsonable_encoder(answer)
            with contextlib.suppress(RecordUnavailableError):  # whoever asked hears the answer now; the claim lapses
                await asyncio.to_thread(self._keys.settle, claim, answer)
            return answer

    @asynccontextmanager
    async def claimed(self, body: Any, seconds: float = ACCEPT_SECONDS) -> AsyncIterator[Claim | Settled | None]:
        """The claim on the key, which an error in the block gives back; what came of it before; None without a key.

        Raises:
            HttpProblem: as with `done`.
        """
        if self.key is None:
            yield None
            return
        asked = await asyncio.to_thread(_fingerprint, self._request, body)
        claim: Claim | Settled | None = None
        try:
            claim = await asyncio.to_thread(self._keys.claim, self._who, self.key, asked, seconds)
            if isinstance(claim, Settled):
                self._response.headers[REPLAYED] = "true"
            yield claim
        except BaseException as error:
            if isinstance(claim, Claim):
                await self._give_back(claim)
            if isinstance(error, KeyInUseError):
                raise HttpProblem(409, "in_progress", str(error), RETRY_SECONDS) from error
            if isinstance(error, KeyReusedError):
                raise HttpProblem(422, "key_reused", str(error)) from error
            raise

    async def reopen(self, claim: Claim | Settled | None) -> None:
        """Let a request whose inspection was interrupted be done anew under its key."""
        if isinstance(claim, Claim):
            await self._give_back(claim, settled=True)

    async def _give_back(self, claim: Claim, settled: bool = False) -> None:
        with contextlib.suppress(RecordUnavailableError):  # then it lapses
            await asyncio.shield(asyncio.to_thread(self._keys.give_back, claim, settled))


def _fingerprint(request: Request, body: Any) -> str:
    """Of all that was asked, whatever form it was sent in (a form's boundary differs each time): files by digests."""
    query = sorted(pair for pair in request.query_params.multi_items() if pair[0] != "wait")
    asked = jsonable_encoder(body, custom_encoder={bytes: sha256})
    return sha256_of_json([request.method, request.url.path, query, asked], sort_keys=True)


async def _of(
    request: Request,
    response: Response,
    who: Annotated[Principal, Depends(someone)],
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", pattern="^[!-~]{1,255}$", description=_ABOUT, examples=["8e03978e-40d5-43dd"]),
    ] = None,
) -> Idempotency:
    return Idempotency(request, response, who.name, key)


def _plain(key: str) -> str:
    """The key itself, where it came in quotation marks, as the draft has it.

    >>> _plain('"8e03"'), _plain("8e03")
    ('8e03', '8e03')
    """
    return key[1:-1] if len(key) > 2 and key[0] == key[-1] == '"' else key


Once = Annotated[Idempotency, Depends(_of)]
