"""What stands before every page: hosts, sizes, time, and the headers that let a browser run nothing foreign.

A pure ASGI application around another: what FastAPI's `@app.middleware` makes hides from streams that their reader left.
"""

import asyncio
import logging
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
LARGEST = 64 * 1024
"""Bytes of a request's body."""
SECONDS = 30.0
"""For any answer but a stream of events."""
_LOG = logging.getLogger("uvicorn.error")
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Guard:
    """Refuses by host, origin and size; ends what takes too long; adds the headers."""

    def __init__(
        self, app: ASGIApp, *, hosts: Sequence[str], seconds: float = SECONDS, largest: int = LARGEST
    ) -> None:
        """
        Args:
            hosts: names, without port, under which the page may be asked for; `*`: any.
        """
        self._app, self._hosts, self._seconds, self._largest = app, frozenset(hosts), seconds, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                there = {name for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in added if name not in there),
                ]
            await send(message)

        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["method"] in _CHANGING:
            body = await _body(receive, self._largest)
            refusal = None if body is not None else (413, f"more than {self._largest} bytes were sent")
            receive = _again(body or b"", receive)
        if refusal is not None:
            await _refuse(guarded, *refusal)
            return
        limit = None if scope["path"].endswith("/events") else self._seconds
        try:
            async with asyncio.timeout(limit):
                await self._app(scope, receive, guarded)
        except TimeoutError:
            if begun:
                raise
            await _refuse(guarded, 503, f"this took longer than {self._seconds:g} seconds and was ended")
        except Exception:  # of any view: the page stays up, the log has the trace, the visitor a 500
            if begun:
                raise
            _LOG.exception("%s %s", scope["method"], scope["path"])
            await _refuse(
                guarded, 500, "a fault of the program; what it was stands where the page was started"
            )

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """Status and reason, where the request is refused for its headers."""
        host = _without_port(headers.get(b"host", ""))
        if "*" not in self._hosts and host not in self._hosts:
            return 400, f"this page is not served as {host[:100]!r}: start it with --host to name where it is"
        site = headers.get(b"sec-fetch-site", "none")
        if scope["method"] in _CHANGING and site not in ("same-origin", "none"):
            return 403, "only this page itself may change something here"
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length) > self._largest:
            return 413, f"more than {self._largest} bytes were sent"
        return None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


async def _body(receive: Receive, largest: int) -> bytes | None:
    """The whole body, None where it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more, then whatever comes."""
    read = False

    async def replayed() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(send: Send, status: int, reason: str) -> None:
    text = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
