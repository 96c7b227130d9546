"""Embeddings and learned scores that have not seen the answers they are to find.

A learner is trained on the graph less the hidden pairs of the relation and less every other edge straight between the two
node types. Trainings are named by what they see, so folds that hide the same share one, and a killed command goes on where
it stopped:

OUTPUT/learned/CUT/graph/   the vocabulary of the graph, other training triples
OUTPUT/learned/CUT/NAME/    the run; rows.npy and columns.npy, or scores.npy, beside it once it is finished
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from corollary.errors import ConfigError, GraphMismatch, InputError, RunError
from corollary.graph.answers import directed
from corollary.graph.folder import Graph, derive_graph
from corollary.learners.fusion import whole_scores
from corollary.learners.protocol import Queries
from corollary.messages import Say, silent
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.features import Given, PairScores, Vectors
from corollary.repurpose.pairs import Nodes, Pairs
from corollary.runs.config import RunOptions
from corollary.runs.embeddings import entity_vectors
from corollary.runs.kinds import KINDS, kind_of
from corollary.runs.rules.kind import mine_rules
from corollary.runs.run import Run
from corollary.runs.training import resume, train
from corollary.runs.validating import read_embeddings
from corollary.storage import new_file, remove_folder
from corollary.training.loop import Observer

_QUERIES = 64
"""Rows whose pairs a learner scores at once."""
VECTORS = ("hgt", "conve")
"""Learners that have an embedding for every node."""
RULES = tuple(name for name in KINDS if name in ("rules", "drum"))
"""Learners whose scores come from rules."""


@dataclass(frozen=True)
class Recipe:
    """One learner with its options."""

    kind: str
    options: RunOptions

    @cached_property
    def name(self) -> str:
        """Of its folder: learner and a checksum of the options."""
        text = json.dumps(
            self.options.model_dump(mode="json", exclude={"memory_limit", "tracking"}), sort_keys=True
        )
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def train(self, graph: Graph, output: Path, observer: Observer | None, say: Say) -> Run:
        """A new run, or the rest of one that was stopped."""
        if self.kind == "rules":
            if output.exists():
                remove_folder(output)
            return mine_rules(graph, output, self.options, say=say)  # type: ignore[arg-type]
        if (output / "config.json").exists():
            return resume(output, graph=graph.path, observer=observer, say=say)
        return train(kind_of(self.kind), graph, output, self.options, observer=observer, say=say)


class Learned:
    """What learners know of the pairs of a relation, trained when it is first asked for.

    Memory: that of one training or of one scoring at a time; then 4 bytes a node of the two types and dimension, and
    with scores of pairs 4 bytes a pair, mapped.
    """

    def __init__(
        self,
        graph: Graph,
        pairs: Pairs,
        config: RepurposeConfig,
        output: Path,
        *,
        observer: Observer | None = None,
        say: Say = silent,
    ) -> None:
        self.graph, self.pairs, self.config, self.output = graph, pairs, config, output / "learned"
        self.observer, self.say = observer, say
        self.recipes = recipes(config, graph)
        self.from_file, self.numbers_read = vectors_from_file(pairs, config)

    @property
    def dim(self) -> int:
        """Length of all vectors of a node together, whether learned or from a file."""
        learned = sum(
            int(getattr(getattr(recipe.options, "model", None), "embedding_dim", 0))
            for recipe in self.recipes
        )
        return learned + (0 if self.from_file is None else self.from_file.rows.shape[1])

    def given(self, hidden: Bool[np.ndarray, " known"]) -> tuple[Given, ...]:
        """Everything, from learners that have not seen the hidden pairs."""
        found: list[Given] = [] if self.from_file is None else [self.from_file]
        for recipe in self.recipes:
            folder = self.cut(hidden)
            if recipe.kind in VECTORS:
                rows, columns = (
                    self._array(folder, recipe, name, self._vectors(name)) for name in ("rows", "columns")
                )
                found.append(Vectors(recipe.kind, rows, columns, self.config.embeddings.elementwise))
            if not hidden.all():
                scores = self._array(folder, recipe, "scores", self._scores)
                found.append(PairScores(recipe.kind, scores))
        return tuple(found)

    def runs(self, hidden: Bool[np.ndarray, " known"]) -> list[Run]:
        """The finished runs of the learners that have not seen the hidden pairs, trained where they are not there yet."""
        return [self._run(self.cut(hidden), recipe) for recipe in self.recipes]

    def cut(self, hidden: Bool[np.ndarray, " known"]) -> Path:
        """The folder of a graph without the hidden pairs; its graph is written where it is not there yet."""
        text = np.packbits(hidden).tobytes() + self.graph.fingerprint.encode() + self.pairs.relation.encode()
        folder = self.output / hashlib.sha256(text).hexdigest()[:12]
        if not (folder / "graph" / "graph.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            derive_graph(
                self.graph, folder / "graph", triples={"train": seen(self.graph, self.pairs, hidden)}
            )
        return folder

    def _array(
        self, folder: Path, recipe: Recipe, name: str, make: "Callable[[Run], Float[np.ndarray, 'n m']]"
    ) -> Float[np.ndarray, "n m"]:
        """A finished array, mapped; made where it is not there yet."""
        place = folder / recipe.name
        path = place.with_name(f"{place.name}-{name}.npy")
        if not path.exists():
            values = make(self._run(folder, recipe))
            if not np.isfinite(values).all():
                raise RunError(
                    f"{place} gives numbers that are not finite: train with a smaller learning rate"
                )
            with new_file(path) as partial, partial.open("wb") as file:
                np.save(file, values)
        return np.load(path, mmap_mode="r")

    def _run(self, folder: Path, recipe: Recipe) -> Run:
        """The finished run of a folder."""
        place, finished = folder / recipe.name, folder / f"{recipe.name}.finished"
        if not finished.exists():
            self.say(f"training {recipe.kind} without the answers that it is to find ({folder.name})")
            recipe.train(Graph.open(folder / "graph"), place, self.observer, self.say)
            finished.touch()
        return Run.open(place, graph=folder / "graph", memory_limit=self.config.memory_limit)

    def _vectors(self, name: str) -> Callable[[Run], Float[np.ndarray, "nodes dim"]]:
        axis = self.pairs.rows if name == "rows" else self.pairs.columns
        return lambda run: entity_vectors(run)[axis.entities]

    def _scores(self, run: Run) -> Float[np.ndarray, "rows columns"]:
        """A learner's own score of every pair."""
        rows, columns = self.pairs.rows.entities, self.pairs.columns.entities
        relation = np.full(len(rows), self.pairs.relation_id)
        asked = directed(relation, self.pairs.side, self.graph.num_relations)
        found = np.empty(self.pairs.shape, np.float32)
        for first in range(0, len(rows), _QUERIES):
            some = slice(first, first + _QUERIES)
            queries = Queries(torch.from_numpy(rows[some]), torch.from_numpy(asked[some]))
            found[some] = whole_scores(run.scorer, queries, 4096)[:, columns]
        return found


def vectors_from_file(pairs: Pairs, config: RepurposeConfig) -> tuple[Vectors | None, int]:
    """Vectors of a file, where one is named, and how many numbers it holds.

    Raises `InputError` for a file without a column of ids, for an id that two rows have, for numbers that are not finite,
    and where a node of the two types has no row.
    """
    path = config.embeddings.file
    if path is None:
        return None, 0
    found = read_embeddings(path)
    if not found.has_ids:
        raise InputError(f"{path} has no column of ids: name the node of each row in a column id")
    places = found.rows_by_id()
    rows, columns = (
        found.vectors[_matched(path, axis, places)].astype(np.float32) for axis in (pairs.rows, pairs.columns)
    )
    if not (np.isfinite(rows).all() and np.isfinite(columns).all()):
        raise InputError(
            f"{path} holds numbers that are not finite: see corollary validate-embeddings {path}"
        )
    return Vectors("file", rows, columns, config.embeddings.elementwise), found.vectors.size


def recipes(config: RepurposeConfig, graph: Graph) -> list[Recipe]:
    """The learners that a configuration names, with their options.

    Raises `ConfigError` for one that does not fit, `GraphMismatch` for rules of another graph.
    """
    common: dict[str, Any] = {"seed": config.seed, "memory_limit": config.memory_limit}
    embeddings, found = config.embeddings, []
    if embeddings.run is not None:
        found.append(_of_run(Run.open(embeddings.run), common, VECTORS))
    elif embeddings.file is None and embeddings.learner != "none":
        kind = kind_of(embeddings.learner)
        options = kind.options.build({**embeddings.options, **common}, where="embeddings.options")
        found.append(Recipe(embeddings.learner, options))
    if config.rules is not None:
        found.append(_of_run(rules_run(config.rules, graph), common, RULES))
    return found


def rules_run(path: Path, graph: Graph) -> Run:
    """The run whose options are taken and whose rules are shown as evidence, so it has to be of this very graph."""
    try:
        return Run.open(path, graph=graph.path)
    except GraphMismatch:
        raise GraphMismatch(
            f"rules = {path}: its rules were made from another graph than {graph.path} (or from a split of it), and what "
            f"they derive here was never counted: make them from this one, with corollary rules mine {graph.path} or "
            f"corollary train drum {graph.path}"
        ) from None


def _of_run(run: Run, common: dict[str, Any], kinds: tuple[str, ...]) -> Recipe:
    if run.kind.name not in kinds:
        raise ConfigError(
            f"{run.path} is a run of {run.kind.name}; runs of {' or '.join(kinds)} are wanted here. Vectors of others come "
            "from a file: corollary export"
        )
    return Recipe(run.kind.name, run.options.changed(**common))


def seen(graph: Graph, pairs: Pairs, hidden: Bool[np.ndarray, " known"]) -> Int[np.ndarray, "n 3"]:
    """The triples of all splits that a learner may see: none of a hidden pair, in either direction, and of the edges
    straight between the two types those of the relation alone. Memory: 60 bytes a triple."""
    triples = np.concatenate([np.asarray(graph.triples(split)) for split in graph.splits])
    keep = np.ones(len(triples), bool)
    shown = pairs.known[~hidden]
    codes = shown[:, 0] * len(pairs.columns) + shown[:, 1]
    for row_end, column_end in ((2, 0), (0, 2)):
        row = pairs.rows.places(triples[:, row_end])
        column = pairs.columns.places(triples[:, column_end])
        straight = np.flatnonzero((row >= 0) & (column >= 0))
        code = row[straight] * len(pairs.columns) + column[straight]
        allowed = (triples[straight, 1] == pairs.relation_id) & np.isin(code, codes)
        keep[straight] = allowed
    return triples[keep]


def _matched(path: Path, axis: Nodes, places: dict[str, int]) -> Int[np.ndarray, " nodes"]:
    """Rows of a file by label, else by name."""
    found = np.array(
        [places.get(label, places.get(name, -1)) for label, name in zip(axis.labels, axis.names, strict=True)]
    )
    if missing := np.flatnonzero(found < 0).tolist():
        raise InputError(
            f"{path} has no embedding for {len(missing):,} of {len(axis):,} {axis.type} nodes, such as "
            f"{axis.labels[missing[0]]!r}: its first column has to hold the labels or names of the graph's nodes"
        )
    return found
