"""Evidence looked at more closely: a prediction scored again without ticked facts, a rule with all its pairs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from corollary.errors import InputError
from corollary.records.explanation import Explanation
from corollary.records.rule_sheet import RuleSheet, Which
from corollary.web import views
from corollary.web.answering import Csv, as_csv, as_json, page, site_of, unchanging
from corollary.web.explaining import UNDER_WAY, asked_of, begun
from corollary.web.pages import ERRORS, Limit, Name, Offset, Wanted
from corollary.web.site import Asked, Side, Site

router = APIRouter()

Numbers = Annotated[list[Annotated[int, Query(ge=1)]], Query(max_length=100)]
"""Facts by their numbers in the explanation."""
Ticked = Annotated[list[Annotated[int, Query(ge=1)]] | None, Query(max_length=100)]
_PAIRS = 50
"""Of a rule, on one page."""


@router.get("/what-if", include_in_schema=False)
async def what_if(
    request: Request, head: Name, relation: Name, tail: Name, side: Side = "tail", runs: Wanted = None,
    fact: Ticked = None,
) -> Response:  # fmt: skip
    asked = asked_of(request, head, relation, tail, side, runs)
    found, _ = await begun(request, asked)
    if found is None:  # it is made first; the page of the prediction shows how far it is
        return RedirectResponse(_explained_at(asked), 303)
    view = await site_of(request).work(lambda: _without(site_of(request), asked, found, fact or []))
    return page(
        request, "what_if.html", title="Without some facts", x=found, back=_explained_at(asked), **view
    )


@router.get(
    "/what-if.json", responses=UNDER_WAY, summary="A prediction scored again without some of its facts"
)
async def what_if_json(
    request: Request, head: Name, relation: Name, tail: Name, fact: Numbers, side: Side = "tail", runs: Wanted = None,
) -> Response:  # fmt: skip
    asked = asked_of(request, head, relation, tail, side, runs)
    found, job = await begun(request, asked)
    if found is None:
        assert job is not None
        return as_json(job.as_dict(), status=202, headers={"Retry-After": "1"})
    view = await site_of(request).work(lambda: _without(site_of(request), asked, found, fact))
    return as_json({"without": fact, "ranks": [one.model_dump(mode="json") for one in view["ranks"]]})


def _explained_at(asked: Asked) -> str:
    return views.address(
        "/prediction", head=asked.head, relation=asked.relation, tail=asked.tail, side=asked.side,
        runs=",".join(asked.runs),
    )  # fmt: skip


def _without(site: Site, asked: Asked, found: Explanation, numbers: list[int]) -> views.View:
    """Ranks again. Raises `InputError` where nothing is ticked, or a number stands for no training fact."""
    facts = {fact.id: fact for fact in found.facts if fact.split == "train"}
    if not numbers:
        raise InputError("tick at least one fact that is to be taken away")
    if wrong := [number for number in numbers if number not in facts]:
        raise InputError(
            f"fact {wrong[0]} is no training fact of this explanation, so nothing can be taken away"
        )
    chosen = [facts[number] for number in sorted(set(numbers))]
    ranks = site.what_if(asked, {fact.id: (fact.head, fact.relation, fact.tail) for fact in chosen})
    return {"facts": chosen, "ranks": ranks}


@router.get("/rule", include_in_schema=False)
async def rule(request: Request, run: Name, rule: Name, which: Which = "all", offset: Offset = 0) -> Response:
    site = site_of(request)
    chosen = site.run(run).name

    def make() -> Response:
        sheet = site.rule(chosen, rule, which, offset, _PAIRS)
        return page(request, "rule.html", title=f"Rule of {run}", sheet=sheet, step=_PAIRS)

    return await unchanging(request, make)


@router.get(
    "/rule.json", responses=ERRORS, summary="A counted rule of a run, with some of the pairs it gives"
)
async def rule_json(
    request: Request, run: Name, rule: Name, which: Which = "all", limit: Limit = _PAIRS, offset: Offset = 0
) -> Response:
    site = site_of(request)
    chosen = site.run(run).name
    return await unchanging(
        request, lambda: as_json(site.rule(chosen, rule, which, offset, limit).model_dump(mode="json"))
    )


@router.get("/rule.csv", response_class=Csv, responses=ERRORS, summary="Its pairs as a table")
async def rule_csv(
    request: Request, run: Name, rule: Name, which: Which = "all", limit: Limit = _PAIRS, offset: Offset = 0
) -> Response:
    site = site_of(request)
    chosen = site.run(run).name

    def make() -> Response:
        return as_csv(site, f"{run}-rule", *_table(site.rule(chosen, rule, which, offset, limit)))

    return await unchanging(request, make)


def _table(sheet: RuleSheet) -> views.Table:
    rows = [[one.head.label, sheet.relation.label, one.tail.label, one.split] for one in sheet.pairs]
    return ["head", "relation", "tail", "split"], rows
