"""Whether embeddings can tell nodes apart: alarms by node type, with the reasons for the verdict.

What is trusted is ranking held-out facts. The spectrum measures here are alarms, for embeddings that come without
facts: they see rows that are broken, never trained, or alike within their type. A mean cosine over all nodes sees none
of this, for one common offset makes it large while nodes differ as before; and a count of principal components over all
nodes counts the types, where types lie apart. So both are given, and judged by neither.

Sources: Garrido et al. 2023 (RankMe, effective rank); Wang & Isola 2020 (uniformity); Radovanović et al. 2010 (hubness).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict

SMALLEST_TYPE = 20
"""Nodes below which a type is not judged."""
OLD_COSINE, OLD_COMPONENTS = 0.7, 10
"""Thresholds of older scripts, shown beside the verdict."""
_SAMPLE = 3000  # rows of measures that compare pairs
_NEIGHBOURS = 10
_UNTRAINED = 0.01  # share of rows
_SMALL_NORM = 0.05  # of the median norm of the type
_SPREAD = 1e-3  # root mean square distance from the type's mean, over the root mean square of norms
_RANK_SHARE = 0.05  # of the largest effective rank that a type can have
_LEAST_RANK = 2.0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class TypeHealth(_Record):
    """One node type, its rows measured from the mean of the type."""

    name: str
    rows: int
    effective_rank: float
    """Exponential of the entropy of the normalised singular values; at most min(rows - 1, dimensions)."""
    components: int
    """Principal components that hold 90 % of the variance."""
    spread: float
    """Root mean square distance from the mean, over the root mean square of the norms."""
    mean_cosine: float
    """Of all pairs as they are."""
    mean_cosine_centred: float
    """Of all pairs, after the mean of all nodes is taken off."""
    collapsed: bool


class Health(_Record):
    """What `examine` found."""

    verdict: Literal["healthy", "warnings", "failed"]
    reasons: tuple[str, ...]
    """Each begins with FAILED or warning."""
    rows: int
    dimensions: int
    mean_cosine: float
    mean_cosine_centred: float
    mean_cosine_within: float
    """Within types, each measured from its own mean; the mean over types by their pairs."""
    components: int
    components_within: int
    """Of all nodes, each measured from the mean of its type."""
    effective_rank: float
    uniformity: float
    """Log of the mean of exp(-2 squared distance) of unit rows; the lower the more evenly spread."""
    hubness: float
    """Skewness of how often a node is among the ten nearest of others."""
    type_separation: float
    """Share of the variance that lies between the means of types."""
    degree_correlation: float | None
    """Of norm and degree, by ranks; None without degrees."""
    share_not_finite: float
    share_untrained: float
    """Zero, constant, or below a twentieth of the type's median norm; with degrees, of the rows of nodes with an edge."""
    share_isolated: float | None
    """Of rows, those of nodes without an edge, which no other measure of embeddings looks at; None without degrees."""
    share_repeated: float
    """Rows that equal another one to the bit."""
    old_verdict: str
    """What older scripts would say."""
    types: tuple[TypeHealth, ...]


def examine(
    vectors: Float[np.ndarray, "rows dim"],
    types: Sequence[str] | None = None,
    degrees: Int[np.ndarray, " rows"] | None = None,
    *,
    seed: int = 0,
) -> Health:
    """Measure embeddings and judge them.

    Args:
        types: of every row; not given: all are of one.
        degrees: of every row, for the correlation and to keep apart the nodes without an edge: no training can tell
            where they belong, so they speak neither for nor against it.

    Memory: three copies of the embeddings in float64; pairs are compared in a sample of 3,000 rows.
    """
    count, dim = vectors.shape
    names = np.array(["all"] * count if types is None else [kind or "untyped" for kind in types])
    x = np.asarray(vectors, np.float64)
    finite: Bool[np.ndarray, " rows"] = np.asarray(np.isfinite(x).all(1))
    linked = np.ones(count, bool) if degrees is None else degrees > 0
    untrained = _untrained(x, names, finite & linked)
    shares = {
        "share_not_finite": _share(~finite),
        "share_untrained": _share(untrained[linked]),
        "share_isolated": None if degrees is None else _share(~linked),
    }
    used = finite & linked & ~untrained
    if used.sum() < 3:
        used = finite & linked
    x, kinds = x[used], names[used]
    if len(x) < 3:
        return _unusable(count, dim, shares)
    centred = x - x.mean(0)
    within = centred.copy()
    for kind in np.unique(kinds):
        rows = kinds == kind
        within[rows] -= within[rows].mean(0)
    total = float((centred**2).sum())
    found = [_type_health(kind, x[kinds == kind], centred[kinds == kind]) for kind in np.unique(kinds)]
    sample = np.sort(np.random.default_rng(seed).permutation(len(x))[:_SAMPLE])
    near = unit(centred[sample])
    products = near @ near.T
    correlation = None if degrees is None else _rank_correlation(np.linalg.norm(x, axis=1), degrees[used])
    measures = {
        "rows": count,
        "dimensions": dim,
        "mean_cosine": mean_cosine(x),
        "mean_cosine_centred": mean_cosine(centred),
        "mean_cosine_within": mean_cosine_by(within, kinds),
        "components": components(centred),
        "components_within": components(within),
        "effective_rank": effective_rank(centred),
        "uniformity": _uniformity(products),
        "hubness": _hubness(products),
        "type_separation": 1 - float((within**2).sum()) / total if total else 0.0,
        "degree_correlation": correlation,
        "share_repeated": _repeated(x) / count,
        "types": tuple(found),
    }
    measures |= shares
    return Health.model_validate(measures | _judge(measures, sorted(set(names) - set(names[linked]))))


def _share(rows: Bool[np.ndarray, " rows"]) -> float:
    return float(rows.mean()) if len(rows) else 0.0


def _judge(measures: dict, isolated: Sequence[str]) -> dict:
    """Verdict, reasons, and what older scripts would have said.

    Args:
        isolated: types of which no node has an edge.
    """
    failed, warnings = [], []
    if measures["share_not_finite"]:
        failed.append(f"{measures['share_not_finite']:.2%} of rows hold numbers that are not finite")
    if measures["share_untrained"] > _UNTRAINED:
        failed.append(
            f"{measures['share_untrained']:.1%} of rows were never trained: zero, constant, or far shorter than "
            "others of their type"
        )
    failed += [
        f"{kind.name} has collapsed: effective rank {kind.effective_rank:.1f}, spread {kind.spread:.2g}"
        for kind in measures["types"]
        if kind.collapsed
    ]
    if (measures["share_isolated"] or 0) > _UNTRAINED:
        whole = f", among them all of type {', '.join(isolated)}" if isolated else ""
        warnings.append(
            f"{measures['share_isolated']:.1%} of rows are nodes without an edge{whole}: nothing was learnt of where "
            "they belong, and no other measure here counts them"
        )
    if measures["share_repeated"] > _UNTRAINED:
        warnings.append(f"{measures['share_repeated']:.1%} of rows equal another row")
    if measures["mean_cosine"] - measures["mean_cosine_centred"] > 0.3:
        warnings.append(
            f"one common offset: mean cosine {measures['mean_cosine']:.2f}, without it "
            f"{measures['mean_cosine_centred']:.2f}; take the mean off before comparing by cosine"
        )
    if len(measures["types"]) > 1 and measures["type_separation"] > 0.8:
        warnings.append(
            f"tight type clusters: {measures['type_separation']:.0%} of the variance lies between types; compare "
            "nodes within their type"
        )
    if measures["hubness"] > 5:
        warnings.append(f"hubs: a few nodes are near to very many (skewness {measures['hubness']:.1f})")
    if abs(measures["degree_correlation"] or 0) > 0.8:
        warnings.append(f"norms follow degree (correlation {measures['degree_correlation']:.2f})")
    cosine, number = measures["mean_cosine"], measures["components"]
    old = "collapsed" if cosine >= OLD_COSINE or number < OLD_COMPONENTS else "fine"
    return {
        "verdict": "failed" if failed else "warnings" if warnings else "healthy",
        "reasons": tuple([f"FAILED: {text}" for text in failed] + [f"warning: {text}" for text in warnings]),
        "old_verdict": f"{old}: mean cosine {cosine:.3f} (below {OLD_COSINE}), {number} components for 90 % "
        f"(at least {OLD_COMPONENTS})",
    }


def _type_health(
    name: str, x: Float[np.ndarray, "rows dim"], centred: Float[np.ndarray, "rows dim"]
) -> TypeHealth:
    own = x - x.mean(0)
    size = float(np.sqrt((x**2).sum(1).mean()))
    spread = float(np.sqrt((own**2).sum(1).mean())) / size if size else 0.0
    rank = effective_rank(own)
    floor = max(_LEAST_RANK, _RANK_SHARE * min(len(x) - 1, x.shape[1]))
    return TypeHealth(
        name=str(name),
        rows=len(x),
        effective_rank=rank,
        components=components(own),
        spread=spread,
        mean_cosine=mean_cosine(x),
        mean_cosine_centred=mean_cosine(centred),
        collapsed=len(x) >= SMALLEST_TYPE and (rank < floor or spread < _SPREAD),
    )


def _untrained(
    x: Float[np.ndarray, "rows dim"], names: np.ndarray, judged: Bool[np.ndarray, " rows"]
) -> Bool[np.ndarray, " rows"]:
    """Which of the judged rows, all of them finite, look as if no training had reached them."""
    found = np.zeros(len(x), bool)
    found[judged] = np.ptp(x[judged], axis=1) == 0 if x.shape[1] > 1 else (x[judged] == 0).all(1)
    norms = np.linalg.norm(np.where(judged[:, None], x, 0), axis=1)
    for kind in np.unique(names):
        rows = (names == kind) & judged
        if rows.any():
            found |= rows & (norms < _SMALL_NORM * np.median(norms[rows]))
    return found


def _unusable(count: int, dim: int, shares: dict) -> Health:
    apart = "" if shares["share_isolated"] is None else " and belong to nodes with an edge"
    return Health(
        verdict="failed",
        reasons=(f"FAILED: fewer than three rows hold finite numbers{apart}",),
        rows=count,
        dimensions=dim,
        mean_cosine=0.0,
        mean_cosine_centred=0.0,
        mean_cosine_within=0.0,
        components=0,
        components_within=0,
        effective_rank=0.0,
        uniformity=0.0,
        hubness=0.0,
        type_separation=0.0,
        degree_correlation=None,
        **shares,
        share_repeated=0.0,
        old_verdict="nothing to measure",
        types=(),
    )


def unit(x: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Rows of length one; a zero row stays zero."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms == 0, 1, norms)


def mean_cosine(x: Float[np.ndarray, "rows dim"]) -> float:
    """Of all pairs of rows, from the length of the sum of unit rows."""
    if len(x) < 2:
        return 0.0
    near = unit(x)
    return float((near.sum(0) ** 2).sum() - (near**2).sum()) / (len(x) * (len(x) - 1))


def mean_cosine_by(x: Float[np.ndarray, "rows dim"], kinds: np.ndarray) -> float:
    """Of all pairs of rows of one type."""
    total = pairs = 0.0
    for kind in np.unique(kinds):
        own = x[kinds == kind]
        number = len(own) * (len(own) - 1)
        total, pairs = total + mean_cosine(own) * number, pairs + number
    return total / pairs if pairs else 0.0


def spectrum(x: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " values"]:
    """Singular values of centred rows, largest first, from the smaller Gram matrix."""
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    return np.sqrt(np.clip(np.linalg.eigvalsh(gram)[::-1], 0, None))


def components(x: Float[np.ndarray, "rows dim"], share: float = 0.9) -> int:
    """Principal components that hold this share of the variance of centred rows."""
    variance = spectrum(x) ** 2
    if variance.sum() == 0:
        return 0
    return int(np.searchsorted(np.cumsum(variance) / variance.sum(), share - 1e-12) + 1)


def effective_rank(x: Float[np.ndarray, "rows dim"]) -> float:
    """exp(entropy of the normalised singular values) of centred rows."""
    values = spectrum(x)
    values = values[values > values.max(initial=0) * 1e-7]
    if not len(values):
        return 0.0
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _uniformity(products: Float[np.ndarray, "n n"]) -> float:
    rows = len(products)
    squared = 2 - 2 * products[~np.eye(rows, dtype=bool)]
    return float(np.log(np.exp(-2 * squared).mean()))


def occurrences(products: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """How often each row is among the nearest ten of others."""
    others = products.copy()
    np.fill_diagonal(others, -np.inf)
    nearest = min(_NEIGHBOURS, len(others) - 1)
    chosen = np.argpartition(-others, nearest - 1, axis=1)[:, :nearest]
    return np.bincount(chosen.ravel(), minlength=len(others))


def _hubness(products: Float[np.ndarray, "n n"]) -> float:
    counts = occurrences(products).astype(np.float64)
    deviation = counts.std()
    return float((((counts - counts.mean()) / deviation) ** 3).mean()) if deviation else 0.0


def _repeated(x: Float[np.ndarray, "rows dim"]) -> int:
    return len(x) - len(np.unique(x, axis=0))


def _rank_correlation(a: Float[np.ndarray, " n"], b: Int[np.ndarray, " n"]) -> float:
    """Spearman's, ties in the middle."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[place]

    one, other = ranks(a), ranks(b)
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
