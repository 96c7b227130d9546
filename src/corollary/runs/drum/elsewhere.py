"""A trained DRUM, or chains, on another graph: weights and rules know relations, not entities.

The other graph has its own entities, and its own training triples to walk on. It has the same relations under the same
ids; where queries are generated (`model.generated`) it may have others besides, in any order.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from corollary.errors import GraphMismatch, InputError, RunError
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_triples
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.kernels.paths import Links
from corollary.learners.counted_rules import CountedRules
from corollary.learners.drum.data import DrumData, drum_data
from corollary.learners.drum.scoring import DrumEnsemble, Member
from corollary.learners.drum.unseen import AdaptingConfig, adapt, extended
from corollary.learners.protocol import Scorer
from corollary.messages import Say, silent
from corollary.rules.rule import renumbered
from corollary.runs.drum.models import models_of
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.planning import CHUNK
from corollary.runs.rules.kind import load_rules, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run
from corollary.storage import new_file

TEST_GRAPH = "test-graph"
"""The folder, in that of a run on an inductive folder, with the graph that is asked."""
_ENDINGS = (".txt", ".tsv", ".pl")


def evaluate_elsewhere(
    run: Run, graph: Graph | str | Path, split: str = "test", *, adapting: AdaptingConfig = AdaptingConfig()
) -> dict[str, Evaluation]:
    """Ranks of a split of another graph: of the model, where the run has one, and of its counted chains.

    Rules with constants take no part: their entities are of the first graph.

    Args:
        adapting: how the queries of relations that the run did not see are moved by their training facts there.

    Raises `GraphMismatch` where relations differ, `RunError` for a run of another learner.
    """
    other = graph if isinstance(graph, Graph) else Graph.open(graph)
    options = run.options
    if not isinstance(options, WithRules):
        raise RunError(f"{run.path} is a run of {run.kind.name}, whose weights belong to its entities")
    places = _places(run, options, other)
    if not other.info.num_triples.get(split, 0):
        raise InputError(f"{other.path} has no {split} triples to rank")
    triples = np.asarray(other.triples(split))
    rules = load_rules(run.path)
    chains = renumbered(rules.take(rules.are_chains), places, other.num_relations)
    counted = CountedRules(chains, train_links(other), options.how)
    scorers: dict[str, Scorer] = {"counted rules": counted}
    if isinstance(options, DrumOptions):
        scorers = {"model": moved(run, options, other, places, counted, adapting), **scorers}
    chosen = options.evaluation
    return {
        name: rank_triples(
            scorer,
            other,
            triples,
            name=split,
            filter=chosen.filter,
            ties=chosen.ties,
            hits=chosen.hits,
            chunk=CHUNK,
            seed=options.seed,
            resamples=chosen.resamples,
        )
        for name, scorer in scorers.items()
    }


def inductive_graphs(folder: Path, output: Path, *, say: Say = silent) -> tuple[Graph, Graph]:
    """A folder with train_facts, train, valid and test_facts, test as two graphs in `output`, one to train on and one
    to ask, with the same relations.

    Raises `InputError` where one of them is missing, or the second graph has a relation that the first lacks.
    """
    found = {name: _one_of(folder, name) for name in ("train_facts", "train", "valid", "test_facts", "test")}
    missing = [name for name, path in found.items() if path is None and name != "valid"]
    if missing:
        raise InputError(f"{folder} has no {missing[0]}.txt: an inductive folder has facts for both graphs")
    train = tuple(path for path in (found["train_facts"], found["train"]) if path)
    valid = (found["valid"],) if found["valid"] else ()
    first = import_graph(output / "graph", ImportConfig(train=train, valid=valid), say=say)
    ids = output / "relation_to_id.tsv"
    with new_file(ids) as partial:
        lines = [f"{label}\t{row}\n" for row, label in enumerate(first.relations.labels)]
        partial.write_text("".join(lines), encoding="utf-8")
    facts, test = found["test_facts"], found["test"]
    assert facts is not None
    assert test is not None
    config = ImportConfig(train=(facts,), test=(test,), relation_to_id=ids)
    return first, import_graph(output / TEST_GRAPH, config, say=say)


def is_inductive(folder: Path) -> bool:
    """Whether a folder holds facts for a second graph."""
    return folder.is_dir() and _one_of(folder, "test_facts") is not None


def _one_of(folder: Path, name: str) -> Path | None:
    return next((path for path in sorted(folder.glob(f"{name}.*")) if path.suffix in _ENDINGS), None)


def _places(run: Run, options: WithRules, other: Graph) -> Int[np.ndarray, " relations"]:
    """The number of each of the run's relations on another graph. Raises `GraphMismatch`."""
    mine, theirs = (list(graph.relations.labels) for graph in (run.graph, other))
    if isinstance(options, DrumOptions) and options.model.generated:
        missing = [name for name in mine if name not in theirs]
        if missing:
            raise GraphMismatch(
                f"{other.path} lacks relation {missing[0]!r} of {run.path}: import it with a --relation-to-id that "
                "names all of them"
            )
        return np.array([theirs.index(name) for name in mine])
    if mine != theirs:
        raise GraphMismatch(
            f"{other.path} has {len(theirs)} relations that are not those of {run.graph.path} in their order: import it "
            "with the same --relation-to-id"
        )
    return np.arange(len(mine))


def moved(
    run: Run,
    options: DrumOptions,
    other: Graph,
    places: Int[np.ndarray, " relations"],
    fallback: Scorer | None,
    adapting: AdaptingConfig,
) -> DrumEnsemble:
    """The models of the run on the other graph's triples; operators stay those of the first, and relations that it did
    not have are asked by generated queries.

    Args:
        places: number of each of the run's relations there.
        fallback: what answers for relations of the run that no model covers.
    """
    train, names = np.asarray(other.triples("train")), list(other.relations.labels)
    data = facts_on(run, options, train_links(other), train, names, places)
    return DrumEnsemble(members_on(run, options, data, places, adapting), fallback)


def facts_on(
    run: Run,
    options: DrumOptions,
    links: Links,
    known: Int[np.ndarray, "n 3"],
    names: Sequence[str],
    places: Int[np.ndarray, " relations"],
) -> DrumData:
    """Other facts to walk on; those of relations that the run did not see are what its queries are moved by."""
    count = len(names)
    new = np.setdiff1d(np.arange(count), places)
    asked = np.unique(known[np.isin(known[:, 1], new)], axis=0)
    allowed = drum_data(run.graph, options.model, seed=options.seed).allowed
    if allowed is not None:
        allowed = _allowed_there(allowed, places, new, count, options)
    return DrumData(count, links, asked, known, names, allowed)


def members_on(
    run: Run,
    options: DrumOptions,
    data: DrumData,
    places: Int[np.ndarray, " relations"],
    adapting: AdaptingConfig,
) -> list[Member]:
    """The models of the run on other facts; each covers the relations that it was trained for, and all unseen ones."""
    members = []
    for learner, relations in models_of(run, options):
        covers = np.ones(data.num_relations, bool)
        covers[places] = False
        covers[places[relations]] = True
        if options.model.generated:
            there = extended(learner, places, data)
            adapt(there, adapting)
        else:
            there = learner
            there.num_entities = len(data.links.segments) - 1
            there.walk_on(data)
        members.append(Member(there, covers))
    return members


def _allowed_there(
    first: Bool[np.ndarray, "directed operators"],
    places: Int[np.ndarray, " relations"],
    new: Int[np.ndarray, " relations"],
    count: int,
    options: DrumOptions,
) -> Bool[np.ndarray, "directed operators"]:
    """What each query may use on a graph with more relations: a new one all that any may, and nobody a new one where
    bodies are limited to named relations."""
    rows = np.concatenate([places, places + count])
    limited = bool(options.model.body_relations) or options.model.facts_only
    allowed = np.full((2 * count, 2 * count + 1), not limited)
    allowed[:, -1] = True
    columns = np.append(rows, 2 * count)
    allowed[np.ix_(rows, columns)] = first
    unseen = np.concatenate([new, new + count])
    allowed[np.ix_(unseen, columns)] = first.any(0)
    return allowed
