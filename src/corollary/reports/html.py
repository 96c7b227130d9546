"""`report.html`: one run on one page, from the files of its folder alone.

The page needs no script and loads nothing: its style is inline, its plots are inline SVG. Every text is escaped by
jinja2. The same files give the same bytes. A part whose file is missing is left out.
"""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from corollary.budget import show_bytes
from corollary.records.run_folder import RunFolder
from corollary.reports import plots
from corollary.reports.audit import audit_figures
from corollary.reports.taxonomy_figures import taxonomy_figures
from corollary.reports.values import (
    count,
    decimal,
    dig,
    duration,
    figure_of,
    finite,
    flat,
    mib,
    plural,
    read,
    score,
    series,
)
from corollary.storage import write_text

HEADLINE = ("mrr", "hits@1", "hits@3", "hits@10")
"""Figures of the top of the page."""
RELATIONS_SHOWN = 12
"""Rows of the relation table before the rest is folded."""
ANSWERS_SHOWN = 10
"""Answers to one example query."""

_LEARNERS = {"conve": "ConvE", "drum": "DRUM", "poincare": "Poincaré embeddings", "hgt": "HGT"}
_IN_NATS = ("cross_entropy", "binary_cross_entropy")
_MACHINE = ("device_used", "processor", "threads", "python", "versions")
_NOT_OPTIONS = ("format", "learner", "graph", "plan", "result", *_MACHINE)
_PURPOSE = {"train": "learn from", "valid": "choose by", "test": "test with"}
_MADE = {
    "seed": "seed",
    "device_used": "device",
    "processor": "processor",
    "threads": "threads",
    "python": "Python",
    "memory_limit": "memory limit",
}
_FILTERS = {
    "known": "other known answers are left out of the competition",
    "train+valid": "other answers known from training and validation are left out of the competition",
    "train": "other answers known from training are left out of the competition",
    None: "other known answers stay in the competition",
}
_PLACES = {"optimistic": "first", "realistic": "middle", "pessimistic": "last"}
"""Which place among equal scores counts."""


def write_report(run: RunFolder) -> Path:
    """Write `report.html` into the run folder and return its path.

    Reads `config.json`, and where they exist `metrics.jsonl`, `evaluation.json`, `predictions.json`,
    `taxonomy.json`, `audit.json`, `baseline.json` and the `graph.json` of the graph folder. Raises `RunDamaged` where one of them is not JSON.
    """
    path = run.path / "report.html"
    write_text(path, render(run))
    return path


def render(run: RunFolder) -> str:
    """The text of the page."""
    return _template().render(**parts(run))


def parts(run: RunFolder) -> dict[str, Any]:
    """What the page shows, by section; the explorer's page of a model shows the same."""
    config, metrics = run.config, run.metrics()
    evaluation, predictions = (run.find_json(name) for name in ("evaluation.json", "predictions.json"))
    graph = read(run.path / str(dig(config, "graph", "path") or ".") / "graph.json")
    examples = _predictions(predictions)
    return {
        "run_name": run.name,
        "title": f"{_learner(config)} on {_graph_name(config)}",
        "learned": _learned(config, examples),
        "headline": _headline(config, evaluation),
        "learning": _learning(config, metrics),
        "predictions": examples,
        "relations": _relations(evaluation),
        "audit": audit_figures(run.find_json("audit.json"), evaluation, run.find_json("baseline.json")),
        "taxonomy": taxonomy_figures(run.find_json("taxonomy.json")),
        "memory": _memory(config, metrics),
        "made": _made(config, graph),
        "options": list(flat({key: value for key, value in config.items() if key not in _NOT_OPTIONS})),
        "next_steps": _next_steps(run, config, examples[0]["query"] if examples else None),
    }


# The parts of the page, each from files to what the template shows; None leaves the part out.


def _learned(config: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]) -> str:
    """One sentence of what was learned."""
    graph = dig(config, "graph") or {}
    counts = {
        split: number
        for split in ("train", "valid", "test")
        if (number := finite(graph, "num_triples", split))
    }
    triples = ", ".join(f"{count(number)} to {_PURPOSE[split]}" for split, number in counts.items())
    sentence = (
        f"{_learner(config)} learned from {_graph_name(config)}: {plural(finite(graph, 'num_entities'), 'entity')}, "
        f"{plural(finite(graph, 'num_relations'), 'relation')} and "
        f"{plural(sum(counts.values()) or None, 'triple')}{f' ({triples})' if triples else ''}."
    )
    asked = f" It answers questions such as {examples[0]['query']}." if examples else ""
    return sentence + asked


def _headline(config: Mapping[str, Any], evaluation: Any) -> dict[str, Any] | None:
    """MRR and hits with their intervals, the conditions under which they hold, and the same seen otherwise."""
    ties = str(dig(evaluation, "ties"))
    figures = [
        {
            "name": f"{dig(evaluation, 'split')} {_metric(name)}",
            "value": value,
            "low": finite(evaluation, "figures", "intervals", name, "low"),
            "high": finite(evaluation, "figures", "intervals", name, "high"),
        }
        for name in HEADLINE
        if (value := figure_of(dig(evaluation, "figures", "sides", "both", ties), name)) is not None
    ]
    if not figures:
        return None
    elsewhere = dig(evaluation, "graph_fingerprint") not in (None, dig(config, "graph", "fingerprint"))
    conditions = _conditions(evaluation, elsewhere=elsewhere, intervals=figures[0]["low"] is not None)
    return {"figures": figures, "conditions": conditions, "views": _views(evaluation, ties)}


def _conditions(evaluation: Any, *, elsewhere: bool, intervals: bool) -> str:
    """What the figures are of, in words.

    Args:
        elsewhere: they are of another graph than the one that was trained on, which is named.
    """
    split, ties = str(dig(evaluation, "split")), str(dig(evaluation, "ties"))
    rule = dig(evaluation, "filter")
    asked = "head and for its tail" if dig(evaluation, "figures", "sides", "head") else "tail alone"
    place = f" of the graph {dig(evaluation, 'graph')}" if elsewhere else ""
    text = (
        f"{plural(finite(evaluation, 'num_triples'), split + ' triple')}{place}, each asked for its {asked} "
        f"among all entities; {_FILTERS.get(rule, f'filter {rule}')}; "
        f"of equal scores the {_PLACES.get(ties, ties)} place counts. "
        "MRR is the mean of 1/rank, hits@k the share of ranks up to k."
    )
    return text + (" Below each figure: its 95 % interval by bootstrap over triples." if intervals else "")


def _views(evaluation: Any, ties: str) -> list[dict[str, Any]]:
    """The headline figures by side, by relation, by tie rule and among the relation's types."""
    figures, typed = dig(evaluation, "figures"), dig(evaluation, "in_range", "figures")
    sides = {"Both sides": "both", "Tail asked for": "tail", "Head asked for": "head"}
    views = {name: dig(figures, "sides", side, ties) for name, side in sides.items()}
    views["Every relation counting the same"] = dig(figures, "macro", "both")
    for other, place in _PLACES.items():
        if other != ties:
            views[f"The {place} place of equal scores"] = dig(figures, "sides", "both", other)
    views["Among entities of the relation's types alone"] = dig(typed, "sides", "both", ties)
    return [
        {
            "name": name,
            "figures": [figure_of(metrics, figure) for figure in HEADLINE],
            "mean_rank": finite(metrics, "mean_rank"),
            "adjusted": finite(metrics, "adjusted_mean_rank_index"),
        }
        for name, metrics in views.items()
        if metrics
    ]


def _learning(config: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The curves of `metrics.jsonl`, and in words how long it took and what was best."""
    if not metrics:
        return None
    unit = "nats" if dig(config, "model", "loss") in _IN_NATS else ""
    if _loss(metrics) == "sampled_loss":
        unit = f"{unit}, sampled negatives" if unit else "sampled negatives"
    metric = str(dig(config, "evaluation", "metric") or "mrr")
    curves = {
        name: curve
        for key, name in (("valid", "weights"), ("valid_average", "their average"))
        if (curve := series(metrics, key, metric))[0]
    }
    loss, rate = series(metrics, _loss(metrics)), series(metrics, "learning_rate")
    drawn = [
        plots.loss_curve(*loss, unit=unit) if loss[0] else None,
        plots.validation_curve(curves, metric=_metric(metric)) if curves else None,
        plots.learning_rate_curve(*rate) if rate[0] else None,
    ]
    return {
        "plots": [Markup(plot) for plot in drawn if plot],
        "facts": _progress(config, metrics, metric, curves),
    }


def _loss(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Its name in `metrics.jsonl`: an estimate from sampled negatives has another one."""
    return "sampled_loss" if "sampled_loss" in metrics[0] else "loss"


def _progress(
    config: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    metric: str,
    curves: Mapping[str, tuple[list[int], list[float]]],
) -> list[tuple[str, str]]:
    """How long the training took and what it reached, in words."""
    epochs, planned = len(metrics), finite(config, "training", "epochs")
    facts = [
        ("epochs", f"{epochs:,}" + (f" of at most {count(planned)}" if planned and planned > epochs else ""))
    ]
    if updates := finite(metrics[-1], "updates"):
        facts.append(("updates of the weights", count(updates)))
    for name, key in (("time training", "seconds"), ("time validating", "validation_seconds")):
        if seconds := sum(series(metrics, key)[1]):
            facts.append((name, duration(seconds)))
    if losses := series(metrics, name := _loss(metrics))[1]:
        facts.append(
            (f"{name.replace('_', ' ')}, first and last epoch", f"{losses[0]:.3f}, {losses[-1]:.3f}")
        )
    if curves:
        best = {name: plots.best_point(*curve) for name, curve in curves.items()}
        name, (epoch, value) = min(best.items(), key=lambda item: (-item[1][1], item[1][0]))
        facts.append((f"best validation {_metric(metric)}", f"{value:.3f} in epoch {epoch} ({name})"))
    return facts


def _predictions(predictions: Any) -> list[dict[str, Any]]:
    """Example questions with their first answers."""
    shown = []
    for item in predictions if isinstance(predictions, list) else []:
        answers = [
            {
                "rank": dig(answer, "rank"),
                "name": dig(answer, "name") or dig(answer, "label"),
                "label": None if dig(answer, "label") == dig(answer, "name") else dig(answer, "label"),
                "score": finite(answer, "score"),
                "known": dig(answer, "known"),
            }
            for answer in (dig(item, "answers") or [])[:ANSWERS_SHOWN]
        ]
        if answers:
            shown.append({"query": dig(item, "query"), "answers": answers})
    return shown


def _relations(evaluation: Any) -> dict[str, Any] | None:
    """The figures of each relation, those with most triples first."""
    found: dict[str, dict[str, Any]] = {}
    for item in dig(evaluation, "figures", "relations") or []:
        found.setdefault(str(dig(item, "relation")), {})[str(dig(item, "side"))] = dig(item, "metrics")
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "triples": int(max(finite(sides.get(side), "num_rankings") or 0 for side in ("head", "tail"))),
            "sides": [
                {"mrr": figure_of(sides.get(side), "mrr"), "hits": figure_of(sides.get(side), "hits@10")}
                for side in ("both", "tail", "head")
            ],
        }
        for name, sides in found.items()
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: (-row["triples"], row["name"]))
    text = f"{plural(len(rows), 'relation')} among the {dig(evaluation, 'split')} triples, the most frequent first."
    return {"summary": text, "first": rows[:RELATIONS_SHOWN], "rest": rows[RELATIONS_SHOWN:]}


def _memory(config: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The plan by part, and the measured peak beside it."""
    parts = dig(config, "plan", "parts")
    sizes = {name: int(size) for name in parts or {} if (size := finite(parts, name))}
    if not sizes:
        return None
    peak = max(series(metrics, "peak_bytes")[1], default=None)
    limit, planned = finite(config, "plan", "budget", "limit"), sum(sizes.values())
    text = f"Planned before the start: {show_bytes(planned)}."
    if peak is not None:
        share = f"{100 * peak / planned:.0f} % of the plan"
        text += f" Measured peak of the training: {show_bytes(peak)}, {share}."
        text += " A peak above the plan is a fault of ours: please report it." if peak > planned else ""
    if limit is not None:
        text += f" The limit was {show_bytes(limit)}."
    drawn = _largest(sizes, len(plots.SERIES))
    colours = dict(zip(drawn, plots.SERIES, strict=False))
    plot = plots.memory_bars(
        drawn, peak=None if peak is None else int(peak), limit=None if limit is None else int(limit)
    )
    other = plots.SERIES[-1]
    rows = [{"name": name, "bytes": size, "colour": colours.get(name, other)} for name, size in sizes.items()]
    return {"summary": text, "plot": Markup(plot), "parts": rows, "planned": planned}


def _largest(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """At most `most` parts in their order; the smallest ones become one, the last."""
    if len(sizes) <= most:
        return dict(sizes)
    kept = set(sorted(sizes, key=lambda name: (-sizes[name], name))[: most - 1])
    rest = sum(size for name, size in sizes.items() if name not in kept)
    return {name: size for name, size in sizes.items() if name in kept} | {"the rest": rest}


def _made(config: Mapping[str, Any], graph: Any) -> list[tuple[str, str]]:
    """What a second run would need: seed, machine, versions, graph, sources."""
    rows = [(key, dig(config, place)) for place, key in _MADE.items()]
    rows += [(name, version) for name, version in (dig(config, "versions") or {}).items()]
    rows += [("graph", dig(config, "graph", "path"))]
    rows += [("graph fingerprint", dig(config, "graph", "fingerprint"))]
    rows += [("vocabulary fingerprint", dig(config, "graph", "vocabulary_fingerprint"))]
    for source in dig(graph, "sources") or []:
        details = ", ".join(f"{key} {value}" for key, value in flat(source) if key != "name")
        rows.append((f"source {dig(source, 'name') or ''}".strip(), details))
    return [(key, str(value)) for key, value in rows if value is not None]


def _next_steps(run: RunFolder, config: Mapping[str, Any], query: str | None) -> list[dict[str, Any]]:
    """Commands that continue from here, with this run's own names."""
    head, relation, tail = _question(query)
    asked = (
        ["--head", head, "--relation", relation] if tail == "?" else ["--relation", relation, "--tail", tail]
    )
    place, graph = str(run.path), str(run.path / str(dig(config, "graph", "path") or "GRAPH"))
    learner = str(config.get("learner", "conve"))
    again = ["--config", f"{place}/config.json", "--seed", str(int(finite(config, "seed") or 0) + 1)]
    ask: dict[str, list[list[str]]] = {
        "Ask a question of your own, and leave out what the graph holds already:": [
            ["predict", place, *asked, "--new-only"]
        ],
        "Look closer at the figures: by relation, and the rank of every triple as a table:": [
            ["evaluate", place, "--per-relation", "--ranks", "ranks.parquet"]
        ],
    }
    if learner == "poincare":
        ask = {
            "See what it takes for a node's ancestors, and the nodes nearest to it:": [
                ["predict", place, "--head", "NAME"]
            ],
            "Measure it beside its controls, and draw it:": [
                ["analyze-taxonomy", place],
                ["analyze-taxonomy", place, "--disk", "disk.png"],
            ],
        }
    steps = {
        **ask,
        "See how much of a figure is chance, by training once more from another seed:": [
            ["train", learner, graph, *again, "--output-dir", f"{place}-again"]
        ],
        "Learn from a graph of your own:": [
            ["graph", "import", "YOUR_FILES", "--output", "graph"],
            ["train", learner, "graph", "--output-dir", "run"],
        ],
    }
    if run.epoch_checkpoints() and not run.checkpoint("final").is_dir():
        steps = {"Finish this training, which was stopped:": [["train", "--resume", place]], **steps}
    return [
        {"what": what, "commands": [["corollary", *map(shlex.quote, words)] for words in commands]}
        for what, commands in steps.items()
    ]


def _question(query: str | None) -> tuple[str, str, str]:
    """Head, relation and tail of `(France, borders, ?)`; placeholders where a name holds the separator."""
    parts = (query or "").removeprefix("(").removesuffix(")").split(", ")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("NAME", "RELATION", "?")


def _learner(config: Mapping[str, Any]) -> str:
    name = str(config.get("learner", "a learner"))
    return _LEARNERS.get(name, name)


def _graph_name(config: Mapping[str, Any]) -> str:
    return str(dig(config, "graph", "name") or "a graph")


def _metric(name: str) -> str:
    return "MRR" if name == "mrr" else name


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": count, "score": score, "decimal": decimal, "mib": mib}
    return environment.from_string(
        files("corollary.reports").joinpath("report.html").read_text(encoding="utf-8")
    )
