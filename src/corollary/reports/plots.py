"""Plots as SVG text for one page: drawn by matplotlib, coloured by the page.

Colours come out as CSS variables (`--ink`, `--muted`, `--line`, `--page`, `--c0` to `--c7`), so that one drawing serves light,
dark and print; text stays text in the page's own font. The same numbers give the same bytes: ids are hashed with a
fixed salt, there is no date and no address in the file. Nothing of pyplot is touched.

A drawing is 400 units wide with letters of 12, which a phone shows at about 10 pixels and a desktop at 15.
"""

import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from corollary.budget import GIB, MIB

SERIES = tuple(f"--c{number}" for number in range(8))
"""Colours of series and parts: Okabe and Ito's eight, told apart by colour-blind readers."""

_INK, _MUTED, _LINE, _PAGE = "#0f0001", "#0f0002", "#0f0003", "#0f0004"
_STAND_INS = {f"#0e000{number}": name for number, name in enumerate(SERIES)}
_COLOURS = {_INK: "--ink", _MUTED: "--muted", _LINE: "--line", _PAGE: "--page", **_STAND_INS}
_SERIES = tuple(_STAND_INS)

_WIDTH, _STEPS = 400, (1, 2, 2.5, 5, 10)
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "corollary",
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelpad": 6,
    "axes.formatter.useoffset": False,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
}


def loss_curve(epochs: Sequence[int], losses: Sequence[float], *, unit: str = "") -> str:
    """Mean training loss of each epoch. `unit` stands in the label, `nats` for instance."""

    def draw(axes: Axes) -> None:
        _line(axes, epochs, losses, series=0)
        axes.set_ylabel(f"training loss ({unit})" if unit else "training loss")

    return _epoch_plot(draw, "loss", "Training loss by epoch")


def validation_curve(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]], *, metric: str) -> str:
    """A validation metric of one or more sets of weights, with the best epoch marked.

    Args:
        curves: by name (`weights`, `their average`), epochs and values, at least one each; higher is better.
        metric: its name, for the label: `MRR`.
    """

    def draw(axes: Axes) -> None:
        for series, (name, (epochs, values)) in enumerate(curves.items()):
            _line(axes, epochs, values, series=series, name=name)
        axes.set_ylabel(f"validation {metric}")
        if len(curves) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(curves))
        _mark_best(axes, *best_point(*map(chain.from_iterable, zip(*curves.values(), strict=True))))

    return _epoch_plot(draw, "validation", f"Validation {metric} by epoch, the best one marked")


def best_point(epochs: Iterable[int], values: Iterable[float]) -> tuple[int, float]:
    """Epoch and value of the highest point, the earliest where several are as high."""
    return min(zip(epochs, values, strict=True), key=lambda point: (-point[1], point[0]))


def learning_rate_curve(epochs: Sequence[int], rates: Sequence[float]) -> str:
    """Learning rate at the end of each epoch."""

    def draw(axes: Axes) -> None:
        _line(axes, epochs, rates, series=0)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.set_ylabel("learning rate")

    return _epoch_plot(draw, "rate", "Learning rate by epoch")


def memory_bars(parts: Mapping[str, int], *, peak: int | None = None, limit: int | None = None) -> str:
    """Planned bytes, stacked in the order of `parts` and of `SERIES`, above the measured peak.

    Colours repeat after eight parts: give at most eight. The limit is drawn where it is near enough to leave the
    bars readable: up to twice their length.
    """
    widest = max(sum(parts.values()), peak or 0)
    shown_limit = limit if limit is not None and limit <= 2 * widest else None
    size, unit = (GIB, "GiB") if widest >= 4 * GIB else (MIB, "MiB")

    def draw(axes: Axes) -> None:
        left = 0.0
        for number, part in enumerate(parts.values()):
            colour = _SERIES[number % len(_SERIES)]
            axes.barh(
                "planned", part / size, left=left, height=0.62, color=colour, edgecolor=_PAGE, linewidth=1
            )
            left += part / size
        if peak is not None:
            axes.barh("measured", peak / size, height=0.62, color=_MUTED)
        if shown_limit is not None:
            axes.axvline(shown_limit / size, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.text(
                shown_limit / size,
                1.02,
                "limit",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
            )
        axes.set_xlim(0, 1.04 * max(widest, shown_limit or 0) / size)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS))
        axes.set_xlabel(f"resident memory ({unit})")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", labelcolor=_INK)

    return drawing(draw, "memory", "Planned memory by part, and the measured peak", height=150)


def series_colour(number: int) -> str:
    """What matplotlib draws a series in, for the page to colour."""
    return _SERIES[number]


def _line(axes: Axes, x: Sequence[int], y: Sequence[float], *, series: int, name: str | None = None) -> None:
    """One series; short ones show their points, so that a single epoch is seen too."""
    marker = "o" if len(x) <= 30 else ""
    axes.plot(x, y, color=_SERIES[series], label=name, marker=marker, markersize=4)


def _mark_best(axes: Axes, epoch: int, value: float) -> None:
    """A ring, with its label above it: nothing else can be there."""
    axes.plot(
        [epoch], [value], "o", markersize=9, markerfacecolor="none", markeredgecolor=_INK, markeredgewidth=1.6
    )
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.14 * (top - bottom))
    left, right = axes.get_xlim()
    align: Literal["left", "right"] = "right" if epoch > (left + right) / 2 else "left"
    label = f"best {value:.3f}, epoch {epoch}"
    axes.annotate(label, (epoch, value), xytext=(0, 9), textcoords="offset points", ha=align, va="bottom")


def _epoch_plot(draw: Callable[[Axes], None], name: str, title: str) -> str:
    def with_epochs(axes: Axes) -> None:
        draw(axes)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=_STEPS, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS))

    return drawing(with_epochs, name, title, height=260)


def drawing(draw: Callable[[Axes], None], name: str, title: str, *, height: int) -> str:
    """One pair of axes as an `<svg>` element for the inside of a page."""
    with matplotlib.rc_context():  # put back afterwards; a matplotlibrc of the user's changes nothing
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _for_a_page(out.getvalue(), name, title)


def _for_a_page(svg: str, name: str, title: str) -> str:
    """Without prologue and addresses, sized by the page, in its colours and font, with ids that begin with `name`."""
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    body = svg[svg.index(">", box.start()) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = body.replace("font-family: 'DejaVu Sans'; ", "")
    for colour, variable in _COLOURS.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\s*\n\s*", "\n", body).strip()
    label = html.escape(title)
    return f'<svg role="img" aria-label="{label}" viewBox="{box[1]}">{body}'
