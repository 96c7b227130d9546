"""The content of each page as plain data: what its template shows, its .json returns and its .csv lists."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from corollary.errors import InputError, UnknownName
from corollary.records.explanation import Explanation
from corollary.records.run_folder import RunFolder
from corollary.reports import html
from corollary.reports.evidence import cited
from corollary.reports.values import dig, figure_of, finite, flat
from corollary.web.search import MOST_COUNTED
from corollary.web.site import Question, Shown, Side, Site

SHOWN = 20
"""Rows of a list before the rest is on another page."""
_FIGURES = ("mrr", "hits@1", "hits@3", "hits@10")
_EXAMPLES = 6
_NEAR = 8

View = dict[str, Any]


def address(path: str, **values: Any) -> str:
    """A link within the page; values that are None are left out."""
    found = {key: value for key, value in values.items() if value is not None}
    return f"{path}?{urlencode(found)}" if found else path


def entity_address(label: str) -> str:
    return address("/entity", id=label)


def rule_address(reason_id: str, formula: str) -> str:
    """Of the page of a rule that an explanation cites as `run:row`."""
    return address("/rule", run=reason_id.rpartition(":")[0], rule=formula)


def entity(site: Site, row: int) -> View:
    """One entity as lists show it."""
    graph, code = site.graph, -1 if site.graph.types is None else int(site.graph.types[row])
    label = graph.entities.label(row)
    return {
        "id": row,
        "label": label,
        "name": graph.entities.name(row),
        "type": graph.info.node_types[code] if code >= 0 else None,
        "degree": int(site.search.degrees[row]),
        "url": entity_address(label),
    }


def home(site: Site) -> View:
    """The graph, the runs with their figures, and where to begin."""
    return {
        "graph": _graph(site),
        "runs": [_run(run) for run in site.runs],
        "best_known": [entity(site, row) for row in site.search.best_known(_EXAMPLES)],
        "examples": _examples(site),
    }


def search(site: Site, text: str, limit: int, offset: int) -> View:
    """Entities whose name holds the words."""
    found = site.search.find(text, limit=limit, offset=offset)
    return {"q": text, "offset": offset, "results": [entity(site, row) for row in found]}


def counted(site: Site, text: str) -> str:
    """How many match, in words."""
    number = site.search.count(text)
    return f"more than {MOST_COUNTED:,}" if number > MOST_COUNTED else f"{number:,}"


def entity_page(site: Site, text: str, relation: str | None, side: Side, offset: int) -> View:
    """Facts of an entity by relation: the first of each, or more of one that is named.

    Args:
        side: with `relation`, the end at which the others stand.
    """
    row = site.entity(text)
    count, wanted = site.graph.num_relations, None
    if relation is not None:
        wanted = site.relation(relation) + (count if side == "head" else 0)
    groups = [
        _facts(site, row, directed, answers, offset if directed == wanted else 0, limit)
        for directed, answers in _standing(site, row)
        if wanted is None or directed == wanted
        for limit in [SHOWN if wanted is None else 10 * SHOWN]
    ]
    groups.sort(key=lambda group: (-group["total"], group["relation"]))
    return {
        "entity": entity(site, row),
        "graph": _graph(site),
        "relation": None if wanted is None else site.graph.relations.label(wanted % count),
        "side": None if wanted is None else side,
        "facts": sum(group["total"] for group in groups),
        "groups": groups,
        "questions": _questions(site, row, groups),
        "near": [
            entity(site, other) | {"similarity": similarity}
            for other, similarity in (
                site.near(row, _NEAR) if site.near is not None and wanted is None else []
            )
        ],
    }


def _standing(site: Site, row: int) -> list[tuple[int, np.ndarray]]:
    """Directed relations of an entity, each with its known answers."""
    index, width = site.answers("known"), 2 * site.graph.num_relations
    first, last = np.searchsorted(index.keys, [row * width, (row + 1) * width])
    bounds = np.asarray(index.offsets[first : last + 1])
    directed = (np.asarray(index.keys[first:last]) % width).tolist()
    return [(one, np.asarray(index.answers[bounds[at] : bounds[at + 1]])) for at, one in enumerate(directed)]


def _facts(site: Site, row: int, directed: int, answers: np.ndarray, offset: int, limit: int) -> View:
    count = site.graph.num_relations
    shown = answers[offset : offset + limit].astype(np.int64)
    splits = _splits(site, row, directed, shown)
    label = site.graph.relations.label(directed % count)
    side: Side = "tail" if directed < count else "head"
    me = site.graph.entities.label(row)
    return {
        "relation": label,
        "side": side,
        "total": len(answers),
        "offset": offset,
        "shown": [
            entity(site, int(one)) | {"split": split} for one, split in zip(shown, splits, strict=True)
        ],
        "url": address("/entity", id=me, relation=label, side=side),
    }


def _splits(site: Site, row: int, directed: int, answers: np.ndarray) -> list[str]:
    """The split that holds each of some known answers of one query."""
    found = ["" for _ in answers]
    for split in site.graph.splits:
        if not site.graph.info.num_triples[split]:
            continue
        index = site.answers(split)
        at = int(index.find(np.array([row]), np.array([directed]))[0])
        if at < 0:
            continue
        held = np.asarray(index.answers[index.offsets[at] : index.offsets[at + 1]])
        for number in np.flatnonzero(np.isin(answers, held)).tolist():
            found[number] = found[number] or split
    return found


def _questions(site: Site, row: int, groups: Sequence[View]) -> list[View]:
    """What can be asked of the models about an entity: by the relations in which it stands."""
    label = site.graph.entities.label(row)
    found = []
    for group in groups:
        ends = {"head": label} if group["side"] == "tail" else {"tail": label}
        if any(run.side in (None, group["side"]) for run in site.ranking):
            url = address("/predict", relation=group["relation"], new=1, **ends)
            found.append({"relation": group["relation"], "side": group["side"], "url": url})
    return found


def prediction_address(site: Site, question: Question, answer: str) -> str:
    """The page that explains one answer."""
    head, tail = (question.head, answer) if question.side == "tail" else (answer, question.tail)
    mark = {"as": site.graph.fingerprint[:12]}
    return address(
        "/prediction", head=head, relation=question.relation, tail=tail, side=question.side, **mark
    )


def asking(site: Site, head: str | None, relation: str | None, tail: str | None) -> Question | None:
    """A question in labels of the graph; None where nothing was asked yet. Raises `InputError`."""
    head, relation, tail = (text or None for text in (head, relation, tail))
    if head is None and relation is None and tail is None:
        return None
    if relation is None or (head is None) == (tail is None):
        raise InputError("a question has a relation and one of head and tail: the other is what is asked for")
    labels = site.graph.entities.label
    return Question(
        None if head is None else labels(site.entity(head)),
        site.graph.relations.label(site.relation(relation)),
        None if tail is None else labels(site.entity(tail)),
    )


def predict(site: Site, question: Question, run: str | None, k: int, new_only: bool) -> View:
    """Answers of one run to a question."""
    chosen = _chosen(site, run, question.side)
    found = site.predict(chosen.name, question, k, new_only)
    given = question.head if question.side == "tail" else question.tail
    assert given is not None
    vocabulary = site.graph.entities
    rows = [vocabulary.labels.rows_of(one.label)[0] for one in found]
    return {
        "run": chosen.name,
        "learner": chosen.learner,
        "head": question.head,
        "relation": question.relation,
        "tail": question.tail,
        "side": question.side,
        "given": entity(site, vocabulary.labels.rows_of(given)[0]),
        "new_only": new_only,
        "of": site.graph.num_entities,
        "answers": [
            entity(site, row)
            | {
                "place": one.place,
                "score": float(one.score),
                "known": one.known,
                "why": prediction_address(site, question, one.label),
            }
            for row, one in zip(rows, found, strict=True)
        ],
    }


def _chosen(site: Site, run: str | None, side: Side) -> Shown:
    """The run to ask: the named one, else the first that can be asked for this side."""
    if run:
        chosen = site.run(run)
        if not chosen.ranks:
            raise InputError(f"{chosen.name} is a run of {chosen.learner}, which does not rank facts")
        if chosen.side not in (None, side):
            raise InputError(f"{chosen.name} was trained to be asked for the {chosen.side} alone")
        return chosen
    able = [one for one in site.ranking if one.side in (None, side)]
    if not able:
        raise InputError(f"none of the runs here can be asked for the {side}")
    return able[0]


def model(run: Shown) -> View:
    """A run's own files, as its .json returns them."""
    folder = run.folder
    return _run(run) | {
        "config": folder.config,
        "evaluation": folder.find_json("evaluation.json"),
        "memory": folder.find_json("memory.json"),
        "metrics": folder.metrics(),
    }


def embeddings(site: Site, run: Shown) -> View:
    """Figures of a run's embeddings by type, or where the picture of its taxonomy is."""
    if run.embeds is None:
        raise UnknownName(f"{run.name} is a run of {run.learner}, which has no embeddings to look at")
    health = site.health(run.name) if run.embeds == "table" and site.health is not None else None
    disk = (
        address("/model/disk.png", run=run.name) if run.embeds == "disk" and site.disk is not None else None
    )
    return {"run": run.name, "learner": run.learner, "health": health, "disk": disk}


def model_parts(run: Shown) -> View:
    """The sections of a run's report."""
    return html.parts(run.folder)


def compare(site: Site, left: str, right: str) -> View:
    """Figures of two runs side by side, relation by relation, and the options in which they differ."""
    runs = [site.run(left), site.run(right)]
    evaluations = [run.folder.find_json("evaluation.json") for run in runs]
    options = [_options(run.folder) for run in runs]
    differing = [
        {"option": key, "left": options[0].get(key), "right": options[1].get(key)}
        for key in dict.fromkeys([*options[0], *options[1]])
        if options[0].get(key) != options[1].get(key)
    ]
    figures = [{"figure": name, **_pair([_figure(one, name) for one in evaluations])} for name in _FIGURES]
    relations = [_by_relation(one) for one in evaluations]
    rows = [
        {
            "relation": name,
            "triples": next((int(found[name][1]) for found in relations if name in found), 0),
            **_pair([found[name][0] if name in found else None for found in relations]),
        }
        for name in dict.fromkeys([*relations[0], *relations[1]])
    ]
    rows.sort(key=lambda row: (-row["triples"], row["relation"]))
    same = {
        (dig(one, "split"), dig(one, "filter"), dig(one, "ties"), dig(one, "graph_fingerprint"))
        for one in evaluations
    }
    return {
        "left": _run(runs[0]),
        "right": _run(runs[1]),
        "comparable": len(same) == 1 and None not in evaluations,
        "figures": figures,
        "relations": rows,
        "options": differing,
    }


def _pair(values: Sequence[float | None]) -> View:
    left, right = values
    return {
        "left": left,
        "right": right,
        "difference": None if left is None or right is None else right - left,
    }


def _by_relation(evaluation: Any) -> dict[str, tuple[float | None, float]]:
    """MRR over both sides, and test triples, by relation."""
    return {
        str(dig(item, "relation")): (
            figure_of(dig(item, "metrics"), "mrr"),
            (finite(item, "metrics", "num_rankings") or 0) / 2,
        )
        for item in dig(evaluation, "figures", "relations") or []
        if dig(item, "side") == "both"
    }


def _options(folder: RunFolder) -> dict[str, str]:
    left_out = ("format", "graph", "plan", "result", "seal", "versions", "processor", "python")
    return dict(flat({key: value for key, value in folder.config.items() if key not in left_out}))


def _figure(evaluation: Any, name: str) -> float | None:
    return figure_of(dig(evaluation, "figures", "sides", "both", str(dig(evaluation, "ties"))), name)


def _run(run: Shown) -> View:
    evaluation = run.folder.find_json("evaluation.json")
    return {
        "run": run.name,
        "learner": run.learner,
        "asked_for": "nothing" if not run.ranks else run.side or "both ends",
        "split": dig(evaluation, "split"),
        "figures": {name: _figure(evaluation, name) for name in _FIGURES},
        "url": address("/model", run=run.name),
    }


def _graph(site: Site) -> View:
    graph = site.graph
    return {
        "name": graph.name,
        "fingerprint": graph.fingerprint,
        "num_entities": graph.num_entities,
        "num_relations": graph.num_relations,
        "num_triples": dict(graph.info.num_triples),
    }


def _examples(site: Site) -> list[View]:
    """Held-out facts to look at: evenly spread over the test split, else over validation."""
    split = next((name for name in ("test", "valid") if site.graph.info.num_triples.get(name, 0)), None)
    side = next((run.side or "tail" for run in site.ranking), "tail")
    if split is None or not site.ranking:
        return []
    triples = site.graph.triples(split)
    rows = np.linspace(0, len(triples) - 1, min(_EXAMPLES, len(triples))).astype(int)
    names, found = site.graph.entities, []
    for head, relation, tail in np.asarray(triples[rows]).tolist():
        label = site.graph.relations.label(relation)
        ends = (names.label(head), names.label(tail))
        url = address("/prediction", head=ends[0], relation=label, tail=ends[1], side=side)
        found.append({"head": names.name(head), "relation": label, "tail": names.name(tail), "url": url})
    return found


# Tables: exactly what a page shows, as rows of cells.

Table = tuple[list[str], list[list[Any]]]


def search_table(view: View) -> Table:
    columns = ["label", "name", "type", "degree"]
    return columns, [[row[column] for column in columns] for row in view["results"]]


def entity_table(view: View) -> Table:
    me, rows = view["entity"]["label"], []
    for group in view["groups"]:
        for one in group["shown"]:
            ends = (me, one["label"]) if group["side"] == "tail" else (one["label"], me)
            rows.append([ends[0], group["relation"], ends[1], one["split"]])
    return ["head", "relation", "tail", "split"], rows


def predict_table(view: View) -> Table:
    columns = ["place", "label", "name", "type", "score", "known"]
    return columns, [[row[column] for column in columns] for row in view["answers"]]


def model_table(view: View) -> Table:
    columns = ["relation", "side", "num_rankings", "mrr", "hits@1", "hits@10", "mean_rank"]
    rows = []
    for item in dig(view["evaluation"], "figures", "relations") or []:
        metrics = dig(item, "metrics")
        figures = [figure_of(metrics, name) for name in ("mrr", "hits@1", "hits@10")]
        ends = [finite(metrics, "num_rankings"), *figures, finite(metrics, "mean_rank")]
        rows.append([dig(item, "relation"), dig(item, "side"), *ends])
    return columns, rows


def compare_table(view: View) -> Table:
    columns = ["relation", "triples", "left", "right", "difference"]
    return columns, [[row[column] for column in columns] for row in view["relations"]]


def facts_table(found: Explanation) -> Table:
    """The facts that an explanation cites."""
    parts = cited(found)
    rows = [
        [
            fact.id,
            found.entities[fact.head].label,
            found.relations[fact.relation].label,
            found.entities[fact.tail].label,
            fact.split,
            fact.source,
            " ".join(parts.get(fact.id, [])),
        ]
        for fact in found.facts
    ]
    return ["fact", "head", "relation", "tail", "split", "source", "used_in"], rows


Tabled = Callable[[View], Table]


def changed(paths: Mapping[str, Path]) -> tuple[tuple[str, int], ...]:
    """When files were last written: what is kept of them is good until then."""
    return tuple((name, path.stat().st_mtime_ns) for name, path in sorted(paths.items()) if path.exists())
