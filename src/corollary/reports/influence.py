"""How influences are distributed: many of no size, few that matter, of both signs."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, SymmetricalLogLocator

from corollary.reports.plots import SERIES, drawing, series_colour

_LIGHT = {"--ink": "#1b1f24", "--muted": "#6a737d", "--line": "#e1e4e8", "--page": "#ffffff"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")


def influence_distribution(edges: Sequence[float], support: Sequence[int], opposition: Sequence[int]) -> str:
    """Influences by size, above and below zero, as an `<svg>` for a page.

    Args:
        edges: sizes without sign that bound the bins, one more than bins.
    """

    def draw(axes: Axes) -> None:
        for series, (name, counts) in enumerate((("support", support), ("opposition", opposition))):
            axes.stairs(counts, edges, color=series_colour(series), label=name, linewidth=2)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(_power))
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1))
        axes.yaxis.set_major_formatter(FuncFormatter(_whole))
        axes.minorticks_off()
        axes.set_xlabel("size of influence")
        axes.set_ylabel("influences")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)

    return drawing(
        draw, "influence", "Training triples by size of influence, supporting and opposing", height=260
    )


def _power(value: float, _: int) -> str:
    """A tick of a logarithmic axis: formulas would be written out as they are typed."""
    return "10" + str(round(math.log10(value))).translate(_RAISED) if value > 0 else "0"


def _whole(value: float, _: int) -> str:
    return f"{value:,.0f}"


def influence_file(edges: Sequence[float], support: Sequence[int], opposition: Sequence[int]) -> str:
    """The same as the content of an .svg file with colours of its own."""
    body = influence_distribution(edges, support, opposition)
    colours = {**_LIGHT, **dict(zip(SERIES, _COLOURS, strict=True))}
    style = "".join(f"{name}:{value};" for name, value in colours.items())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" style="{style}'
    )
    return body.replace("<svg ", f'{head}background:var(--page);font-family:sans-serif" ', 1) + "\n"
