"""Files of taxonomies into a graph folder: read, checked, cut, closed upward, written with the one relation `is a`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import field_validator, model_validator

from corollary.budget import Budget
from corollary.config import Config
from corollary.errors import InputError, UnknownName, unknown
from corollary.graph.folder import Graph, write_graph
from corollary.graph.reading.ncbi import is_dump, read_dump
from corollary.graph.reading.staging import counted
from corollary.graph.reading.taxonomies import Nodes, read_obo, read_pickle, read_table
from corollary.graph.taxonomy import Taxonomy
from corollary.messages import Say, silent
from corollary.storage import refuse_existing, sha256

IS_A = "is a"
_SHOWN = 8
_UNCLASSIFIED = re.compile(
    r"\b(unclassified|unidentified|uncultured|environmental|metagenome|incertae sedis|unassigned)\b|\b(sp|cf|aff|nr)\.(\s|$)",
    re.IGNORECASE,
)


class TaxonomyImportConfig(Config):
    """Which files make the taxonomy, and which part of it is kept."""

    files: tuple[Path, ...] = ()
    """Child-parent tables (TSV, CSV, Parquet), OBO files, lists of is_a, an NCBI dump, pickled pairs."""
    root: str | None = None
    """Keep this node and what is below it; its label, or a name that only one node bears."""
    ranks: tuple[str, ...] = ()
    """Keep nodes of these ranks; others give their children to the nearest ancestor that is kept."""
    drop_unclassified: bool = False
    """Leave out nodes whose name says that nobody knows where they belong (unclassified, environmental, "sp.", "cf."),
    with all below them."""
    complete: Path | None = None
    """A taxonomy in which ancestors that the files lack are looked up."""
    name: str | None = None
    """Name of the graph; the output folder's unless given."""

    @field_validator("files", mode="before")
    @classmethod
    def one_or_more(cls, value: Any) -> Any:
        """A single path is taken as a list of one."""
        return (value,) if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def something_to_read(self) -> Self:
        if not self.files:
            raise ValueError("no taxonomy to import: give a file")
        return self


def read_taxonomy(path: Path) -> Nodes:
    """One file, by what it is."""
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the name and the folder.")
    if is_dump(path):
        return read_dump(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder without nodes.dmp: name the file of the taxonomy")
    if path.suffix in (".pkl", ".pickle"):
        return read_pickle(path)
    return read_obo(path) if ".obo" in path.suffixes else read_table(path)


def import_taxonomy(
    output: str | Path, config: TaxonomyImportConfig, *, budget: Budget = Budget(), say: Say = silent
) -> Graph:
    """Read a taxonomy into a new graph folder: nodes with rank (as type) and name, links child, is a, parent.

    Raises `InputError` for a cycle (printed), a node that is its own parent and has another, ancestors that are missing
    (named), ids that stand for two nodes, an empty or damaged file. Nothing is left at the output then.

    Memory: about 600 bytes a node.
    """
    output = Path(output)
    refuse_existing(output)
    nodes, sources = Nodes(), []
    for path in config.files:
        part = read_taxonomy(path)
        say(f"{path.name}: {part.read_as}, {counted(len(part.links), 'link')}")
        _merge(nodes, part, path)
        if path.is_file():
            sources.append(
                {"name": path.name, "sha256": sha256(path), "part": "taxonomy", "read_as": part.read_as}
            )
    nodes.refuse_loops()
    where = ", ".join(path.name for path in config.files)
    _replace_merged(nodes, say)
    _close_upward(nodes, config.complete, where, say)
    if config.drop_unclassified:
        _drop_unclassified(nodes, say)
    if config.root is not None:
        _keep_below(nodes, config.root, where, say)
    if config.ranks:
        _keep_ranks(nodes, config.ranks, where, say)
    return _write(output, config, nodes, sources, where, budget, say)


def _merge(nodes: Nodes, part: Nodes, path: Path) -> None:
    for mine, other in ((nodes.names, part.names), (nodes.ranks, part.ranks)):
        for label, value in other.items():
            if value and mine.setdefault(label, value) != value:
                raise InputError(
                    f"{path}: {label!r} is {value!r} here and {mine[label]!r} in another file: ids must be unique"
                )
    nodes.links += part.links
    nodes.described |= part.described
    nodes.merged |= part.merged
    nodes.loops = part.loops | nodes.loops


def _replace_merged(nodes: Nodes, say: Say) -> None:
    used = {label for link in nodes.links for label in link if label in nodes.merged}
    if used:
        nodes.links = [(nodes.merged.get(a, a), nodes.merged.get(b, b)) for a, b in nodes.links]
        say(f"{counted(len(used), 'merged id')} replaced by those that took their place")


def _close_upward(nodes: Nodes, complete: Path | None, where: str, say: Say) -> None:
    """Every parent has a row of its own, where nodes have rows; what is missing comes from `complete`."""
    known = read_taxonomy(complete) if complete is not None else None
    if known is not None:
        up: dict[str, list[str]] = {}
        for child, parent in known.links:
            up.setdefault(child, []).append(parent)
        linked = {child for child, _ in nodes.links}
        waiting = sorted({label for link in nodes.links for label in link} - linked)
        added = 0
        while waiting:
            label = waiting.pop()
            label = known.merged.get(label, label)
            if label in linked:
                continue
            for parent in up.get(label, ()):
                nodes.links.append((label, parent))
                added += 1
                if parent not in linked:
                    waiting.append(parent)
            linked.add(label)
            if label in known.described:
                nodes.described.add(label)
                for mine, other in ((nodes.names, known.names), (nodes.ranks, known.ranks)):
                    if label in other:
                        mine.setdefault(label, other[label])
        say(f"completed upward from {complete.name if complete else ''}: {counted(added, 'link')} added")
    if nodes.described:
        missing = sorted({parent for _, parent in nodes.links} - nodes.described)
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
            raise InputError(
                f"{where}: {counted(len(missing), 'parent')} without a row of their own: {shown}. The taxonomy is not closed "
                "upward: add them, or name a taxonomy that has them with --complete FILE"
            )


def _drop_unclassified(nodes: Nodes, say: Say) -> None:
    dropped = {label for label, name in nodes.names.items() if _UNCLASSIFIED.search(name)}
    first = len(dropped)
    below = _children(nodes)
    waiting = list(dropped)
    while waiting:
        for child in below.get(waiting.pop(), ()):
            if child not in dropped:
                dropped.add(child)
                waiting.append(child)
    _keep(nodes, dropped, keep=False)
    say(f"left out {counted(first, 'unclassified node')} and {len(dropped) - first:,} below them")


def _keep_below(nodes: Nodes, root: str, where: str, say: Say) -> None:
    labels = {label for link in nodes.links for label in link}
    root = nodes.merged.get(root, root)
    found = [root] if root in labels else [label for label in labels if nodes.names.get(label) == root]
    if not found:
        known = [*labels, *filter(None, nodes.names.values())] if len(labels) < 100_000 else []
        raise UnknownName(unknown("root", root, known, where=where))
    if len(found) > 1:
        raise InputError(
            f"{where}: {root!r} names {len(found)} nodes: {', '.join(sorted(found)[:5])}. Give the id of one."
        )
    below, kept, waiting = _children(nodes), {found[0]}, [found[0]]
    while waiting:
        for child in below.get(waiting.pop(), ()):
            if child not in kept:
                kept.add(child)
                waiting.append(child)
    _keep(nodes, kept, keep=True)
    say(f"kept {counted(len(kept), 'node')} at and below {root}")


def _keep_ranks(nodes: Nodes, ranks: Sequence[str], where: str, say: Say) -> None:
    """Contract the taxonomy to some ranks. Raises `InputError` for a rank that no node has."""
    present = set(nodes.ranks.values())
    for rank in ranks:
        if rank not in present:
            raise UnknownName(unknown("rank", rank, sorted(present), where=where))
    labels = {label for link in nodes.links for label in link}
    kept = {label for label in labels if nodes.ranks.get(label) in ranks}
    up: dict[str, list[str]] = {}
    for child, parent in nodes.links:
        up.setdefault(child, []).append(parent)
    roots = {label for label in labels if label not in up}
    kept |= roots
    links = set()
    for label in kept:
        waiting, seen = list(up.get(label, ())), set()
        while waiting:
            parent = waiting.pop()
            if parent in kept:
                links.add((label, parent))
            elif parent not in seen:
                seen.add(parent)
                waiting += up.get(parent, ())
    nodes.links = sorted(links)
    nodes.described &= kept
    say(f"kept {counted(len(kept), 'node')} of {', '.join(ranks)} and the roots")


def _children(nodes: Nodes) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {}
    for child, parent in nodes.links:
        below.setdefault(parent, []).append(child)
    return below


def _keep(nodes: Nodes, labels: set[str], *, keep: bool) -> None:
    nodes.links = [(a, b) for a, b in nodes.links if (a in labels) == keep and (b in labels) == keep]
    nodes.described = {label for label in nodes.described if (label in labels) == keep}


def _write(
    output: Path,
    config: TaxonomyImportConfig,
    nodes: Nodes,
    sources: list[dict[str, Any]],
    where: str,
    budget: Budget,
    say: Say,
) -> Graph:
    """Number, check, write."""
    links = list(dict.fromkeys(nodes.links))
    if len(links) < len(nodes.links):
        say(f"left out {counted(len(nodes.links) - len(links), 'link')} that stood there twice")
    ids: dict[str, int] = {}
    rows = np.empty((len(links), 3), np.int64)
    for at, (child, parent) in enumerate(links):
        rows[at] = ids.setdefault(child, len(ids)), 0, ids.setdefault(parent, len(ids))
    if not links:
        raise InputError(f"{where}: no link from a child to a parent is left")
    alone = sorted(nodes.described - ids.keys())
    if alone:
        shown = ", ".join(alone[:_SHOWN]) + (" ..." if len(alone) > _SHOWN else "")
        say(
            f"left out {counted(len(alone), 'node')} that no link holds, which no pair would ever train: {shown}"
        )
    labels = list(ids)
    taxonomy = Taxonomy.build(rows[:, 0], rows[:, 2], label=lambda node: labels[node], where=where)
    roots = taxonomy.entity_ids[taxonomy.tree.parent < 0]
    shown = ", ".join(nodes.names.get(labels[root], labels[root]) for root in roots[:_SHOWN])
    say(
        f"{len(taxonomy):,} nodes, {taxonomy.num_pairs:,} ancestor pairs, {taxonomy.num_levels - 1} levels below "
        f"{counted(len(roots), 'root')} ({shown}{' ...' if len(roots) > _SHOWN else ''})"
        + (
            ""
            if taxonomy.is_tree
            else f"; several parents: {len(taxonomy.off_chain):,} pairs off the spanning tree"
        )
    )
    counts = {
        "nodes": len(taxonomy),
        "pairs": taxonomy.num_pairs,
        "roots": len(roots),
        "levels": taxonomy.num_levels,
    }
    return write_graph(
        output,
        name=config.name or output.resolve().name,
        labels=labels,
        relations=[IS_A],
        triples={"train": rows},
        names=[nodes.names.get(label, "") for label in labels] if nodes.names else None,
        types=[nodes.ranks.get(label, "") for label in labels] if nodes.ranks else None,
        sources=sources,
        notes={"taxonomy": counts},
        budget=budget,
    )
