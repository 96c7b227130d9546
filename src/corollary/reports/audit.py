"""What an audit found, and the figures beside those of a baseline, as a report shows them."""

from typing import Any

from corollary.reports.values import count, dig, figure, figure_of, finite, plural

_FIGURES = {
    "MRR": "mrr",
    "hits@1": "hits@1",
    "hits@3": "hits@3",
    "hits@10": "hits@10",
    "mean rank": "mean_rank",
    "adjusted mean rank index": "adjusted_mean_rank_index",
}


def audit_figures(audit: Any, evaluation: Any, baseline: Any) -> dict[str, Any] | None:
    """What `audit.json` says, and rows of figures from `evaluation.json` beside `baseline.json`; None without an audit."""
    if dig(audit, "canary") is None:
        return None
    return {"facts": _facts(audit), "beside": _beside(evaluation, baseline)}


def _facts(audit: Any) -> list[tuple[str, str]]:
    leaked, steps = finite(audit, "leaked_pairs"), finite(audit, "audited_steps")
    held, linked = finite(audit, "held_out_triples"), finite(audit, "held_out_linked")
    share = f", {100 * linked / held:.1f} %" if linked is not None and held else ""
    return [
        (
            "messages between the ends of what a step asked for",
            f"{count(leaked)}, in {plural(steps, 'step')}",
        ),
        (
            "held-out triples whose ends some relation of train links",
            f"{count(linked)} of {count(held)}{share}",
        ),
        ("canary", _canary(dig(audit, "canary"))),
    ]


def _canary(canary: Any) -> str:
    """How made-up facts that no split holds were ranked."""
    pairs, index = finite(canary, "pairs"), finite(canary, "adjusted_mean_rank_index")
    if not pairs:
        return "none: every possible pair is a fact"
    verdict = "at chance" if dig(canary, "at_chance") else "not at chance: look for what was given away"
    found = "" if index is None else f" (adjusted mean rank index {figure(index)}, 0 for guessing)"
    return f"{plural(pairs, 'made-up fact')} ranked {verdict}{found}"


def _beside(evaluation: Any, baseline: Any) -> dict[str, Any] | None:
    """Both among entities of the answer's types where both were ranked so, else among all; None where one is missing."""
    if dig(evaluation, "figures") is None or dig(baseline, "figures") is None:
        return None
    typed = all(dig(one, "in_range") is not None for one in (evaluation, baseline))
    place = ("in_range", "figures") if typed else ("figures",)
    columns = [dig(one, *place, "sides", "both", str(dig(one, "ties"))) for one in (evaluation, baseline)]
    rows = [
        {"name": name, "cells": [figure(figure_of(metrics, key)) for metrics in columns]}
        for name, key in _FIGURES.items()
    ]
    among = "entities of the types that answer the relation in train" if typed else "all entities"
    return {"among": among, "split": dig(evaluation, "split"), "rows": rows}
