"""Which triples are asked about, and which training triples are looked at."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from corollary.errors import InputError, UnknownName
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.runs.run import Run


def asked_triples(
    run: Run, wanted: Sequence[tuple[str, str, str]], *, where: str = "", say: Say = silent
) -> Int[np.ndarray, "known 3"]:
    """Ids of triples given as labels or names; one with an unknown name is said and left out.

    Args:
        where: the file that they come from; line numbers follow it.

    Raises `InputError` where none is left.
    """
    return asked_with_rivals(run, [(*triple, None) for triple in wanted], where=where, say=say)[0]


def asked_with_rivals(
    run: Run,
    wanted: Sequence[tuple[str, str, str, str | None]],
    *,
    answer: int = 2,
    where: str = "",
    say: Say = silent,
) -> tuple[Int[np.ndarray, "known 3"], Int[np.ndarray, " known"] | None]:
    """The same with, for a contrast, the entity that each answer is compared with; None where none is given.

    Args:
        answer: column of the answer: 2 for the tail, 0 for the head.
    """
    graph, found, rivals = run.graph, [], []
    for number, (head, relation, tail, rival) in enumerate(wanted, start=1):
        place = f"{where}:{number}" if where else ""
        try:
            triple = (
                graph.entities.find(head, where=place),
                graph.relations.find(relation, where=place),
                graph.entities.find(tail, where=place),
            )
            if rival is not None:
                other = graph.entities.find(rival, where=place)
                if other == triple[answer]:
                    raise UnknownName(f"{place + ': ' if place else ''}{rival!r} is the answer itself")
                rivals.append(other)
            found.append(triple)
        except UnknownName as error:
            say(f"left out ({head}, {relation}, {tail}): {error}")
    if not found:
        raise InputError(f"{where or 'no triple'}: none of the {len(wanted)} triples is left to ask about")
    if rivals and len(rivals) < len(found):
        raise InputError(f"{where}: some triples have an entity to compare with and some have none")
    return np.array(found, dtype=np.int64), np.array(rivals, dtype=np.int64) if rivals else None


def training_rows(run: Run, triples: Int[np.ndarray, "n 3"], *, where: str = "") -> Int[np.ndarray, " n"]:
    """Rows of these triples in the training split. Raises `InputError` naming the first that is not there."""
    graph = run.graph
    split = np.asarray(graph.triples("train")).astype(np.int64)
    keys, wanted = (
        (part[:, 0] * graph.num_relations + part[:, 1]) * graph.num_entities + part[:, 2]
        for part in (split, triples.astype(np.int64))
    )
    order = np.argsort(keys, kind="stable")
    places = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    rows = order[places]
    absent = np.flatnonzero(keys[rows] != wanted)
    if len(absent):
        head, relation, tail = (int(part) for part in triples[absent[0]])
        label = graph.entities.label
        raise InputError(
            f"{where + ': ' if where else ''}({label(head)}, {graph.relations.label(relation)}, {label(tail)}) is not "
            "among the training triples"
        )
    return np.unique(rows)


def candidate_rows(
    graph: Graph, relations: Sequence[str], candidates: Int[np.ndarray, " rows"] | None
) -> Int[np.ndarray, " rows"]:
    """Rows of the training split, ascending. Raises `InputError` where none is left."""
    rows = np.arange(graph.info.num_triples["train"]) if candidates is None else np.unique(candidates)
    if relations:
        wanted = graph.relations.find_all(list(relations))
        rows = rows[np.isin(np.asarray(graph.triples("train")[:, 1])[rows], wanted)]
    if not len(rows):
        raise InputError("no training triple is a candidate: widen relations or the file of candidates")
    return rows


def near(graph: Graph, asked: Int[np.ndarray, "asked 3"], hops: int) -> Bool[np.ndarray, "entities asked"]:
    """Entities less than `hops` training triples away from the head or the tail of each asked triple."""
    train = np.asarray(graph.triples("train"))
    head, tail = train[:, 0], train[:, 2]
    found = np.zeros((graph.num_entities, len(asked)), dtype=bool)
    for number, (first, _, last) in enumerate(asked.tolist()):
        reached = np.zeros(graph.num_entities, dtype=bool)
        reached[[first, last]] = True
        for _ in range(hops - 1):
            touched = reached[head] | reached[tail]
            reached[head[touched]] = True
            reached[tail[touched]] = True
        found[:, number] = reached
    return found
