"""`report.html` of ranked answers: how good they are beside counting, whether probabilities hold, every list with evidence.

One file that loads nothing and runs no script. Everything from a graph is text: escaped, isolated, with invisible
characters shown. The same values give the same bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from corollary.reports import repurposing_plots as plots
from corollary.reports.explanation import asset
from corollary.reports.markup import environment
from corollary.reports.values import flat
from corollary.storage import write_text

MODEL = "classifier"
FIGURES = ("mrr", "hits@1", "hits@10", "average_precision", "auroc", "matched_mrr", "matched_auroc")
"""Columns of the table of scores."""
SCHEMES = {
    "rows": "New {rows}: all their answers held out",
    "random": "Single answers held out",
    "areas": "Whole areas of {rows} held out",
    "external": "A list from outside",
}
LISTED = 10
"""Answers of a list that the page shows."""
_NAMES = {
    "mrr": "MRR",
    "average_precision": "average precision",
    "auroc": "AUROC",
    "matched_mrr": "MRR, like degrees",
    "matched_auroc": "AUROC, like degrees",
}


def write_page(path: Path, page: Mapping[str, Any]) -> Path:
    """Write the page and return its path; see `render`."""
    write_text(path, render(page))
    return path


def render(page: Mapping[str, Any]) -> str:
    """The text of the page.

    Args:
        page: plain values, as JSON holds them:
            `title`, `row_type`, `column_type`, `counts` (names to numbers);
            `schemes`: by name, the `SchemeFigures` of `repurpose.evaluating`, each comparison with its `sentence`;
            `faithfulness`: `Deleted` of `repurpose.faithfulness`;
            `lists`: by row `label`, `name` and `answers`, and `list_count` of all there are;
            `embeddings`: None, or `name`, `verdict`, `reasons`, `spectra` and `points` by type;
            `options`, `made`, `checksums`: names to values.
    """
    style = Markup(asset("page.css"))
    return environment().get_template("repurposing.html").render(style=style, **_parts(page))


def _parts(page: Mapping[str, Any]) -> dict[str, Any]:
    schemes = [_scheme(name, found, page) for name, found in page["schemes"].items()]
    embeddings = page["embeddings"]
    return {
        "title": page["title"],
        "row_type": page["row_type"],
        "column_type": page["column_type"],
        "counts": page["counts"],
        "verdicts": [(scheme["name"], scheme["sentence"]) for scheme in schemes],
        "schemes": schemes,
        "faithfulness": page["faithfulness"],
        "lists": [_list(one) for one in page["lists"]],
        "list_count": page["list_count"],
        "listed": LISTED,
        "embeddings": embeddings and {**embeddings, "plots": _embedding_plots(embeddings)},
        "options": list(flat(page["options"])),
        "made": list(flat(page["made"])),
        "checksums": page["checksums"],
    }


def _scheme(name: str, found: Mapping[str, Any], page: Mapping[str, Any]) -> dict[str, Any]:
    """One way to hold out."""
    scores = found["scores"]
    baseline = found["comparison"]["baseline"]
    figures = [figure for figure in FIGURES if figure in scores[MODEL]["figures"]]
    recalls = [figure for figure in scores[MODEL]["figures"] if figure.startswith("recall@")]
    return {
        "name": SCHEMES[name].format(rows=page["row_type"] + " nodes"),
        "id": name,
        "sentence": found["comparison"]["sentence"],
        "precision": found["precision"]["sentence"],
        "folds": len(found["folds"]),
        "pairs": scores[MODEL]["pairs"],
        "rows": scores[MODEL]["rows"],
        "candidates": scores[MODEL]["candidates"],
        "columns": [_NAMES.get(figure, figure) for figure in figures],
        "table": [(score, [one["figures"][figure] for figure in figures]) for score, one in scores.items()],
        "recall_columns": recalls,
        "recall": [(score, [one["figures"][figure] for figure in recalls]) for score, one in scores.items()],
        "calibration": [(score, one["calibration"]) for score, one in scores.items() if one["calibration"]],
        "ratio": {score: _ratios(one["calibration"]) for score, one in scores.items() if one["calibration"]},
        "flyers": [
            (score, one["flyers"], one["normalised_flyers"], one["figures"]["mrr"], one["normalised_mrr"])
            for score, one in scores.items()
        ],
        "null": found["null"],
        "real": {score: scores[score]["figures"] for score in found["null"]},
        "counted_null": found["counted_null"]["figures"]["mrr"],
        "plots": _scheme_plots(name, scores, baseline, page["column_type"]),
    }


def _ratios(calibration: Mapping[str, Any]) -> dict[str, float | None]:
    """Expected over observed, of all pairs and of the first ones."""
    whole, top = calibration["observed"], calibration["top_observed"]
    return {
        "all": calibration["expected"] / whole if whole else None,
        "top": calibration["top_expected"] / top if top else None,
    }


def _scheme_plots(name: str, scores: Mapping[str, Any], baseline: str, column_type: str) -> list[Markup]:
    drawn = [
        plots.compared_scores(
            {score: one["figures"]["mrr"] for score, one in scores.items()}, figure="MRR", name=f"{name}-mrr"
        ),
        plots.by_degree(
            {score: scores[score]["strata"] for score in (MODEL, baseline)},
            noun=column_type,
            name=f"{name}-degree",
        ),
    ]
    if scores[MODEL]["calibration"]:
        drawn.append(plots.reliability(scores[MODEL]["calibration"]["bins"], name=f"{name}-reliability"))
    return [Markup(plot) for plot in drawn]


def _embedding_plots(embeddings: Mapping[str, Any]) -> list[Markup]:
    return [Markup(plots.spectra(embeddings["spectra"])), Markup(plots.map_of(embeddings["points"]))]


def _list(record: Mapping[str, Any]) -> dict[str, Any]:
    """One row with its first answers."""
    answers = record["answers"][:LISTED]
    return {
        "name": record["name"],
        "label": record["label"],
        "answers": answers,
        "of": len(record["answers"]),
    }
