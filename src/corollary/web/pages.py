"""Pages that look things up, each also as .json and, where it has a table, as .csv of exactly what is shown."""

import threading
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from corollary.errors import InputError, UnknownName
from corollary.reports.markup import without_styles
from corollary.web import views
from corollary.web.answering import Csv, Png, as_csv, as_json, page, site_of, unchanging
from corollary.web.site import Shown, Side

router = APIRouter()
_DRAWING = threading.Lock()  # matplotlib keeps its settings for the whole process

NAME = 8000
"""Letters of a name in an address."""
Name = Annotated[str, Query(max_length=NAME)]
Wanted = Annotated[str | None, Query(max_length=NAME)]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=100_000)]
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "what was asked makes no sense"},
    404: {"description": "a name that is not there"},
    409: {"description": "the link was made for another graph"},
    422: {"description": "a value of the wrong kind or size"},
    429: {"description": "too much waits already"},
    503: {"description": "it took too long"},
}


@router.get("/", include_in_schema=False)
async def home(request: Request) -> Response:
    return await unchanging(
        request, lambda: page(request, "home.html", title="Explorer", **views.home(site_of(request)))
    )


@router.get("/index.json", responses=ERRORS, summary="Graph, runs and examples")
async def home_json(request: Request) -> Response:
    return await unchanging(request, lambda: as_json(views.home(site_of(request))))


@router.get("/search", include_in_schema=False)
async def search(request: Request, q: Name = "", offset: Offset = 0) -> Response:
    site = site_of(request)

    def make() -> Response:
        found = views.search(site, q, views.SHOWN, offset)
        return page(
            request, "search.html", title=f"Search: {q[:60]}" if q else "Search", step=views.SHOWN,
            number=views.counted(site, q) if q else "", **found,
        )  # fmt: skip

    return await unchanging(request, make)


@router.get(
    "/search.json", responses=ERRORS, summary="Entities whose name holds all words, the best known first"
)
async def search_json(request: Request, q: Name = "", limit: Limit = 10, offset: Offset = 0) -> Response:
    # Less than a millisecond: a thread would cost more than the look-up (bench/explorer.py).
    return as_json(views.search(site_of(request), q, limit, offset))


@router.get("/search.csv", response_class=Csv, responses=ERRORS, summary="The same as a table")
async def search_csv(
    request: Request, q: Name = "", limit: Limit = views.SHOWN, offset: Offset = 0
) -> Response:
    site = site_of(request)
    return as_csv(site, "search", *views.search_table(views.search(site, q, limit, offset)))


@router.get("/entity", include_in_schema=False)
async def entity(
    request: Request, id: Name, relation: Wanted = None, side: Side = "tail", offset: Offset = 0
) -> Response:
    def make() -> Response:
        site = site_of(request)
        found = views.entity_page(site, id, relation, side, offset)
        relations = site.graph.relations.labels[:500]
        return page(
            request, "entity.html", title=found["entity"]["name"][:100], step=10 * views.SHOWN, relations=relations,
            **found,
        )  # fmt: skip

    return await unchanging(request, make)


@router.get("/entity.json", responses=ERRORS, summary="Facts of an entity, by relation")
async def entity_json(
    request: Request, id: Name, relation: Wanted = None, side: Side = "tail", offset: Offset = 0
) -> Response:
    site = site_of(request)
    return await unchanging(request, lambda: as_json(views.entity_page(site, id, relation, side, offset)))


@router.get("/entity.csv", response_class=Csv, responses=ERRORS, summary="The same as a table of facts")
async def entity_csv(
    request: Request, id: Name, relation: Wanted = None, side: Side = "tail", offset: Offset = 0
) -> Response:
    site = site_of(request)

    def make() -> Response:
        found = views.entity_page(site, id, relation, side, offset)
        return as_csv(site, f"facts-{id}", *views.entity_table(found))

    return await unchanging(request, make)


@router.get("/predict", include_in_schema=False)
async def predict(
    request: Request,
    head: Wanted = None,
    relation: Wanted = None,
    tail: Wanted = None,
    run: Wanted = None,
    k: Limit = 20,
    new: bool = False,
) -> Response:
    site = site_of(request)

    def make() -> Response:
        question = views.asking(site, head, relation, tail)
        found = None if question is None else views.predict(site, question, run or None, k, new)
        return page(
            request, "predict.html", title="Answers" if found else "Ask", found=found, runs=site.ranking, k=k,
            relations=site.graph.relations.labels[:500],
        )  # fmt: skip

    return await unchanging(request, make)


@router.get(
    "/predict.json", responses=ERRORS, summary="The most plausible tails or heads of a question, by one run"
)
async def predict_json(
    request: Request,
    relation: Name,
    head: Wanted = None,
    tail: Wanted = None,
    run: Wanted = None,
    k: Limit = 20,
    new: bool = False,
) -> Response:
    site = site_of(request)
    return (
        await unchanging(request, lambda: as_json(_predicted(request, head, relation, tail, run, k, new)))
        if site.ranking
        else as_json({"error": "no run here ranks facts"}, status=400)
    )


@router.get("/predict.csv", response_class=Csv, responses=ERRORS, summary="The same as a table")
async def predict_csv(
    request: Request,
    relation: Name,
    head: Wanted = None,
    tail: Wanted = None,
    run: Wanted = None,
    k: Limit = 20,
    new: bool = False,
) -> Response:
    def make() -> Response:
        found = _predicted(request, head, relation, tail, run, k, new)
        return as_csv(site_of(request), f"{found['run']}-answers", *views.predict_table(found))

    return await unchanging(request, make)


def _predicted(
    request: Request, head: str | None, relation: str, tail: str | None, run: str | None, k: int, new: bool
) -> views.View:
    site = site_of(request)
    question = views.asking(site, head, relation, tail)
    if question is None:
        raise InputError("a question has a relation and one of head and tail: the other is what is asked for")
    return views.predict(site, question, run or None, k, new)


@router.get("/model", include_in_schema=False)
async def model(request: Request, run: Name) -> Response:
    shown = site_of(request).run(run)

    def make() -> Response:
        others = [one for one in site_of(request).runs if one.name != run]
        return page(request, "model.html", shown=shown, others=others, **_parts(shown))

    return await site_of(request).work(make)


@router.get("/model.json", responses=ERRORS, summary="Configuration, figures, curves and memory of a run")
async def model_json(request: Request, run: Name) -> Response:
    shown = site_of(request).run(run)
    return await site_of(request).work(lambda: as_json(views.model(shown)))


@router.get(
    "/model.csv", response_class=Csv, responses=ERRORS, summary="Figures of a run by relation and side"
)
async def model_csv(request: Request, run: Name) -> Response:
    site = site_of(request)
    shown = site.run(run)
    return await site.work(lambda: as_csv(site, f"{run}-relations", *views.model_table(views.model(shown))))


@router.get("/model/embeddings", include_in_schema=False)
async def embeddings(request: Request, run: Name) -> Response:
    site = site_of(request)
    shown = site.run(run)

    def make() -> Response:
        return page(request, "embeddings.html", title=f"Embeddings of {run}", **views.embeddings(site, shown))

    return await unchanging(request, make)


@router.get("/model/embeddings.json", responses=ERRORS, summary="How the embeddings of a run stand, by type")
async def embeddings_json(request: Request, run: Name) -> Response:
    site = site_of(request)
    shown = site.run(run)
    return await unchanging(request, lambda: as_json(views.embeddings(site, shown)))


@router.get(
    "/model/disk.png",
    response_class=Png,
    responses=ERRORS,
    summary="The embedded taxonomy of a run as a picture",
)
async def disk(request: Request, run: Name) -> Response:
    site = site_of(request)
    shown = site.run(run)
    if shown.embeds != "disk" or site.disk is None:
        raise UnknownName(f"{run} is a run of {shown.learner}, which has no disk to draw")
    draw = site.disk

    def make() -> Response:
        with _DRAWING:
            return Png(draw(shown.name))

    return await unchanging(request, make)


def _parts(shown: Shown) -> views.View:
    """Kept until a file of the run changes: drawings take a second."""
    written = ("config", "evaluation", "predictions", "taxonomy", "audit", "baseline")
    names = ("metrics.jsonl", *(f"{name}.json" for name in written))
    with _DRAWING:
        return _kept_parts(shown, views.changed({name: shown.folder.path / name for name in names}))


@lru_cache(maxsize=16)
def _kept_parts(shown: Shown, _changed: tuple[tuple[str, int], ...]) -> views.View:
    found = views.model_parts(shown)
    for section, key in (("learning", "plots"), ("memory", "plot")):
        if found[section]:
            drawn = found[section][key]
            plain = (
                [without_styles(one) for one in drawn] if isinstance(drawn, list) else without_styles(drawn)
            )
            found[section] = {**found[section], key: plain}
    return found


@router.get("/compare", include_in_schema=False)
async def compare(request: Request, left: Wanted = None, right: Wanted = None) -> Response:
    site = site_of(request)

    def make() -> Response:
        found = views.compare(site, left, right) if left and right else None
        return page(request, "compare.html", title="Compare two runs", runs=site.runs, found=found)

    return await site.work(make)


@router.get("/compare.json", responses=ERRORS, summary="Figures and options of two runs side by side")
async def compare_json(request: Request, left: Name, right: Name) -> Response:
    site = site_of(request)
    return await site.work(lambda: as_json(views.compare(site, left, right)))


@router.get(
    "/compare.csv", response_class=Csv, responses=ERRORS, summary="The figures by relation as a table"
)
async def compare_csv(request: Request, left: Name, right: Name) -> Response:
    site = site_of(request)
    return await site.work(
        lambda: as_csv(site, f"{left}-{right}", *views.compare_table(views.compare(site, left, right)))
    )


@router.get("/help/reading", include_in_schema=False)
async def reading(request: Request) -> Response:
    return page(request, "reading.html", title="How to read an explanation")


@router.get("/api", include_in_schema=False)
async def api(request: Request) -> Response:
    described = request.app.openapi()
    rows = [
        {
            "method": method.upper(),
            "path": path,
            "summary": what.get("summary", ""),
            "values": [
                {"name": one["name"], "required": one.get("required", False)}
                for one in what.get("parameters", [])
            ],
        }
        for path, methods in described["paths"].items()
        for method, what in methods.items()
    ]
    return page(request, "api.html", title="For programs", rows=rows)
