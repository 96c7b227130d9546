"""A picture of a taxonomy in the Poincaré disk, the ranks in colours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from corollary.storage import new_file

_MOST_GROUPS = 12
_FAR_OUT = 6.0  # beyond it tanh(radius / 2) is within half a percent of the edge


def draw_disk(
    path: Path,
    points: Float[np.ndarray, "nodes dim"],
    parent: Int[np.ndarray, " nodes"],
    groups: Int[np.ndarray, " nodes"],
    names: Sequence[str],
    *,
    title: str,
    most: int = 20_000,
) -> None:
    """Write a PNG or SVG: nodes, links between them, the largest groups coloured.

    Two dimensions with moderate radii are drawn as they are. More are brought down to the two in which directions vary
    most; radii that would all lie on the edge are drawn by their rank. The title says so.

    Args:
        groups: an integer a node; -1: none.
        names: by group, for the legend.
        most: nodes drawn, a fixed random sample that keeps the nodes near the centre.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Circle

    places, how = _places(points)
    radius = np.linalg.norm(points, axis=1)
    title = f"{title}\n{how}"
    kept = np.arange(len(points))
    if len(kept) > most:
        inner = np.argsort(radius, kind="stable")[: most // 4]
        rest = np.random.default_rng(0).choice(len(points), most - len(inner), replace=False)
        kept = np.union1d(inner, rest)
    figure, axis = pyplot.subplots(figsize=(9, 9))
    axis.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
    linked = kept[parent[kept] >= 0]
    axis.plot(
        np.stack([places[linked, 0], places[parent[linked], 0]]),
        np.stack([places[linked, 1], places[parent[linked], 1]]),
        color="0.85",
        linewidth=0.3,
        zorder=1,
    )
    colours = pyplot.get_cmap("tab20")
    found, counts = np.unique(groups[groups >= 0], return_counts=True)
    largest = found[np.argsort(-counts, kind="stable")[:_MOST_GROUPS]]
    others = kept[~np.isin(groups[kept], largest)]
    axis.scatter(places[others, 0], places[others, 1], s=2, color="0.7", zorder=2)
    for number, group in enumerate(largest):
        mine = kept[groups[kept] == group]
        axis.scatter(
            places[mine, 0], places[mine, 1], s=3, color=colours(number), label=names[int(group)], zorder=3
        )
    if len(largest):
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=4, frameon=False, fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.set_aspect("equal")
    axis.set_axis_off()
    with new_file(path) as partial:
        figure.savefig(partial, dpi=130, bbox_inches="tight", format=path.suffix.lstrip("."))
    pyplot.close(figure)


def _places(points: Float[np.ndarray, "nodes dim"]) -> tuple[Float[np.ndarray, "nodes 2"], str]:
    """Where in the unit disk, and in words how."""
    radius = np.linalg.norm(points, axis=1)
    directions = points / np.where(radius > 0, radius, 1)[:, None]
    how = "Poincaré disk"
    if points.shape[1] > 2:
        _, _, axes = np.linalg.svd(directions - directions.mean(0), full_matrices=False)
        directions = directions @ axes[:2].T
        how = f"{points.shape[1]} dimensions, the two in which directions vary most"
    if points.shape[1] > 2 or np.quantile(radius, 0.9) > _FAR_OUT:
        order = np.argsort(np.argsort(radius, kind="stable"), kind="stable")
        shrink = np.sqrt(order / max(len(radius) - 1, 1))
        how += ", radii by rank"
    else:
        shrink = np.tanh(radius / 2)
    length = np.linalg.norm(directions, axis=1)
    return (shrink / np.where(length > 0, length, 1))[:, None] * directions, how
