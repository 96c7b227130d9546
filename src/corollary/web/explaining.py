"""The page of one prediction, and the explanations behind it: begun, followed, cancelled, kept."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response, StreamingResponse

from corollary.errors import GraphMismatch, InputError, UnknownName
from corollary.records.explanation import Explanation
from corollary.reports.explanation import as_html, explanation_json, view
from corollary.web import views
from corollary.web.answering import (
    Csv,
    as_csv,
    as_json,
    download,
    file_name,
    page,
    refused,
    site_of,
    unchanging,
)
from corollary.web.jobs import Job, Jobs
from corollary.web.pages import ERRORS, NAME, Name, Wanted
from corollary.web.site import Asked, Side, Site

router = APIRouter()

AT_ONCE = 0.7
"""Seconds that a page waits for a quick explanation before it shows progress."""
_PAUSE = 0.1
"""Seconds between looks at a job whose events are sent."""
_PING = 15.0
"""Seconds of silence after which a line is sent that says nothing, so that a reader who has left is noticed."""
_STREAMED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

Key = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
UNDER_WAY: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    202: {"description": "under way: ask again, or follow the events"},
}


class Events(StreamingResponse):
    """Server-sent events. FastAPI's own wrote a traceback whenever a reader left (0.165)."""

    media_type = "text/event-stream"


class Wish(BaseModel):
    """A prediction to be explained."""

    model_config = ConfigDict(extra="forbid")
    head: Annotated[str, Field(max_length=NAME)]
    relation: Annotated[str, Field(max_length=NAME)]
    tail: Annotated[str, Field(max_length=NAME)]
    side: Side = "tail"
    runs: Annotated[list[Annotated[str, Field(max_length=NAME)]], Field(max_length=20)] = []
    """Names; none: all."""


@router.get("/prediction", include_in_schema=False)
async def prediction(
    request: Request, head: Name, relation: Name, tail: Name, side: Side = "tail", runs: Wanted = None
) -> Response:
    asked = asked_of(request, head, relation, tail, side, runs)
    key = _jobs(request).key(asked)
    found, job = await begun(request, asked)
    if found is not None:
        made = found
        return await unchanging(request, lambda: _explained(request, asked, made))
    assert job is not None
    if job.state == "failed":
        return refused(request, 500, job.message)
    if job.state == "cancelled":
        return refused(request, 503, "this explanation was cancelled, or took too long")
    ends = {"head": asked.head, "relation": asked.relation, "tail": asked.tail}
    back = views.address(
        "/predict", relation=relation, **({"head": head} if side == "tail" else {"tail": tail})
    )
    return page(
        request,
        "pending.html",
        title="Explaining",
        status=202,
        asked=ends,
        job=job.as_dict(),
        key=key,
        back=back,
    )


@router.get("/prediction.json", responses=UNDER_WAY, summary="All reasons for one prediction")
async def prediction_json(
    request: Request, head: Name, relation: Name, tail: Name, side: Side = "tail", runs: Wanted = None
) -> Response:
    asked = asked_of(request, head, relation, tail, side, runs)
    found, job = await begun(request, asked)
    if found is None:
        return _under_way(job)
    made = found
    text = explanation_json(made)
    return await unchanging(request, lambda: Response(text, media_type="application/json"))


@router.get(
    "/prediction.csv",
    response_class=Csv,
    responses=UNDER_WAY,
    summary="The facts that its reasons cite, as a table",
)
async def prediction_csv(
    request: Request, head: Name, relation: Name, tail: Name, side: Side = "tail", runs: Wanted = None
) -> Response:
    asked = asked_of(request, head, relation, tail, side, runs)
    found, job = await begun(request, asked)
    if found is None:
        return _under_way(job)
    return as_csv(site_of(request), f"facts-{head}-{relation}-{tail}", *views.facts_table(found))


@router.get("/prediction/report", include_in_schema=False)
async def prediction_report(
    request: Request, head: Name, relation: Name, tail: Name, side: Side = "tail", runs: Wanted = None
) -> Response:
    asked = asked_of(request, head, relation, tail, side, runs)
    found, job = await begun(request, asked)
    if found is None:
        return _under_way(job)
    made, name = found, file_name(site_of(request), f"{head}-{relation}-{tail}", "html")
    return await site_of(request).work(lambda: download(as_html(made), "text/html; charset=utf-8", name))


@router.post(
    "/api/explanations", responses=UNDER_WAY, summary="Begin an explanation; the same wish gives the same key"
)
async def begin(request: Request, wish: Wish) -> Response:
    asked = asked_of(request, wish.head, wish.relation, wish.tail, wish.side, ",".join(wish.runs))
    key = _jobs(request).key(asked)
    if _jobs(request).made(key) is not None:
        return as_json({"key": key, "state": "done", "steps": [], "message": ""})
    return _under_way(_jobs(request).start(asked))


@router.get("/api/explanations/{key}", responses=UNDER_WAY, summary="The explanation, or how far it is")
async def look(request: Request, key: Key) -> Response:
    jobs = _jobs(request)
    found, job = jobs.made(key), jobs.find(key)
    if found is not None:
        return Response(explanation_json(found), media_type="application/json")
    if job is None:
        raise UnknownName(f"there is no explanation {key[:12]}…: begin it again")
    return _under_way(job)


@router.get(
    "/api/explanations/{key}/events",
    response_class=Events,
    responses=ERRORS,
    summary="Its parts as they begin, then done, failed or cancelled",
)
async def events(request: Request, key: Key) -> Response:
    last = request.headers.get("last-event-id", "")
    seen = int(last) if last.isdecimal() and len(last) < 9 else 0
    job = _jobs(request).find(key)
    if job is None:
        state = "done" if _jobs(request).made(key) is not None else "cancelled"
        return Events([_event(state, 0, {"key": key, "message": ""})], headers=_STREAMED)
    return Events(_followed(job, seen), headers=_STREAMED)


async def _followed(job: Job, seen: int) -> AsyncIterator[bytes]:
    """What is begun after step `seen`, until the job is over or the reader has left."""
    job.listeners += 1
    silent = 0.0
    try:
        while True:
            over = job.over
            for step in job.steps[seen:]:
                seen, silent = step.number, 0.0
                yield _event("step", seen, {"part": step.part, "seconds": step.seconds})
            if over:
                yield _event(job.state, seen, {"key": job.key, "message": job.message})
                return
            await asyncio.sleep(_PAUSE)
            silent += _PAUSE
            if silent >= _PING:
                silent = 0.0
                yield b": waiting\n\n"
    finally:
        job.listeners -= 1
        job.touch()


def _event(kind: str, number: int, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()


@router.delete("/api/explanations/{key}", responses=ERRORS, summary="Give it up")
async def give_up(request: Request, key: Key) -> Response:
    return _cancelled(request, key)


@router.post("/api/explanations/{key}/cancel", responses=ERRORS, summary="The same, for forms")
async def cancel(request: Request, key: Key) -> Response:
    job = _jobs(request).find(key)
    response = _cancelled(request, key)
    if job is None or "text/html" not in request.headers.get("accept", ""):
        return response
    given = {"head": job.asked.head} if job.asked.side == "tail" else {"tail": job.asked.tail}
    return RedirectResponse(views.address("/predict", relation=job.asked.relation, **given), 303)


def _cancelled(request: Request, key: str) -> Response:
    if not _jobs(request).cancel(key):
        raise UnknownName(f"there is no explanation {key[:12]}… under way")
    return as_json({"key": key, "state": "cancelled"})


def _jobs(request: Request) -> Jobs:
    found: Jobs = request.app.state.jobs
    return found


def asked_of(request: Request, head: str, relation: str, tail: str, side: Side, runs: str | None) -> Asked:
    """In labels of the graph. Raises `UnknownName`, `InputError`, `GraphMismatch` where the link is of another graph."""
    site, mark = site_of(request), request.query_params.get("as")
    if mark is not None and not (len(mark) >= 6 and site.graph.fingerprint.startswith(mark)):
        raise GraphMismatch(
            f"this link was made for another graph ({mark[:12]}) than the one shown here "
            f"({site.graph.name}, {site.graph.fingerprint[:12]}): take 'as' out of it to see what this graph says"
        )
    label = site.graph.entities.label
    return Asked(
        label(site.entity(head)),
        site.graph.relations.label(site.relation(relation)),
        label(site.entity(tail)),
        side,
        _runs(site, runs),
    )


def _runs(site: Site, names: str | None) -> tuple[str, ...]:
    """Those that are named, between commas, in the order of the site; none: all."""
    wanted = {site.run(name).name for name in (names or "").split(",") if name}
    chosen = tuple(run for run in site.runs if not wanted or run.name in wanted)
    if not any(run.ranks for run in chosen):
        raise InputError("none of these runs ranks facts: name at least one that does")
    return tuple(run.name for run in chosen)


async def begun(request: Request, asked: Asked) -> tuple[Explanation | None, Job | None]:
    """The explanation where it is made already or within a moment, else the job that makes it."""
    jobs, site = _jobs(request), site_of(request)
    key = jobs.key(asked)
    found = await site.work(lambda: jobs.made(key))
    if found is not None:
        return found, None
    if request.headers.get("sec-fetch-dest", "document") not in ("document", "empty"):
        raise InputError("explanations are made for pages and programs, not as parts of other pages")
    job = jobs.start(asked)
    for _ in range(round(AT_ONCE / _PAUSE)):
        if job.over:
            break
        await asyncio.sleep(_PAUSE)
    return (jobs.made(key), job) if job.state == "done" else (None, job)


def _under_way(job: Job | None) -> Response:
    assert job is not None
    state = job.as_dict()
    if job.state in ("failed", "cancelled"):
        return as_json({"error": job.message or "it was cancelled", **state}, status=503)
    place = f"/api/explanations/{job.key}"
    return as_json(
        {**state, "events": f"{place}/events"}, status=202, headers={"Location": place, "Retry-After": "1"}
    )


def _explained(request: Request, asked: Asked, found: Explanation) -> Response:
    site = site_of(request)
    runs = None if asked.runs == tuple(run.name for run in site.runs) else ",".join(asked.runs)
    values = {
        "head": asked.head, "relation": asked.relation, "tail": asked.tail, "side": asked.side, "runs": runs,
        "as": site.graph.fingerprint[:12],
    }  # fmt: skip
    links = {
        kind: views.address(path, **values)
        for kind, path in (
            ("link", "/prediction"),
            ("json", "/prediction.json"),
            ("csv", "/prediction.csv"),
            ("report", "/prediction/report"),
        )
    }
    title = f"{found.head.name[:60]} – {found.relation.name[:60]} – {found.tail.name[:60]}"
    hidden = {name: value for name, value in values.items() if value is not None}
    return page(
        request, "prediction.html", title=title, x=found, view=view(found, views.entity_address), links=links,
        asked_as=hidden, rule_url=views.rule_address,
    )  # fmt: skip
