"""`corollary graph`: import, info, split, subset, closure, datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corollary.cli.output import console, print_json, print_table, say
from corollary.errors import ConfigError

if TYPE_CHECKING:
    from corollary.graph.folder import Graph
    from corollary.graph.info import GraphReport

app = typer.Typer(help="Make, look at, split and cut graph folders.", no_args_is_help=True)

Output = Annotated[Path, typer.Option("--output", "-o", help="The graph folder to make.")]
Memory = Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Names = list[str] | None
Paths = list[Path] | None
Predicates = Annotated[Names, typer.Option(help="Keep only edges of this relation; may be repeated.")]
NotPredicates = Annotated[Names, typer.Option(help="Leave out edges of this relation.")]
Categories = Annotated[Names, typer.Option(help="Keep only nodes of this type or category.")]
NotCategories = Annotated[Names, typer.Option(help="Leave out nodes of this type or category.")]
Sources = Annotated[Names, typer.Option(help="Keep only edges that this source states.")]
NotSources = Annotated[Names, typer.Option(help="Leave out edges that only this source states.")]
Around = Annotated[Names, typer.Option(help="Keep what is near this node.")]
AroundFile = Annotated[Path | None, typer.Option(help="The same for the labels in a file, one a line.")]
Hops = Annotated[int | None, typer.Option(help="How many edges away is near; 1 if not given.")]
KCore = Annotated[int | None, typer.Option(help="Keep the part where every node has this many neighbours.")]

_DEFAULTS = {"on_error": "stop", "symmetric": "keep", "missing_nodes": "drop"}


@app.command("import")
def import_(
    output: Output,
    files: Annotated[
        Paths, typer.Argument(help="Triples without splits, KGX files, or one dataset folder.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A public dataset by name (see 'graph datasets').")
    ] = None,
    train: Annotated[Paths, typer.Option(help="Triples to train on.")] = None,
    valid: Annotated[Paths, typer.Option(help="Triples to choose between models.")] = None,
    test: Annotated[Paths, typer.Option(help="Triples to report scores on.")] = None,
    nodes: Annotated[Paths, typer.Option(help="Nodes with a header: KGX, or id, name, type.")] = None,
    names: Annotated[Paths, typer.Option(help="Label and name.")] = None,
    entity_to_id: Annotated[
        Path | None, typer.Option(help="Labels and ids of entities, kept as given.")
    ] = None,
    relation_to_id: Annotated[
        Path | None, typer.Option(help="Labels and ids of relations, kept as given.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the graph.")] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="tab, comma, semicolon, space, or one character.")
    ] = None,
    header: Annotated[bool | None, typer.Option(help="Whether line 1 of triples is a header.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Order such as head,tail,relation, or header names.")
    ] = None,
    id_columns: Annotated[
        Literal["label,id", "id,label"] | None, typer.Option(help="Order of the columns of id files.")
    ] = None,
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="skip writes wrong lines to OUTPUT.rejects.tsv.")
    ] = "stop",
    qualifiers: Annotated[
        Names, typer.Option(help="KGX: qualifier that makes a relation with the predicate.")
    ] = None,
    edge_map: Annotated[Path | None, typer.Option(help="KGX: edge_map.json with relation names.")] = None,
    symmetric: Annotated[
        Literal["keep", "once", "both"], typer.Option(help="KGX: how edges of symmetric predicates are kept.")
    ] = "keep",
    missing_nodes: Annotated[
        Literal["drop", "add"], typer.Option(help="KGX: edges whose node no node file has.")
    ] = "drop",
    same_as: Annotated[Paths, typer.Option(help="Two columns: a label and the label to use instead.")] = None,
    rewrite: Annotated[Names, typer.Option(help="OLD=NEW prefix, such as Gene::=NCBIGene:")] = None,
    keep_predicates: Predicates = None,
    drop_predicates: NotPredicates = None,
    keep_categories: Categories = None,
    drop_categories: NotCategories = None,
    keep_sources: Sources = None,
    drop_sources: NotSources = None,
    around: Around = None,
    around_file: AroundFile = None,
    hops: Hops = None,
    k_core: KCore = None,
    taxonomy: Annotated[
        bool, typer.Option("--taxonomy", help="FILES are taxonomies: child-parent tables, OBO, NCBI's dump.")
    ] = False,
    root: Annotated[str | None, typer.Option(help="Taxonomy: keep this node and what is below it.")] = None,
    ranks: Annotated[
        str | None, typer.Option(help="Taxonomy: keep these ranks, such as phylum,class.")
    ] = None,
    drop_unclassified: Annotated[
        bool, typer.Option("--drop-unclassified", help="Taxonomy: leave out unclassified nodes.")
    ] = False,
    complete: Annotated[
        Path | None, typer.Option(help="Taxonomy: one that has the ancestors which FILES lack.")
    ] = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Read files into a graph folder: what each file is, is found out and said."""
    from corollary.budget import Budget
    from corollary.graph.datasets.importing import import_dataset
    from corollary.graph.importing import ImportConfig, import_graph

    inputs: dict[str, Any] = {
        "files": files, "train": train, "valid": valid, "test": test, "nodes": nodes, "names": names,
        "entity_to_id": entity_to_id, "relation_to_id": relation_to_id, "name": name,
    }  # fmt: skip
    filters = _filters(
        keep_predicates, drop_predicates, keep_categories, drop_categories, keep_sources, drop_sources,
        around, around_file, hops, k_core,
    )  # fmt: skip
    rest: dict[str, Any] = {
        "delimiter": delimiter, "header": header, "columns": columns, "id_columns": id_columns,
        "on_error": on_error, "qualifiers": qualifiers, "edge_map": edge_map, "symmetric": symmetric,
        "missing_nodes": missing_nodes,
    }  # fmt: skip
    join = {key: value for key, value in (("same_as", same_as), ("rewrite", rewrite)) if value}
    given = {key: value for key, value in (inputs | rest).items() if value is not None}
    budget = Budget.parse(memory_limit)
    cut = {"root": root, "ranks": ranks, "drop_unclassified": drop_unclassified or None, "complete": complete}
    if taxonomy:
        if given.keys() - {"files", "name", *_DEFAULTS} or dataset or join or filters:
            raise ConfigError(
                "--taxonomy takes files, --name, --root, --ranks, --drop-unclassified and --complete alone"
            )
        _show(_import_taxonomy(output, files or [], name, cut, budget), as_json)
        return
    if any(value is not None for value in cut.values()):
        raise ConfigError("--root, --ranks, --drop-unclassified and --complete go with --taxonomy")
    if dataset is not None:
        if given != _DEFAULTS or join or filters:
            raise ConfigError("--dataset stands alone: filter what it makes with 'corollary graph subset'")
        _show(import_dataset(dataset, output, budget=budget, say=say), as_json)
        return
    config = ImportConfig.build({**given, "join": join, "filters": filters}, where="graph import")
    _show(import_graph(output, config, budget=budget, say=say), as_json)


@app.command("info")
def info(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    verify: Annotated[bool, typer.Option(help="Compare every file with its checksum first.")] = False,
    as_json: Json = False,
) -> None:
    """Counts, relations, degrees, components, and whether the test triples leak."""
    from corollary.graph.folder import Graph
    from corollary.graph.info import graph_info

    opened = Graph.open(graph)
    if verify:
        opened.verify()
        say("every file is as it was written")
    report = graph_info(opened)
    print_json(report.as_dict()) if as_json else _print_report(report)


@app.command("split")
def split(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    output: Output,
    valid: Annotated[float, typer.Option(help="Share below 1, or count, of valid triples.")] = 0.05,
    test: Annotated[
        float | None, typer.Option(help="Share or count of test triples; 0.05 if not given.")
    ] = None,
    relations: Annotated[
        Names, typer.Option("--relation", help="Draw only from this relation; may be repeated.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Test triples from a file; their twins leave train.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    as_json: Json = False,
) -> None:
    """A graph folder with train, valid and test that do not give each other away."""
    from corollary.graph.folder import Graph
    from corollary.graph.splits import SplitConfig, split_graph

    values = {"valid": valid, "test": test, "relations": relations or (), "held_out": held_out, "seed": seed}
    config = SplitConfig.build(values, where="graph split")
    _show(split_graph(Graph.open(graph), output, config, say=say), as_json)


@app.command("subset")
def subset(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    output: Output,
    keep_predicates: Predicates = None,
    drop_predicates: NotPredicates = None,
    keep_categories: Categories = None,
    drop_categories: NotCategories = None,
    keep_sources: Sources = None,
    drop_sources: NotSources = None,
    around: Around = None,
    around_file: AroundFile = None,
    hops: Hops = None,
    k_core: KCore = None,
    compact: Annotated[bool, typer.Option(help="New dense ids for what is left, to save memory.")] = False,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """A graph folder with a part of another one."""
    from corollary.budget import Budget
    from corollary.graph.filters import FilterConfig
    from corollary.graph.folder import Graph
    from corollary.graph.subset import subset_graph

    filters = _filters(
        keep_predicates, drop_predicates, keep_categories, drop_categories, keep_sources, drop_sources,
        around, around_file, hops, k_core,
    )  # fmt: skip
    config = FilterConfig.build(filters, where="graph subset")
    budget = Budget.parse(memory_limit)
    _show(
        subset_graph(Graph.open(graph), output, config, budget=budget, keep_vocabulary=not compact, say=say),
        as_json,
    )


@app.command("closure")
def closure(
    graph: Annotated[Path, typer.Argument(help="A graph folder with a taxonomy.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tsv or .npy file to write.")],
    relations: Annotated[
        Names, typer.Option("--relation", help="A relation that means 'is a'; may be repeated.")
    ] = None,
) -> None:
    """Write every pair of descendant and ancestor of a taxonomy to a file."""
    from corollary.graph.closure import write_closure
    from corollary.graph.folder import Graph

    count = write_closure(Graph.open(graph), output, relations=tuple(relations or ()))
    say(f"{count:,} pairs written to {output}")


@app.command("datasets")
def datasets(as_json: Json = False) -> None:
    """Public graphs that can be had by name, with licence and size."""
    from corollary.graph.datasets.locating import list_datasets

    found = list_datasets().to_pandas()
    if as_json:
        print_json(found.to_dict("records"))
        return
    print_table([str(column) for column in found.columns], found.to_numpy().tolist())


def _filters(
    keep_predicates: Names, drop_predicates: Names, keep_categories: Names, drop_categories: Names,
    keep_sources: Names, drop_sources: Names, around: Names, around_file: Path | None, hops: int | None,
    k_core: int | None,
) -> dict[str, Any]:  # fmt: skip
    """What was given of the filters that `import` and `subset` share."""
    values = dict(locals())
    return {name: value for name, value in values.items() if value is not None and value != []}


def _import_taxonomy(
    output: Path, files: list[Path], name: str | None, cut: dict[str, Any], budget: Any
) -> "Graph":
    from corollary.cli.train_poincare import taxonomy_files
    from corollary.graph.taxonomy_import import TaxonomyImportConfig, import_taxonomy

    values = {**taxonomy_files(files, cut), "name": name}
    return import_taxonomy(
        output, TaxonomyImportConfig.build(values, where="graph import"), budget=budget, say=say
    )


def _show(graph: "Graph", as_json: bool) -> None:
    """What was made."""
    info = graph.info
    if as_json:
        print_json({"path": str(graph.path), **info.model_dump(mode="json", exclude={"files", "sizes"})})
        return
    counts = ", ".join(f"{split} {count:,}" for split, count in info.num_triples.items())
    console.print(
        f"{graph.path}: {graph.num_entities:,} entities, {graph.num_relations:,} relations, triples: {counts}",
        markup=False,
        soft_wrap=True,
    )


def _print_report(report: "GraphReport") -> None:
    triples = ", ".join(f"{split} {count:,}" for split, count in report.triples.items())
    lines = [
        f"{report.name}: {report.num_entities:,} entities, {report.num_relations:,} relations; {triples}",
        f"degree: median {report.degrees.median:g}, mean {report.degrees.mean:.1f}, most {report.degrees.max:,} "
        f"({', '.join(top.name for top in report.degrees.top[:3])})",
        f"components: {report.components.count:,}; the largest holds {report.components.largest_share:.1%}",
    ]
    if report.node_types:
        lines.append(
            "types: " + ", ".join(f"{name or 'unknown'} {n:,}" for name, n in report.node_types.items())
        )
    for split, unseen in report.unseen.items():
        lines.append(
            f"{split}: {unseen.triples_with_unseen_entity:,} triples with an entity that train lacks "
            f"({unseen.entities:,} entities)"
        )
    for split, leak in report.leakage.items():
        lines.append(
            f"{split}: {leak.any:,} of {leak.triples:,} triples have a twin in train ({leak.same:,} the same, "
            f"{leak.symmetric:,} symmetric, {leak.inverse:,} inverse, {leak.duplicate:,} duplicate relation)"
        )
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    frame = report.to_pandas()
    print_table([str(column) for column in frame.columns], frame.astype(object).to_numpy().tolist())
