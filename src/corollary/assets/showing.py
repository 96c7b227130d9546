"""What Dagster shows of an asset: counts, tables and plots as metadata."""

import base64
from collections.abc import Mapping, Sequence

import dagster as dg

from corollary.reports.repurposing import MODEL
from corollary.reports.repurposing_plots import compared_scores, reliability
from corollary.repurpose.evaluating import SchemeFigures

_LIGHT = {
    "--ink": "#1b1f24", "--muted": "#565f69", "--line": "#d9dde2", "--page": "#ffffff",
    "--c0": "#0072b2", "--c1": "#b54a00", "--c7": "#8a929b",
}  # fmt: skip
_SHOWN = ("mrr", "hits@10", "average_precision", "auroc", "matched_mrr")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A table in Markdown; a bar in a text is shown as one."""
    lines = [columns, ["---"] * len(columns), *rows]
    text = "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)
    return dg.MetadataValue.md(text)


def figures(found: SchemeFigures) -> Mapping[str, dg.MetadataValue]:
    """Table, sentence and plots of one scheme."""
    rows = [
        [name, *(one.figures[figure].value if figure in one.figures else None for figure in _SHOWN)]
        for name, one in found.scores.items()
    ]
    model = found.scores[MODEL]
    estimates = {name: one.figures["mrr"].model_dump() for name, one in found.scores.items()}
    shown: dict[str, dg.MetadataValue] = {
        f"{found.scheme}: figures": table(["score", *_SHOWN], rows),
        f"{found.scheme}: verdict": dg.MetadataValue.text(found.comparison.sentence),
        f"{found.scheme}: mrr": dg.MetadataValue.float(model.figures["mrr"].value),
        f"{found.scheme}: MRR beside the others": picture(
            compared_scores(estimates, figure="MRR", name="mrr"), "MRR"
        ),
    }
    if model.calibration is not None:
        bins = [one.model_dump() for one in model.calibration.bins]
        shown[f"{found.scheme}: reliability"] = picture(reliability(bins, name="reliability"), "Reliability")
    return shown


def picture(svg: str, title: str) -> dg.MarkdownMetadataValue:
    """A drawing of `reports.plots` as an image in Markdown, in the colours of a light page."""
    for name, colour in _LIGHT.items():
        svg = svg.replace(f"var({name})", colour)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" font-family="sans-serif"'
    data = base64.b64encode(svg.replace("<svg ", f"<svg {names} ", 1).encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{data})")


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")
