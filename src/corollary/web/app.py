"""The explorer as an ASGI application."""

import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from corollary.errors import CorollaryError
from corollary.reports.explanation import asset
from corollary.web import evidence, explaining, pages
from corollary.web.answering import refused, status_of
from corollary.web.guarding import SECONDS, Guard
from corollary.web.jobs import Jobs
from corollary.web.site import Site

_TOLD_NOBODY: Any = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
"""What is asked here goes nowhere, whatever the environment says; versions of FastAPI that tell nobody take it too."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def create_app(
    site: Site, *, hosts: Sequence[str] = (), seconds: float = SECONDS, cache: Path | None = None
) -> FastAPI:
    """Make the application.

    Args:
        hosts: names under which it may be asked for, beside those of the loopback address.
        seconds: for any answer but a stream of events.
        cache: folder where explanations are kept for the next start.
    """
    jobs = Jobs(site.explain, site.identity, cache)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()
        site.close()

    app = FastAPI(
        title="Corollary explorer",
        description="What models of a knowledge graph predict, and why. Names are labels of the graph.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        telemetry=_TOLD_NOBODY,
        lifespan=life,
    )
    app.state.site, app.state.jobs = site, jobs
    app.include_router(pages.router)
    app.include_router(explaining.router)
    app.include_router(evidence.router)
    mimetypes.add_type("text/javascript", ".js")  # some systems say text/plain, which no browser runs
    app.add_api_route("/static/page.css", _shared("page.css", "text/css"), include_in_schema=False)
    app.add_api_route(
        "/static/explanation.js", _shared("explanation.js", "text/javascript"), include_in_schema=False
    )
    app.mount("/static", StaticFiles(directory=str(files("corollary.web").joinpath("static"))))
    app.add_exception_handler(CorollaryError, _known_error)
    app.add_exception_handler(RequestValidationError, _wrong_value)
    app.add_exception_handler(HTTPException, _protocol_error)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    app.add_middleware(Guard, hosts=(*LOOPBACK, *hosts), seconds=seconds)
    return app


def _shared(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """Style and script that the one-file report holds too."""

    async def serve(request: Request) -> Response:
        site: Site = request.app.state.site
        tag = f'W/"{site.identity[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(asset(name), media_type=f"{kind}; charset=utf-8", headers=headers)

    return serve


async def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CorollaryError)
    return refused(request, status_of(error), str(error))


async def _wrong_value(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return refused(request, 422, f"{place}: {first['msg']}")


async def _protocol_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "there is no such page" if error.status_code == 404 else str(error.detail)
    response = refused(request, error.status_code, what)
    response.headers.update(error.headers or {})
    return response
