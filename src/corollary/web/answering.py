"""How a page becomes bytes: HTML from templates, JSON, CSV; errors as pages or JSON; tags that save sending twice."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from fastapi import Request
from starlette.responses import Response

from corollary.errors import CorollaryError, GraphMismatch, InputError, PlanDoesNotFit, UnknownName
from corollary.reports.markup import environment
from corollary.web import views
from corollary.web.jobs import Busy
from corollary.web.site import Site


class Csv(Response):
    """A table, for the description of the addresses."""

    media_type = "text/csv"


class Png(Response):
    """A picture."""

    media_type = "image/png"


Make = Callable[[], Response]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_STATUS = (
    (UnknownName, 404),
    (GraphMismatch, 409),
    (InputError, 400),
    (Busy, 429),
    (PlanDoesNotFit, 503),
)
_TITLES = {
    400: "That cannot be asked",
    404: "Not found",
    405: "Not like this",
    409: "Another graph",
    422: "That cannot be asked",
    429: "Too much at once",
    503: "Not now",
}


def site_of(request: Request) -> Site:
    found: Site = request.app.state.site
    return found


def page(request: Request, name: str, *, status: int = 200, title: str, **values: Any) -> Response:
    """A page from its template."""
    site = site_of(request)
    text = (
        environment("corollary.web")
        .get_template(name)
        .render(
            title=title,
            graph_name=site.graph.name,
            version=version("corollary"),
            here=f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
            address=views.address,
            entity_url=views.entity_address,
            **values,
        )
    )
    return Response(
        text, status, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"}
    )


def as_json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON; what is no finite number is null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False) + "\n"
    return Response(
        text, status, media_type="application/json", headers={"Cache-Control": "no-cache"} | (headers or {})
    )


def as_csv(site: Site, what: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Response:
    """A table to download. Text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return download(out.getvalue(), "text/csv; charset=utf-8", file_name(site, what, "csv"))


def download(text: str, kind: str, name: str) -> Response:
    """A file to keep."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-cache"}
    return Response(text, media_type=kind, headers=headers)


def file_name(site: Site, what: str, ending: str) -> str:
    """With graph and date, so that two downloads can be told apart."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{site.graph.name}-{what}")[:100].strip("-")
    return f"{plain or 'corollary'}-{today}.{ending}"


async def unchanging(request: Request, make: Make) -> Response:
    """An answer that depends on the address alone: 304, before any work, to who has it already."""
    text = f"{site_of(request).identity} {request.url.path}?{request.url.query}"
    tag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    response = await site_of(request).work(make)
    if response.status_code == 200:
        response.headers["ETag"] = tag
    return response


def status_of(error: CorollaryError) -> int:
    """The number of the protocol for an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def refused(request: Request, status: int, message: str) -> Response:
    """An error as a page, or as JSON where data were asked for."""
    later = {"Retry-After": "5"} if status in (429, 503) else {}
    if request.url.path.startswith("/api/") or request.url.path.endswith((".json", ".csv")):
        return as_json({"error": message}, status=status, headers=later)
    title = _TITLES.get(status, "Something went wrong")
    response = page(request, "error.html", status=status, title=title, message=message)
    response.headers.update(later)
    return response


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
