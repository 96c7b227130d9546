"""Train, valid and test drawn from one graph, so that train does not give the answers away.

All triples between the same two entities, in either direction and under any relation, move together: a test triple
has no inverse, symmetric or parallel twin in train (the fault of FB15k and WN18: Toutanova & Chen 2015). Each
relation gives its share, and every entity and every relation that has triples keeps at least one of them in train.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, NonNegativeFloat, field_validator, model_validator

from corollary.config import Config
from corollary.errors import InputError
from corollary.graph.folder import Graph, derive_graph
from corollary.kernels.drawing import draw_groups
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.storage import sha256

_DRAWN_TEST = 0.05
_OUT = -1  # the code of a triple that is in no split; 0 train, 1 valid, 2 test
_CODES = {"train": 0, "valid": 1, "test": 2}

LabelledTriple = tuple[str, str, str]


class SplitConfig(Config):
    """Which triples leave train, and how they are chosen."""

    valid: NonNegativeFloat = 0.05
    """Valid triples: below 1 a share of the chosen relations' triples, from 1 on a count; 0 makes no valid split."""
    test: Annotated[float, Field(ge=0)] | None = None
    """Test triples, counted like valid; 0.05 unless this or held_out is given."""
    relations: tuple[str, ...] = ()
    """Draw only triples of these relations; the rest stays in train. Empty means all relations."""
    held_out: Path | tuple[LabelledTriple, ...] | None = None
    """The test triples: a file of head, relation, tail labels, tab between them; what links the same two leaves."""
    seed: int = 0
    """The same seed, graph and options give the same splits."""

    @field_validator("held_out", mode="before")
    @classmethod
    def held_out_is_a_file_or_triples(cls, value: Any) -> Any:
        if value is None or isinstance(value, str | Path):
            return value
        if not isinstance(value, list | tuple) or not all(
            isinstance(row, list | tuple) and [type(part) for part in row] == [str] * 3 for row in value
        ):
            raise ValueError(f"{value!r}: expected a file, or triples of three labels each")
        return tuple(tuple(row) for row in value)

    @model_validator(mode="after")
    def sizes_make_sense(self) -> Self:
        for name, size in (("valid", self.valid), ("test", self.test or 0.0)):
            if size >= 1 and size != int(size):
                raise ValueError(f"{name} = {size:g}: write a share below 1 or a whole number of triples")
        if self.valid < 1 and self.test_size < 1 and self.valid + self.test_size >= 1:
            raise ValueError(
                f"valid + test = {self.valid + self.test_size:g} of the triples: nothing is left for train"
            )
        if self.held_out is not None and self.test is not None:
            raise ValueError("held_out names the test triples: leave out test")
        return self

    @property
    def test_size(self) -> float:
        """Share or count of test triples to draw."""
        return self.test if self.test is not None else 0.0 if self.held_out is not None else _DRAWN_TEST


def split_graph(graph: Graph, output: str | Path, config: SplitConfig, *, say: Say = silent) -> Graph:
    """Write a graph folder with the vocabulary of `graph` and new splits of all its triples, and open it.

    Splits that `graph` has are pooled first. What was asked for and what came of it stands in its notes under
    "split". Random numbers depend on the seed and on the set of linked pairs, not on the order of the triples.

    Args:
        say: is told what was done, line by line.

    Raises `InputError` where a name is unknown, a held-out triple is not in the graph, or no triple can be drawn;
    `GraphDamaged` where a file of `graph` has changed.
    Memory: about 200 bytes a triple (measured).
    """
    graph.verify()
    pooled = np.concatenate([graph.triples(split) for split in graph.splits])
    if len(graph.splits) > 1:
        say(f"{', '.join(graph.splits)} of {graph.name} are pooled: {len(pooled):,} triples")
    code, notes = _assign(graph, pooled.astype(np.int64), config, say)
    splits = ["train"]
    splits += ["valid"] if config.valid else []
    splits += ["test"] if config.test_size or config.held_out is not None else []
    triples = {split: pooled[code == _CODES[split]] for split in splits}
    del pooled
    notes["triples"] = {split: len(rows) for split, rows in triples.items()}
    say("split: " + ", ".join(f"{split} {count:,}" for split, count in notes["triples"].items()))
    sources = []
    if isinstance(config.held_out, Path):
        file = {
            "name": config.held_out.name,
            "sha256": sha256(config.held_out),
            "read as": "held-out triples",
        }
        sources.append(file)
    return derive_graph(
        graph,
        Path(output),
        triples=triples,
        edge_sources=_pooled_sources(graph, code, splits),
        sources=sources,
        notes={"split": notes},
    )


def _assign(
    graph: Graph, triples: Int[np.ndarray, "n 3"], config: SplitConfig, say: Say
) -> tuple[Int[np.ndarray, " n"], dict[str, Any]]:
    """The code of the split of every triple, and what is to be noted."""
    groups = _Groups.of(triples, graph.num_entities)
    code = np.zeros(len(triples), dtype=np.int8)
    notes: dict[str, Any] = {"options": config.model_dump(mode="json", exclude={"held_out"})}
    if config.held_out is not None:
        notes["held out"] = _hold_out(graph, triples, groups, config, code, say)
    notes["drawn"] = _draw(graph, triples, groups, config, code, say)
    return code, notes


@dataclass(frozen=True)
class _Groups:
    """Triples by unordered pair of entities, pairs in ascending order.

    The triples of group g are `rows[offsets[g]:offsets[g + 1]]`, in order of relation; `of_row[i]` is the
    group of triple i.
    """

    rows: Int[np.ndarray, " n"]
    offsets: Int[np.ndarray, " bounds"]
    of_row: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, triples: Int[np.ndarray, "n 3"], num_entities: int) -> Self:
        head, relation, tail = triples.T
        pair = np.minimum(head, tail) * num_entities + np.maximum(head, tail)
        rows = np.lexsort((relation, pair))
        fresh = np.ones(len(rows), dtype=bool)
        fresh[1:] = pair[rows[1:]] != pair[rows[:-1]]
        of_row = np.empty(len(rows), dtype=np.int64)
        of_row[rows] = np.cumsum(fresh) - 1
        return cls(rows, np.append(np.flatnonzero(fresh), len(rows)), of_row)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def all_of(self, chosen: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " groups"]:
        """Groups whose every triple is among the chosen."""
        result = np.ones(len(self), dtype=bool)
        result[self.of_row[~chosen]] = False
        return result


def _draw(
    graph: Graph,
    triples: Int[np.ndarray, "n 3"],
    groups: _Groups,
    config: SplitConfig,
    code: Int[np.ndarray, " n"],
    say: Say,
) -> dict[str, Any]:
    """Move groups from train to test and valid in `code`; returns what is to be noted."""
    chosen = code == 0
    if config.relations:
        chosen &= np.isin(triples[:, 1], graph.relations.find_all(config.relations, where="relations"))
    counts = np.bincount(triples[chosen, 1], minlength=graph.num_relations)
    sizes = {"test": _size("test", config.test_size, counts), "valid": _size("valid", config.valid, counts)}
    sizes = {split: size for split, size in sizes.items() if size}
    if not sizes:
        return {}
    if sum(sizes.values()) >= counts.sum():
        raise InputError(
            f"{sum(sizes.values()):,} triples to draw of {counts.sum():,}: nothing would be left in train"
        )
    movable = groups.all_of(chosen)
    in_train = triples[code == 0]
    first = triples[groups.rows[groups.offsets[:-1]]]
    split_of = draw_groups(
        generator(config.seed, "split").permutation(np.flatnonzero(movable)),
        groups.offsets,
        triples[groups.rows, 1],
        np.ascontiguousarray(first[:, [0, 2]]),
        np.stack([_quotas(counts, size) for size in sizes.values()]),
        _occurrences(in_train, graph.num_entities),
        np.bincount(in_train[:, 1], minlength=graph.num_relations),
    )
    moved = split_of[groups.of_row]
    for row, split in enumerate(sizes, start=1):
        code[moved == row] = _CODES[split]
    bound = int(np.count_nonzero(chosen & ~movable[groups.of_row]))
    return _report(sizes, code, bound, say)


def _report(sizes: dict[str, int], code: Int[np.ndarray, " n"], bound: int, say: Say) -> dict[str, Any]:
    """Notes on a draw: what was wanted, what was drawn. Raises `InputError` where a split would be empty."""
    drawn = {split: int(np.count_nonzero(code == _CODES[split])) for split in sizes}
    remedy = (
        f" {bound:,} triples stay in train because other relations link the same two: choose those as well."
        if bound
        else ""
    )
    for split, wanted in sizes.items():
        if not drawn[split]:
            raise InputError(
                f"{split}: none of {wanted:,} triples could be drawn without leaving an entity or a relation "
                f"without a triple in train.{remedy}"
            )
        if drawn[split] < 0.98 * wanted:
            say(
                f"{split}: {drawn[split]:,} triples in place of {wanted:,}: the rest holds entities together.{remedy}"
            )
    return {"wanted": sizes, "drawn": drawn, "kept for other relations of the pair": bound}


def _size(split: str, size: float, counts: Int[np.ndarray, " relations"]) -> int:
    """A share or a count as a count."""
    total = int(counts.sum())
    if size and not (wanted := int(size) if size >= 1 else round(size * total)):
        raise InputError(
            f"{split} = {size:g} of {total:,} triples is less than one: give a larger share or a count"
        )
    return wanted if size else 0


def _quotas(counts: Int[np.ndarray, " relations"], total: int) -> Int[np.ndarray, " relations"]:
    """`total` cut in proportion to `counts`, by largest remainders; equal ones in order of id."""
    exact = counts * (total / counts.sum())
    quotas = np.floor(exact).astype(np.int64)
    quotas[np.argsort(quotas - exact, kind="stable")[: total - quotas.sum()]] += 1
    return quotas


def _occurrences(triples: Int[np.ndarray, "n 3"], num_entities: int) -> Int[np.ndarray, " entities"]:
    """Triples that each entity is part of; a loop counts once."""
    head, tail = triples[:, 0], triples[:, 2]
    return np.bincount(head, minlength=num_entities) + np.bincount(tail[tail != head], minlength=num_entities)


def _hold_out(
    graph: Graph,
    triples: Int[np.ndarray, "n 3"],
    groups: _Groups,
    config: SplitConfig,
    code: Int[np.ndarray, " n"],
    say: Say,
) -> dict[str, int]:
    """Put the named triples into test and everything else between the same two entities nowhere, in `code`."""
    assert config.held_out is not None
    if isinstance(config.held_out, Path):
        wanted, where = _read_triples(config.held_out)
    else:
        wanted = list(config.held_out)
        where = [f"held_out, entry {row}" for row in range(1, len(wanted) + 1)]
    held = _encoded(graph, wanted, where)
    linked = np.isin(_pairs(triples, graph), _pairs(held, graph))
    is_test = np.zeros(len(triples), dtype=bool)
    is_test[linked] = np.isin(_keys(triples[linked]), _keys(held))
    missing = np.flatnonzero(~np.isin(_keys(held), _keys(triples[is_test])))
    if len(missing):
        at = missing[0]
        raise InputError(
            f"{where[at]}: ({', '.join(wanted[at])}) is not a triple of {graph.name}; {len(missing):,} of "
            f"{len(held):,} are not. Only what is there can be held out; a test file with new triples goes to "
            "'corollary graph import --test'."
        )
    touched = np.zeros(len(groups), dtype=bool)
    touched[groups.of_row[is_test]] = True
    removed = touched[groups.of_row] & ~is_test
    code[removed], code[is_test] = _OUT, _CODES["test"]
    parallel = removed & linked
    in_graph, in_train = (_occurrences(rows, graph.num_entities) for rows in (triples, triples[code == 0]))
    alone = (in_graph > 0) & (in_train == 0)
    counts = {
        "test triples": int(is_test.sum()),
        "parallel triples removed": int(parallel.sum()),
        "inverse triples removed": int(removed.sum() - parallel.sum()),
        "entities left without a triple in train": int(alone.sum()),
    }
    say("held out: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    return counts


def _read_triples(path: Path) -> tuple[list[LabelledTriple], list[str]]:
    """Triples of a tab-separated file, gzipped or not, and where each stands."""
    if not path.is_file():
        raise InputError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: expected a file of triples"
        )
    raw = path.read_bytes()
    try:
        text = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{path} is a damaged gzip file: make it again") from None
    triples: list[LabelledTriple] = []
    where = []
    for number, line in enumerate(text.decode(errors="replace").splitlines(), start=1):
        parts = line.split("\t")
        if line and (len(parts) != 3 or not all(parts)):
            raise InputError(f"{path}:{number}: {line!r}: expected head, relation, tail with tabs between")
        if line:
            triples.append((parts[0], parts[1], parts[2]))
            where.append(f"{path}:{number}")
    if not triples:
        raise InputError(f"{path} is empty: expected the triples to hold out, one a line")
    return triples, where


def _encoded(graph: Graph, triples: Sequence[LabelledTriple], where: Sequence[str]) -> Int[np.ndarray, "n 3"]:
    """Ids of labelled triples. Raises `UnknownName` with the place of the first that is not known."""
    entities, relations = graph.entities, graph.relations
    rows = [
        (entities.find(head, where=at), relations.find(relation, where=at), entities.find(tail, where=at))
        for (head, relation, tail), at in zip(triples, where, strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _pairs(triples: Int[np.ndarray, "n 3"], graph: Graph) -> Int[np.ndarray, " n"]:
    """One number for head and tail."""
    return triples[:, 0] * graph.num_entities + triples[:, 2]


def _keys(triples: Int[np.ndarray, "n 3"]) -> np.ndarray:
    """One value a triple, compared as a whole. Slow to sort: for some triples, not for all of a graph."""
    parts = [("head", np.int64), ("relation", np.int64), ("tail", np.int64)]
    return np.ascontiguousarray(triples).view(parts).ravel()


def _pooled_sources(
    graph: Graph, code: Int[np.ndarray, " n"], splits: Sequence[str]
) -> dict[str, Int[np.ndarray, " kept"]] | None:
    """Source codes of the edges of each new split."""
    parts = [graph.edge_sources(split) for split in graph.splits]
    given = [part for part in parts if part is not None]
    if not given:
        return None
    pooled = np.concatenate(given)
    return {split: pooled[code == _CODES[split]] for split in splits}
