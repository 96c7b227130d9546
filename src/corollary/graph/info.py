"""What a graph holds: counts, the shape of its relations, degrees, components, and what train gives away.

Everything but the counts per split describes train: that is what a learner sees.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict

from corollary.graph.folder import Graph
from corollary.graph.leakage import THRESHOLD, Leakage, Overlap, PairIndex, leakage, overlaps
from corollary.kernels.components import component_of

if TYPE_CHECKING:
    import pandas

_MANY = 1.5  # mean answers a query from which a side counts as N: Bordes et al. 2013
_TOP = 10

Shape = Literal["1-1", "1-N", "N-1", "N-N", ""]


class Report(BaseModel):
    """What the parts below are: frozen, and plain data for `--json`."""

    model_config = ConfigDict(frozen=True)

    def as_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class RelationRow(Report):
    """One relation. Shares leave loops out; they and the shape are of the distinct triples in train."""

    relation: str
    triples: dict[str, int]
    """By split."""
    heads: int
    tails: int
    tails_per_head: float
    heads_per_tail: float
    shape: Shape
    """1-N: one head has many (1.5 or more on average) tails. Empty without a triple in train."""
    symmetric: float
    """Of the triples (h, r, t) in train, the share with (t, r, h) there."""
    inverse: str | None
    """The other relation that most often links the same two the other way round."""
    inverse_share: float
    """Of the triples (h, r, t), the share with (t, inverse, h)."""
    duplicate: str | None
    """The other relation that most often links the same two the same way."""
    duplicate_share: float


class EntityDegree(Report):
    label: str
    name: str
    degree: int


class Degrees(Report):
    """Triples in train that an entity is part of; a loop counts twice."""

    min: int
    median: float
    mean: float
    max: int
    top: list[EntityDegree]


class Components(Report):
    """Entities connected in train, whatever the direction; an entity without a triple is a component."""

    count: int
    largest_entities: int
    largest_share: float


class Unseen(Report):
    """What a held-out split names and train does not."""

    entities: int
    """Distinct entities of the split that no triple in train has."""
    triples_with_unseen_entity: int
    triples_with_unseen_relation: int


class GraphReport(Report):
    """The whole; `to_pandas()` is the relation table."""

    name: str
    fingerprint: str
    num_entities: int
    num_relations: int
    triples: dict[str, int]
    """By split."""
    node_types: dict[str, int]
    """Entities of each type, most frequent first; "" is unknown. Empty where the graph has no types."""
    relations: list[RelationRow]
    degrees: Degrees
    components: Components
    duplicates: dict[str, int]
    """By split: rows that repeat an earlier row of the split."""
    unseen: dict[str, Unseen]
    """By held-out split."""
    leakage: dict[str, Leakage]
    """By held-out split."""
    threshold: float = THRESHOLD
    """Overlap in both directions from which relations count as symmetric, inverse or duplicate in `leakage`."""

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a relation; each split has a column; a relation without inverse or duplicate has "" there."""
        import pandas

        rows = [row.model_dump() for row in self.relations]
        names = [name for name in RelationRow.model_fields if name not in ("relation", "triples")]
        return pandas.DataFrame(
            [
                {
                    "relation": r["relation"],
                    **r["triples"],
                    **{n: "" if r[n] is None else r[n] for n in names},
                }
                for r in rows
            ],
            columns=["relation", *self.triples, *names],
        )


def graph_info(graph: Graph) -> GraphReport:
    """Describe a graph. Raises `GraphDamaged` where a file of it cannot be read.

    Memory: about 80 bytes a training triple (measured).
    """
    train = np.asarray(graph.triples("train"))
    index = PairIndex.build(train, graph.num_entities, graph.num_relations)
    reverse, parallel = overlaps(index, reverse=True), overlaps(index, reverse=False)
    held_out = {split: np.asarray(graph.triples(split)) for split in graph.splits if split != "train"}
    repeats = {"train": len(train) - len(index.relations)}
    for split, rows in held_out.items():
        repeats[split] = len(rows) - len(np.unique(rows, axis=0))
    degree = _degrees(train, graph.num_entities)
    return GraphReport(
        name=graph.name,
        fingerprint=graph.fingerprint,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        triples=dict(graph.info.num_triples),
        node_types=_node_types(graph),
        relations=_relation_table(graph, index, reverse, parallel),
        degrees=_degree_report(graph, degree),
        components=_components(train, graph.num_entities),
        duplicates=repeats,
        unseen={split: _unseen(rows, train, degree, graph) for split, rows in held_out.items()},
        leakage={split: leakage(index, rows, reverse, parallel) for split, rows in held_out.items()},
    )


def _node_types(graph: Graph) -> dict[str, int]:
    if graph.types is None:
        return {}
    codes, counts = np.unique(graph.types, return_counts=True)
    names = [graph.info.node_types[code] if code >= 0 else "" for code in codes.tolist()]
    return dict(sorted(zip(names, counts.tolist(), strict=True), key=lambda item: (-item[1], item[0])))


def _relation_table(
    graph: Graph, index: PairIndex, reverse: list[Overlap], parallel: list[Overlap]
) -> list[RelationRow]:
    count = graph.num_relations
    by_split = {
        split: np.bincount(graph.triples(split)[:, 1], minlength=count).tolist() for split in graph.splits
    }
    head, relation, tail = index.triples().T
    distinct = np.bincount(relation, minlength=count)
    heads, tails = (_distinct(relation, ends, graph) for ends in (head, tail))
    symmetric = {o.relation: o.share for o in reverse if o.relation == o.other}
    inverse = _best([o for o in reverse if o.relation != o.other])
    duplicate = _best(parallel)
    labels = list(graph.relations.labels)
    rows = []
    for row in range(count):
        fan_out, fan_in = distinct[row] / max(heads[row], 1), distinct[row] / max(tails[row], 1)
        shape = (
            f"{'N' if fan_in >= _MANY else '1'}-{'N' if fan_out >= _MANY else '1'}" if distinct[row] else ""
        )
        back, copy = inverse.get(row), duplicate.get(row)
        rows.append(
            RelationRow.model_validate(
                {
                    "relation": labels[row],
                    "triples": {split: counts[row] for split, counts in by_split.items()},
                    "heads": heads[row],
                    "tails": tails[row],
                    "tails_per_head": fan_out,
                    "heads_per_tail": fan_in,
                    "shape": shape,
                    "symmetric": symmetric.get(row, 0.0),
                    "inverse": labels[back.other] if back else None,
                    "inverse_share": back.share if back else 0.0,
                    "duplicate": labels[copy.other] if copy else None,
                    "duplicate_share": copy.share if copy else 0.0,
                }
            )
        )
    return rows


def _distinct(
    relation: Int[np.ndarray, " n"], entity: Int[np.ndarray, " n"], graph: Graph
) -> Int[np.ndarray, " relations"]:
    """Distinct entities on one side of each relation."""
    keys = np.sort(
        relation * graph.num_entities + entity
    )  # four times faster than np.unique's hashing (measured)
    fresh = np.diff(keys, prepend=-1) > 0
    return np.bincount(keys[fresh] // graph.num_entities, minlength=graph.num_relations)


def _best(found: list[Overlap]) -> dict[int, Overlap]:
    """For each relation the overlap with the largest share; of equals the one with the larger share of the other."""
    best: dict[int, Overlap] = {}
    for overlap in found:
        rival = best.get(overlap.relation)
        if rival is None or (overlap.share, overlap.share_of_other) > (rival.share, rival.share_of_other):
            best[overlap.relation] = overlap
    return best


def _degrees(triples: Int[np.ndarray, "n 3"], num_entities: int) -> Int[np.ndarray, " entities"]:
    head, tail = (np.bincount(triples[:, column], minlength=num_entities) for column in (0, 2))
    return head + tail


def _degree_report(graph: Graph, degree: Int[np.ndarray, " entities"]) -> Degrees:
    if not len(degree):
        return Degrees(min=0, median=0, mean=0, max=0, top=[])
    top = np.argsort(-degree, kind="stable")[:_TOP].tolist()
    return Degrees(
        min=int(degree.min()),
        median=float(np.median(degree)),
        mean=float(degree.mean()),
        max=int(degree.max()),
        top=[
            EntityDegree(label=graph.entities.label(i), name=graph.entities.name(i), degree=int(degree[i]))
            for i in top
        ],
    )


def _components(triples: Int[np.ndarray, "n 3"], num_entities: int) -> Components:
    head, tail = (np.ascontiguousarray(triples[:, column], dtype=np.int64) for column in (0, 2))
    sizes = np.bincount(component_of(head, tail, num_entities), minlength=1)
    largest = int(sizes.max())
    return Components(
        count=int(np.count_nonzero(sizes)),
        largest_entities=largest,
        largest_share=largest / max(num_entities, 1),
    )


def _unseen(
    rows: Int[np.ndarray, "n 3"],
    train: Int[np.ndarray, "m 3"],
    degree: Int[np.ndarray, " entities"],
    graph: Graph,
) -> Unseen:
    new = degree == 0
    trained = np.bincount(train[:, 1], minlength=graph.num_relations) > 0
    ends = np.unique(rows[:, [0, 2]])
    return Unseen(
        entities=int(new[ends].sum()),
        triples_with_unseen_entity=int((new[rows[:, 0]] | new[rows[:, 2]]).sum()),
        triples_with_unseen_relation=int((~trained[rows[:, 1]]).sum()),
    )
