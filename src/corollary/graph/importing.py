"""Files into a graph folder: `import_graph` finds out what each file is, reads it, joins, cuts, numbers and writes.

Nothing is left at the output, or beside it, where any of this fails.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from corollary.budget import Budget, peak_bytes, show_bytes
from corollary.config import Config
from corollary.errors import ConfigError, InputError
from corollary.graph.filters import FilterConfig, apply_filters
from corollary.graph.folder import Graph
from corollary.graph.joining import JoinConfig, join
from corollary.graph.manifest import SPLITS
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.biolink import write_edge_map
from corollary.graph.reading.encoding import write_staged
from corollary.graph.reading.id_files import GivenAs, IdColumns, Kind, check_labels, labels_for_ids, read_ids
from corollary.graph.reading.inputs import Inputs, dataset_inputs, one_file, text_files
from corollary.graph.reading.kgx import MissingNodes, Symmetric, stage_kgx
from corollary.graph.reading.layouts import node_layout, sample, triple_layout
from corollary.graph.reading.ntriples import is_ntriples, name_entities, read_ntriples
from corollary.graph.reading.prolog import facts_as_table
from corollary.graph.reading.readers import Reading, Table, read_nodes, read_triples
from corollary.graph.reading.staging import Staging, count_rows, counted, one_row
from corollary.graph.reading.text_lines import OnError
from corollary.messages import Say, silent
from corollary.storage import new_file, refuse_existing, sha256

_KGX_EDGES, _KGX_NODES = {"subject", "predicate", "object"}, {"id", "category"}


class ImportConfig(Config):
    """Which files make the graph, and how they are to be understood where they do not show it themselves."""

    files: tuple[Path, ...] = ()
    """Files of triples of a graph without splits (all go to train); or one folder or archive with a whole dataset."""
    train: tuple[Path, ...] = ()
    """Files of triples to train on."""
    valid: tuple[Path, ...] = ()
    """Files of triples to choose between models."""
    test: tuple[Path, ...] = ()
    """Files of triples to report scores on."""
    nodes: tuple[Path, ...] = ()
    """Files of nodes with a header: KGX (TSV or JSON lines), or a table with id, name and type."""
    names: tuple[Path, ...] = ()
    """Files of label and name, for reading; a name of a label that the graph lacks is not used."""
    entity_to_id: Path | None = None
    """Labels of entities and their ids, 0 to n - 1, which are kept as they are."""
    relation_to_id: Path | None = None
    """Labels of relations and their ids, 0 to n - 1, which are kept as they are."""
    name: str | None = None
    """Name of the graph; the output folder's unless given."""
    delimiter: str | None = None
    """What stands between the columns of the triples: tab, comma, semicolon, space or one character; found out unless
    given."""
    header: bool | None = None
    """Whether line 1 of the triples is a header; found out unless given."""
    columns: str | None = None
    """The columns of the triples in their order, such as head,tail,relation,- (- is not read, source is the edge's
    source), or the header's names of head, relation and tail, such as drug,effect,disease."""
    id_columns: IdColumns | None = None
    """Order of the columns of id files; found out unless given."""
    given_as: GivenAs | None = None
    """Whether triples hold labels or ids of the id files; found out unless given."""
    on_error: Literal["stop", "skip"] = "stop"
    """stop at the first wrong line of triples or nodes, or skip such lines and write them to OUTPUT.rejects.tsv."""
    qualifiers: tuple[str, ...] = ()
    """KGX: columns of edges that make a relation together with the predicate."""
    edge_map: Path | None = None
    """KGX: edge_map.json with the relations' names."""
    symmetric: Symmetric = "keep"
    """KGX: keep edges of symmetric predicates as they are, store each once, or in both directions."""
    missing_nodes: MissingNodes = "drop"
    """KGX: drop an edge whose node no node file has, or add the node."""
    join: JoinConfig = JoinConfig()
    """How the labels of several sources are made to agree."""
    filters: FilterConfig = FilterConfig()
    """Which part of the graph is kept."""

    @field_validator("files", "train", "valid", "test", "nodes", "names", mode="before")
    @classmethod
    def one_or_more(cls, value: Any) -> Any:
        """A single path is taken as a list of one."""
        return (value,) if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def something_to_read(self) -> Self:
        if not (self.files or self.train):
            raise ValueError("no triples to import: give files, a dataset folder, or train")
        return self


def import_graph(
    output: str | Path, config: ImportConfig, *, budget: Budget = Budget(), say: Say = silent
) -> Graph:
    """Read files into a new graph folder.

    Args:
        output: must not exist yet.
        say: told how every file was understood, what was merged, and what looks wrong but is kept.

    Raises `InputError` with file, line, value and remedy for the first thing wrong with a file, `ConfigError` where
    options contradict the files, `StorageError` where the output exists or cannot be written, `PlanDoesNotFit` where
    the memory limit is too small.

    Memory: DuckDB gets what the limit leaves beside this process and what DuckDB takes outside its own limit; see
    `write_staged` for the last step. A smaller limit takes longer and changes no byte of the folder. Disk: about twice
    the unpacked input, in a hidden folder beside the output, for the time of the import.
    """
    output = Path(output)
    refuse_existing(output)
    with Staging.within(output.parent, budget, f"importing {output}") as staging:
        unpacked = Unpacked(staging.folder / "unpacked")
        on_error: OnError = "raise" if config.on_error == "stop" else "skip"
        reading = Reading(staging, unpacked, on_error, lambda message: say(unpacked.name(message)))
        with unpacked.named():
            work = _Import(reading, config)
            work.run()
            with _rejects_file(reading, output), _edge_map_file(work.notes, output):
                graph = write_staged(
                    staging,
                    output,
                    name=config.name or output.name,
                    sources=work.sources,
                    notes=work.notes,
                    budget=budget,
                    say=say,
                )
    if budget.limit is not None:
        say(f"most resident memory so far {show_bytes(peak_bytes())}, the limit {show_bytes(budget.limit)}")
    return graph


class _Import:
    """One import: files are read into the staging tables, and what is learnt on the way is kept for `graph.json`."""

    def __init__(self, reading: Reading, config: ImportConfig) -> None:
        self.reading = reading
        self.config = config
        self.tables: list[Table] = []
        self.sources: list[dict[str, Any]] = []
        self.notes: dict[str, Any] = {}

    def run(self) -> None:
        """Read, join and cut."""
        inputs, config, connection = self._inputs(), self.config, self.reading.connection
        id_files: dict[Kind, Path] = {}
        if inputs.entity_to_id is not None:
            id_files["entity"] = inputs.entity_to_id
        if inputs.relation_to_id is not None:
            id_files["relation"] = inputs.relation_to_id
        for kind, path in id_files.items():
            table = read_ids(
                self.reading,
                path,
                kind,
                columns=config.id_columns,
                quotes=inputs.quotes,
            )
            self._source(path, f"{kind} ids", str(table.layout), table.count)
        self._read_graph(inputs)
        if "literal_objects_left_out" in self.notes and (named := name_entities(connection)):
            self.reading.say(f"names taken from rdfs:label: {named:,}")
        self._check_options(inputs)
        for kind in id_files:
            given_as = labels_for_ids(self.reading, kind, given_as=config.given_as or inputs.given_as)
            if given_as == "ids":
                self.reading.say(f"the triples hold {kind} ids, which stand for the labels of the id file")
        for path in inputs.names:
            layout = node_layout(path)
            table = read_nodes(self.reading, path, layout, only_known=True)
            self._source(path, "names", str(layout), table.count)
        if config.join.active:
            self.notes["join"] = join(connection, config.join, say=self.reading.say)
        for kind, path in id_files.items():
            check_labels(self.reading, kind, self.tables, path)
        if inputs.entity_to_id is not None:
            self._drop_nodes_without_id()
        if config.filters.active:
            self.notes["filters"] = apply_filters(connection, config.filters, say=self.reading.say)
        if rejected := _rejected(self.reading):
            self.notes["rejected_lines"] = rejected

    def _inputs(self) -> Inputs:
        """The files of this import, unpacked."""
        config, unpacked = self.config, self.reading.unpacked
        found = None
        if len(config.files) == 1 and not (config.train or config.valid or config.test):
            found = dataset_inputs(config.files[0], unpacked)
        if found is None:
            splits = zip(SPLITS, ((*config.files, *config.train), config.valid, config.test), strict=True)
            triples = [
                (split, file)
                for split, paths in splits
                for path in paths
                for file in text_files(path, unpacked)
            ]
            among = [] if self._plain else [file for _, file in triples if _holds_kgx_nodes(file)]
            found = Inputs([(split, file) for split, file in triples if file not in among], nodes=among)
        elif found.kind:
            self.reading.say(f"{config.files[0]}: laid out as {found.kind}")
        nodes = [file for path in config.nodes for file in text_files(path, unpacked)]
        names = [file for path in config.names for file in text_files(path, unpacked)]
        entities, relations = config.entity_to_id, config.relation_to_id
        return replace(
            found,
            nodes=[*found.nodes, *nodes],
            names=[*found.names, *names],
            entity_to_id=one_file(entities, unpacked) if entities else found.entity_to_id,
            relation_to_id=one_file(relations, unpacked) if relations else found.relation_to_id,
        )

    def _read_graph(self, inputs: Inputs) -> None:
        """Triples and nodes into the staging tables, in the order of the splits."""
        kgx_nodes = [path for path in inputs.nodes if _is_kgx(path, _KGX_NODES)]
        for path in inputs.nodes:
            if path not in kgx_nodes:
                layout = node_layout(path)
                table = read_nodes(self.reading, path, layout, only_known=False)
                self._source(path, "nodes", str(layout), table.count)
        for split in SPLITS:
            edges = [path for part, path in inputs.triples if part == split]
            kgx_edges = [] if self._plain else [path for path in edges if _is_kgx(path, _KGX_EDGES)]
            if kgx_edges or kgx_nodes:
                self._read_kgx(kgx_nodes, kgx_edges, split)
                kgx_nodes = []
            for path in edges:
                if path not in kgx_edges:
                    self._read_triples(path, split)

    @property
    def _plain(self) -> bool:
        """Whether the user says how the triples are laid out, so that they are not taken for KGX."""
        return (self.config.delimiter, self.config.header, self.config.columns) != (None, None, None)

    def _check_options(self, inputs: Inputs) -> None:
        """Every option that was given has something to act on."""
        given = self.config.model_dump(exclude_defaults=True).keys()
        if not (inputs.entity_to_id or inputs.relation_to_id):
            for option in given & {"id_columns", "given_as"}:
                raise ConfigError(
                    f"{option} needs an id file: give entity_to_id or relation_to_id, or leave it out"
                )
        if "kgx" not in self.notes:
            for option in given & {"qualifiers", "edge_map", "symmetric", "missing_nodes"}:
                raise ConfigError(
                    f"{option} is for KGX files, and none of the files is one: leave it out, or give edges with the "
                    "columns subject, predicate and object and no delimiter, header or columns"
                )

    def _read_triples(self, path: Path, split: str) -> None:
        config = self.config
        if path.suffix == ".pl":
            self._read_prolog(path, split)
            return
        if not self._plain and is_ntriples(path):
            table, literals = read_ntriples(self.reading, path, split)
            self.tables.append(table)
            self.notes["literal_objects_left_out"] = self.notes.get("literal_objects_left_out", 0) + literals
            self._source(path, split, str(table.layout), table.count)
            return
        layout = triple_layout(path, delimiter=config.delimiter, header=config.header, columns=config.columns)
        table = read_triples(self.reading, path, layout, split)
        self.tables.append(table)
        self._source(path, split, str(layout), table.count)

    def _read_prolog(self, path: Path, split: str) -> None:
        """Facts of two arguments by way of a table; what else there is is counted and said."""
        table = self.reading.staging.folder / "prolog" / f"{len(self.sources)}.tsv"
        table.parent.mkdir(exist_ok=True)
        left_out = facts_as_table(path, table)
        for what, number in sorted(left_out.items()):
            self.reading.say(f"{path}: left out {number:,} of {what}, which is no fact of two arguments")
        if not table.stat().st_size:
            besides = ", ".join(f"{what} ({number:,})" for what, number in sorted(left_out.items()))
            raise InputError(
                f"{path} holds no fact of two arguments such as parent(tom, bob){besides and f', only {besides}'}: a graph is "
                "made of those, and rules are read by corollary rules import"
            )
        if left_out:
            self.notes["prolog_left_out"] = dict(
                left_out + Counter(self.notes.get("prolog_left_out", Counter()))
            )
        layout = triple_layout(table, delimiter="tab", header=False, columns="head,relation,tail")
        read = read_triples(self.reading, table, layout, split)
        self.tables.append(read)
        self._source(path, split, "Prolog facts of two arguments", read.count)

    def _read_kgx(self, nodes: Sequence[Path], edges: Sequence[Path], split: str) -> None:
        config = self.config
        report = stage_kgx(
            self.reading.connection,
            nodes,
            edges,
            split=split,
            qualifiers=config.qualifiers,
            edge_map=config.edge_map,
            symmetric=config.symmetric,
            missing_nodes=config.missing_nodes,
            on_error=self.reading.on_error,
            say=self.reading.say,
        )
        for path in [*nodes, *edges]:
            self._source(path, split if path in edges else "nodes", report.columns[str(path)], None)
        counts = asdict(report)
        edge_map = counts.pop("edge_map")
        del counts["columns"]
        self.notes.setdefault("kgx", {})[split] = counts
        if config.qualifiers or config.edge_map:
            self.notes["edge_map"] = {**self.notes.get("edge_map", {}), **edge_map}

    def _source(self, path: Path, part: str, read_as: str, rows: int | None) -> None:
        """Say how a file was read, and keep it for `graph.json`."""
        unpacked = self.reading.unpacked
        origin = unpacked.origin(path)
        name = Path(unpacked.name(path)).relative_to(origin.parent).as_posix()
        self.reading.say(f"{name}: {read_as}")
        source = {"name": name, "sha256": sha256(origin), "part": part, "read_as": read_as}
        self.sources.append(source if rows is None else {**source, "rows": rows})

    def _drop_nodes_without_id(self) -> None:
        """Where ids are given they are the vocabulary."""
        (dropped,) = one_row(
            self.reading.connection, "DELETE FROM nodes WHERE label NOT IN (SELECT label FROM entity_ids)"
        )
        if dropped:
            self.notes["nodes_without_id"] = dropped
            self.reading.say(f"left out {counted(dropped, 'node')} that the id file does not have")


def _is_kgx(path: Path, columns: set[str]) -> bool:
    """Whether a file is JSON lines, or a table with the columns of KGX."""
    first = sample(path)[0]
    return first.lstrip().startswith("{") or columns <= {text.strip() for text in first.split("\t")}


def _holds_kgx_nodes(path: Path) -> bool:
    """Whether a file that was named among the triples is a KGX file of nodes."""
    first = sample(path)[0]
    return _is_kgx(path, _KGX_NODES) and "subject" not in first and "category" in first


def _rejected(reading: Reading) -> int:
    """Lines that were left out; the table of them is made with the first."""
    tables = "duckdb_tables() WHERE table_name = 'rejects'"
    return count_rows(reading.connection, "rejects") if count_rows(reading.connection, tables) else 0


@contextmanager
def _rejects_file(reading: Reading, output: Path) -> Iterator[None]:
    """Writes OUTPUT.rejects.tsv (file, line, problem, text) where lines were left out."""
    connection = reading.connection
    rejected = _rejected(reading)
    if not rejected:
        yield
        return
    path = output.with_name(f"{output.name}.rejects.tsv")
    with new_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("file\tline\tproblem\ttext\n")
        rows = connection.execute("SELECT file, line, problem, text FROM rejects ORDER BY rowid")
        while batch := rows.fetchmany(10_000):
            for name, line, problem, text in batch:
                shown = repr(text)[1:-1]
                file.write(reading.unpacked.name(f"{name}\t{line}\t{problem}\t{shown}\n"))
    with _kept_beside(path):
        yield
    reading.say(f"left out {counted(rejected, 'line')}: see {path}")


@contextmanager
def _edge_map_file(notes: dict[str, Any], output: Path) -> Iterator[None]:
    """Writes OUTPUT.edge_map.json where relations were made of several columns."""
    if "edge_map" not in notes:
        yield
        return
    path = output.with_name(f"{output.name}.edge_map.json")
    write_edge_map(path, notes["edge_map"])
    with _kept_beside(path):
        yield


@contextmanager
def _kept_beside(path: Path) -> Iterator[None]:
    """Files beside the graph stand before it does, so that a kill leaves no graph without them; they go where it fails."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
