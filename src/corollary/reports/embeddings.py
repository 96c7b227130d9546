"""A page about embeddings: verdict, measures, three plots. One file, opens anywhere."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from corollary.storage import write_text

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}.failed{color:#b00020}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}img{background:#fff}}"""


def write_embedding_page(
    path: Path,
    *,
    title: str,
    verdict: str,
    reasons: Sequence[str],
    measures: Mapping[str, object],
    types: Sequence[Mapping[str, object]],
    norms: Mapping[str, Sequence[float]],
    spectra: Mapping[str, Sequence[float]],
    occurrences: Sequence[int],
) -> None:
    """Write the page.

    Args:
        norms: of rows, by type.
        spectra: singular values by type, largest first.
        occurrences: of each sampled row among the ten nearest of others.
    """
    picture = base64.b64encode(_plots(norms, spectra, occurrences)).decode()
    rows = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
    body = (
        f"<h1>{html.escape(title)}</h1><p class='{verdict}'><b>{html.escape(verdict)}</b></p><ul>{rows}</ul>"
        f"{_table(['measure', 'value'], [[name, value] for name, value in measures.items()])}"
        f"<h2>By node type</h2>{_table(list(types[0]), [list(row.values()) for row in types]) if types else ''}"
        f"<img alt='norms, singular values, hubness' src='data:image/png;base64,{picture}'>"
    )
    page = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
    write_text(path, f"{page}<style>{_STYLE}</style><body>{body}</body></html>\n")


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    lines = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"<td class='n'>{value:.4g}</td>"
    kind = " class='n'" if isinstance(value, int) and not isinstance(value, bool) else ""
    return f"<td{kind}>{html.escape('' if value is None else str(value))}</td>"


def _plots(
    norms: Mapping[str, Sequence[float]],
    spectra: Mapping[str, Sequence[float]],
    occurrences: Sequence[int],
) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    if norms:
        left.boxplot(list(norms.values()), tick_labels=list(norms), showfliers=False)
        left.tick_params(axis="x", rotation=60)
    left.set_title("norms by type")
    for name, values in spectra.items():
        kept = [value for value in values if value > 0]
        middle.plot(range(1, len(kept) + 1), kept, label=name)
    middle.set(
        title="singular values within types", xlabel="component", yscale="log" if spectra else "linear"
    )
    if spectra:
        middle.legend(fontsize=7)
    if len(occurrences):
        right.hist(list(occurrences), bins=40)
    right.set(title="times among the ten nearest", xlabel="times", ylabel="nodes")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()
