"""Plots of a page about ranked answers: scores beside each other, reliability, degrees, embeddings. See `plots`."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from corollary.records.explanation import wilson
from corollary.reports.plots import drawing, series_colour

_ROW = 22
_SMALLEST = 1e-6
"""Probability or share that the reliability plot shows at its edge."""


def compared_scores(estimates: Mapping[str, Mapping[str, Any]], *, figure: str, name: str) -> str:
    """One figure of several scores as dots with their intervals, the model's first.

    Args:
        estimates: by score: value, low and high; bounds may be None.
        name: begins the ids in the drawing, so that several fit one page.
    """

    def draw(axes: Axes) -> None:
        for place, one in enumerate(estimates.values()):
            colour = series_colour(0 if place == 0 else 7)
            if one["low"] is not None and one["high"] is not None:
                axes.plot([one["low"], one["high"]], [place, place], color=colour)
            axes.plot([one["value"]], [place], "o", color=colour, markersize=6)
            axes.text(1.02, place, f"{one['value']:.3f}", transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(range(len(estimates)), list(estimates))
        axes.set_ylim(len(estimates) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(figure)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))

    title = f"{figure} of every score with its 95 % interval"
    return drawing(draw, name, title, height=60 + _ROW * len(estimates))


def reliability(bins: Sequence[Mapping[str, Any]], *, name: str) -> str:
    """Share of held-out answers against the probability that was said, by bin, on logarithmic axes.

    Args:
        bins: each with `low`, `mean`, `count` and `true`; those without a true pair stand at the bottom, with their upper bound.
    """

    smallest = max(_SMALLEST, min(one["low"] for one in bins))

    def draw(axes: Axes) -> None:
        axes.plot([smallest, 1], [smallest, 1], color=series_colour(7), linewidth=1, linestyle=(0, (4, 3)))
        for one in bins:
            share = wilson(one["true"], one["count"])
            x, y = max(one["mean"], smallest), max(one["true"] / one["count"], smallest)
            low, high = max(share.low or 0.0, smallest), max(share.high or 0.0, smallest)
            axes.plot([x, x], [low, high], color=series_colour(0), linewidth=1.4)
            axes.plot([x], [y], "o", color=series_colour(0), markersize=5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(smallest * 0.7, 1.4)
        axes.set_ylim(smallest * 0.7, 1.4)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("probability that was said")
        axes.set_ylabel("share that was held out")

    return drawing(draw, name, "Reliability: share of held-out answers by probability", height=300)


def by_degree(strata: Mapping[str, Sequence[Mapping[str, Any]]], *, noun: str, name: str) -> str:
    """MRR by the known answers that a candidate had in training, a line for each score.

    Args:
        strata: by score; each with `degrees` and `mrr`, in the order of degrees.
        noun: what candidates are called.
    """

    def draw(axes: Axes) -> None:
        labels: list[str] = []
        for score, some in strata.items():
            labels = max(labels, [one["degrees"] for one in some], key=len)
            colour = series_colour(0 if len(axes.lines) == 0 else 7)
            axes.plot(
                range(len(some)), [one["mrr"] for one in some], "o-", color=colour, label=score, markersize=4
            )
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"known answers of the {noun} in training")
        axes.set_ylabel("MRR")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)

    return drawing(draw, name, f"MRR by known answers of the {noun}", height=260)


def spectra(values: Mapping[str, Sequence[float]]) -> str:
    """Singular values of centred embeddings by node type, the largest as 1: how many directions are in use."""

    def draw(axes: Axes) -> None:
        for number, (kind, some) in enumerate(values.items()):
            kept = [value / some[0] for value in some if value > 0]
            axes.plot(range(1, len(kept) + 1), kept, color=series_colour(number), label=kind)
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("component")
        axes.set_ylabel("singular value")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)

    return drawing(draw, "spectra", "Singular values within each node type", height=260)


def map_of(points: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Embeddings by their two main directions, a colour for each node type."""

    def draw(axes: Axes) -> None:
        for number, (kind, some) in enumerate(points.items()):
            colour = series_colour(number)
            axes.plot(
                [x for x, _ in some],
                [y for _, y in some],
                "o",
                color=colour,
                label=kind,
                markersize=2.5,
                alpha=0.6,
            )
        axes.set_xlabel("first direction")
        axes.set_ylabel("second direction")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, markerscale=2)

    return drawing(draw, "map", "Embeddings along their two main directions", height=300)
