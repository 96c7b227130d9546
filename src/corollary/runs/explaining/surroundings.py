"""Where both ends stand: in a taxonomy, and among the entities that a model puts next to them."""

from collections.abc import Callable, Sequence

from corollary.geometry.hyperbolic import distance
from corollary.graph.taxonomy import Taxonomy
from corollary.records.explanation import Hierarchy, Missing, Neighbour, Neighbours, Share, wilson
from corollary.runs.embeddings import embeds, nearest
from corollary.runs.explaining.asked import AskedTriple, FactList
from corollary.runs.poincare.kind import Embedded
from corollary.runs.run import Run

_SHOWN = 5


def hierarchy(runs: Sequence[Run], asked: AskedTriple, facts: FactList) -> Hierarchy | Missing:
    """Ancestors of both ends in the first taxonomy among the runs that holds both, matched by label."""
    trees = [run for run in runs if run.kind.name == "poincare"]
    if not trees:
        return Missing(missing="no run of a taxonomy was given")
    labels = [asked.graph.entities.label(end) for end in (asked.head, asked.tail)]
    for run in trees:
        found = [run.graph.entities.labels.rows_of(label) for label in labels]
        if all(found):
            return _standing(run, [rows[0] for rows in found], asked, facts)
    return Missing(missing="no given taxonomy holds both ends")


def _standing(run: Run, ends: list[int], asked: AskedTriple, facts: FactList) -> Hierarchy | Missing:
    embedded = Embedded.of(run)
    taxonomy, known = embedded.full, embedded.full.rows
    if max(ends) >= len(known) or min(known[ends]) < 0:
        return Missing(missing="no given taxonomy holds both ends")
    rows = [int(known[end]) for end in ends]
    depth = taxonomy.tree.depth

    def above(row: int) -> list[int]:
        return sorted(taxonomy.ancestors(row).tolist(), key=lambda one: (-int(depth[one]), one))

    def here(row: int) -> int | None:
        """The asked graph's entity of a row of the taxonomy."""
        label = run.graph.entities.label(int(taxonomy.entity_ids[row]))
        rows_of = asked.graph.entities.labels.rows_of(label)
        return rows_of[0] if rows_of else None

    chains = [above(row) for row in rows]
    lines = [[row, *chain] for row, chain in zip(rows, chains, strict=True)]
    common = next((row for row in lines[0] if row in set(lines[1])), None)
    shown = [[entity for row in chain if (entity := here(row)) is not None] for chain in chains]
    facts.mention(*shown[0], *shown[1])
    apart = None
    if len(embedded.points) == len(taxonomy):
        apart = float(distance(embedded.points[rows[0]], embedded.points[rows[1]]))
    found = None if common is None else here(common)
    if found is not None:
        facts.mention(found)
    return Hierarchy(
        run=run.folder.name,
        above_head=shown[0],
        above_tail=shown[1],
        common=found,
        common_depth=None if common is None else int(depth[common]),
        common_size=None if common is None else int(taxonomy.tree.size[common]) - 1,
        siblings_with_relation=_siblings(taxonomy, rows[1 if asked.side == "tail" else 0], here, asked),
        distance=apart,
    )


def _siblings(
    taxonomy: Taxonomy, row: int, here: Callable[[int], int | None], asked: AskedTriple
) -> Share | None:
    """Of the answer's siblings, those that are answers of the same query."""
    parent = int(taxonomy.tree.parent[row])
    if parent < 0:
        return None
    first, last = taxonomy.tree.child_offsets[parent : parent + 2]
    others = [int(one) for one in taxonomy.tree.child_rows[first:last] if int(one) != row]
    known = set(asked.known_of(asked.entity, asked.directed).tolist())
    return wilson(sum(here(one) in known for one in others), len(others))


def neighbours(runs: Sequence[Run], asked: AskedTriple, facts: FactList) -> Neighbours | Missing:
    """The entities that the first run with embeddings puts nearest to each end, by cosine.

    Memory: one block of the table, and 4 bytes an entity.
    """
    run = next((one for one in runs if embeds(one)), None)
    if run is None:
        return Missing(missing="no run with embeddings of entities was given")
    found = {}
    for name, end, other, directed in (
        ("head", asked.head, asked.tail, asked.relation + asked.graph.num_relations),
        ("tail", asked.tail, asked.head, asked.relation),
    ):
        best = nearest(run, end, _SHOWN)
        has = set(asked.known_of(other, directed, "train").tolist())
        facts.mention(*(one for one, _ in best))
        found[name] = [
            Neighbour(entity=one, similarity=value, has_relation=one in has) for one, value in best
        ]
    return Neighbours(run=run.folder.name, head=found["head"], tail=found["tail"])
