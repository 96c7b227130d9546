"""A trained DRUM, or chains, on another graph: weights and rules know relations, not entities.

The other graph has the same relations under the same ids, its own entities, and its own training triples to walk on.
"""

from pathlib import Path

import numpy as np

from corollary.errors import GraphMismatch, InputError, RunError
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_triples
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.learners.counted_rules import CountedRules
from corollary.learners.drum.data import DrumData, drum_data
from corollary.learners.drum.scoring import DrumEnsemble, Member
from corollary.learners.protocol import Scorer
from corollary.messages import Say, silent
from corollary.runs.drum.models import models_of
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.planning import CHUNK
from corollary.runs.rules.kind import load_rules, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run
from corollary.storage import new_file

_ENDINGS = (".txt", ".tsv", ".pl")


def evaluate_elsewhere(run: Run, graph: Graph | str | Path, split: str = "test") -> dict[str, Evaluation]:
    """Ranks of a split of another graph: of the model, where the run has one, and of its counted chains.

    Rules with constants take no part: their entities are of the first graph. Raises `GraphMismatch` where relations
    differ, `RunError` for a run of another learner.
    """
    other = graph if isinstance(graph, Graph) else Graph.open(graph)
    options = run.options
    if not isinstance(options, WithRules):
        raise RunError(f"{run.path} is a run of {run.kind.name}, whose weights belong to its entities")
    _check_relations(run.graph, other)
    if not other.info.num_triples.get(split, 0):
        raise InputError(f"{other.path} has no {split} triples to rank")
    triples = np.asarray(other.triples(split))
    rules = load_rules(run.path)
    chains = CountedRules(rules.take(rules.are_chains), train_links(other), options.how)
    scorers: dict[str, Scorer] = {"counted rules": chains}
    if isinstance(options, DrumOptions):
        scorers = {"model": _moved(run, options, other, chains), **scorers}
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
    return first, import_graph(output / "test-graph", config, say=say)


def is_inductive(folder: Path) -> bool:
    """Whether a folder holds facts for a second graph."""
    return folder.is_dir() and _one_of(folder, "test_facts") is not None


def _one_of(folder: Path, name: str) -> Path | None:
    return next((path for path in sorted(folder.glob(f"{name}.*")) if path.suffix in _ENDINGS), None)


def _check_relations(first: Graph, other: Graph) -> None:
    mine, theirs = (list(graph.relations.labels) for graph in (first, other))
    if mine != theirs:
        raise GraphMismatch(
            f"{other.path} has {len(theirs)} relations that are not those of {first.path} in their order: import it "
            "with the same --relation-to-id"
        )


def _moved(run: Run, options: DrumOptions, other: Graph, chains: CountedRules) -> DrumEnsemble:
    """The models of the run on the other graph's triples; operators stay those of the first."""
    allowed = drum_data(run.graph, options.model, seed=options.seed).allowed
    nothing = np.zeros((0, 3), np.int32)
    data = DrumData(other.num_relations, train_links(other), nothing, allowed)
    members = []
    for learner, relations in models_of(run, options):
        covers = np.zeros(other.num_relations, bool)
        covers[relations] = True
        learner.num_entities = other.num_entities
        members.append(Member(learner.walk_on(data), covers))
    return DrumEnsemble(members, chains)
