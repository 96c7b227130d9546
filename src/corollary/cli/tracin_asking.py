"""What `corollary tracin run` is asked: triples, rivals, candidates, names, and options that go together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from corollary.cli.output import say
from corollary.errors import ConfigError, GraphMismatch, InputError

if TYPE_CHECKING:
    import numpy as np

    from corollary.runs.run import Run


NOT_OF_SELF = (
    "triples", "split", "test_indices", "start_index", "max_test_triples", "measure", "target", "side", "within_hops",
    "by_checkpoint", "by_entity", "batch_size", "use_last_layers_only", "output_per_triple",
    "skip_existing", "edge_map", "node_name_dict", "instead_of", "by_path", "plot", "index", "use_mixed_precision",
)  # fmt: skip
NOT_WITH_INDEX = (
    "measure", "deletion", "checkpoint", "learning_rate", "by_checkpoint", "by_entity", "by_path", "plot", "ensemble",
    "use_last_layers_only", "batch_size", "use_mixed_precision", "use_gradient_checkpointing",
)  # fmt: skip


def refuse_unused(context: typer.Context, mode: str, *, asked_for_file: bool, indexed: bool) -> None:
    """Raises `ConfigError` for an option that was given and that this mode would not look at."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    unused: set[str] = {"split"} if mode == "single" or asked_for_file else set()
    if mode == "self":
        unused = set(NOT_OF_SELF)
    if indexed and (odd := sorted(given & set(NOT_WITH_INDEX))):
        raise ConfigError(
            f"{_options(odd)} has no meaning with --index, which was made with options of its own"
        )
    if odd := sorted(given & unused):
        raise ConfigError(
            f"{_options(odd)} has no meaning with " + ("--triples" if mode == "test" else f"--mode {mode}")
        )


def _options(names: Sequence[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def run_folder(run: Path | None, model: Path | None) -> tuple[Path, str | None]:
    """The run folder, and the checkpoint where `model` names one."""
    if (run is None) == (model is None):
        raise ConfigError("name one run: its folder, or --model-path")
    if model is None:
        assert run is not None
        return run, None
    for place in (model, *model.parents):
        if (place / "config.json").is_file():
            inside = model.relative_to(place).parts
            return place, inside[1] if len(inside) > 1 and inside[0] == "checkpoints" else None
    raise InputError(
        f"--model-path {model} is not in a run folder: make one of a foreign checkpoint with 'corollary runs import'"
    )


def check_ids(run: "Run", entities: Path | None, relations: Path | None) -> None:
    """Raises `GraphMismatch` where a file of ids says other ones than the run's graph."""
    for path, vocabulary in ((entities, run.graph.entities), (relations, run.graph.relations)):
        for number, (label, entry) in enumerate(_read_ids(path) if path is not None else [], start=1):
            if not (entry < len(vocabulary.labels) and vocabulary.label(entry) == label):
                raise GraphMismatch(
                    f"{path}:{number}: {label!r} is not number {entry} of {run.graph.path}: the file is of another graph"
                )


def _read_ids(path: Path) -> list[tuple[str, int]]:
    """Labels and ids, either way round, between tabs or blanks; a first line that is a count or a header is left out."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        parts = line.split("\t") if "\t" in line else line.split()
        if len(parts) == 2 and parts[1].strip().isdigit():
            found.append((parts[0], int(parts[1])))
        elif len(parts) == 2 and parts[0].strip().isdigit():
            found.append((parts[1], int(parts[0])))
        elif number > 1 and line.strip():
            raise InputError(f"{path}:{number}: expected a label and an id")
    return found


def top_k(text: str) -> int | None:
    """`all`, or a number."""
    if text.lower() in ("all", "none"):
        return None
    if not text.isdigit() or not int(text):
        raise ConfigError(f"--top-k {text!r}: expected a number from 1 on, or 'all'")
    return int(text)


def candidates(run: "Run", path: Path | None) -> "np.ndarray | None":
    from corollary.runs.tracing.tracin import asked_triples, training_rows

    if path is None:
        return None
    wanted = [(head, relation, tail) for head, relation, tail, _ in _read_triples(path)]
    found = asked_triples(run, wanted, where=str(path), say=say)
    return training_rows(run, found, where=str(path))


@dataclass(frozen=True)
class Questions:
    """Triples that are asked about, with what their answers are compared with for a contrast."""

    triples: "np.ndarray"
    rivals: list[int] | None

    def some(self, places: Sequence[int]) -> "Questions":
        """Those at these places."""
        rivals = None if self.rivals is None else [self.rivals[place] for place in places]
        return Questions(self.triples[list(places)], rivals)

    def chosen(self, indices: str | None, start: int, most: int | None) -> "Questions":
        """Those that the options name."""
        return self.some(_chosen(len(self.triples), indices, start, most))

    def places(self, folder: Path | None) -> list[Path | None]:
        """A file for each, by its ids, which are the same in every run on the graph."""
        names = ("tracin_" + "_".join(str(int(part)) for part in triple) + ".json" for triple in self.triples)
        return [None if folder is None else folder / name for name in names]


def questions(
    run: "Run",
    mode: str,
    one: tuple[str | None, str | None, str | None],
    file: Path | None,
    split: str,
    instead_of: str | None,
    side: str | None,
) -> Questions:
    """What is asked about."""
    import numpy as np

    from corollary.runs.tracing.candidates import asked_with_rivals

    given = [part for part in one if part is not None]
    answer = 0 if side == "head" else 2
    if mode == "single":
        if len(given) != 3 or file is not None:
            raise ConfigError("--mode single asks about one triple: give --head, --relation and --tail")
        found, rivals = asked_with_rivals(
            run, [(given[0], given[1], given[2], instead_of)], answer=answer, say=say
        )
    elif given:
        raise ConfigError("--head, --relation and --tail go with --mode single")
    elif file is not None:
        wanted = _read_triples(file, rivals=True)
        if instead_of is not None:
            if any(rival is not None for *_, rival in wanted):
                raise ConfigError(f"{file} says what each answer is compared with: leave out --instead-of")
            wanted = [(head, relation, tail, instead_of) for head, relation, tail, _ in wanted]
        found, rivals = asked_with_rivals(run, wanted, answer=answer, where=str(file), say=say)
    else:
        found, rivals = np.asarray(run.graph.triples(split)).astype(np.int64), None
        if instead_of is not None:
            rival = run.graph.entities.find(instead_of)
            found = found[found[:, answer] != rival]
            rivals = np.full(len(found), rival)
    return Questions(found, None if rivals is None else rivals.tolist())


def _read_triples(path: Path, *, rivals: bool = False) -> list[tuple[str, str, str, str | None]]:
    """Lines of head, relation, tail, and perhaps a rival, between tabs. Raises `InputError` naming the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found: list[tuple[str, str, str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        parts = line.split("\t")
        if len(parts) not in ((3, 4) if rivals else (3,)):
            raise InputError(
                f"{path}:{number}: expected head, relation, tail between tabs, found {len(parts)} fields"
            )
        found.append((parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else None))
    if not found:
        raise InputError(f"{path} holds no triples")
    return found


def _chosen(count: int, text: str | None, start: int, most: int | None) -> list[int]:
    """Places of the triples that are asked about."""
    places = list(range(count)) if text is None else []
    for part in text.split(",") if text is not None else []:
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise ConfigError(f"--test-indices {text!r}: expected numbers and ranges, such as 0,5,10-19")
        places += range(int(match[1]), int(match[2] or match[1]) + 1)
    if places and max(places) >= count:
        raise ConfigError(f"--test-indices: there is no triple {max(places)}; they are 0 to {count - 1}")
    chosen = [place for place in places if place >= start][:most]
    if not chosen:
        raise ConfigError(f"no triple is left to ask about of {count}, from --start-index {start} on")
    return chosen


def names(run: "Run", nodes: Path | None, edges: Path | None) -> tuple[dict[str, str], dict[str, str]]:
    """Names by label; an edge map may be written either way round."""
    from corollary.runs.tracing.files import read_names

    relations = {} if edges is None else read_names(edges)
    labels = set(run.graph.relations.labels)
    if relations and not labels & set(relations):
        relations = {label: name for name, label in relations.items()}
    if relations and not labels & set(relations):
        raise InputError(f"{edges}: none of its labels is a relation of {run.graph.name}")
    return ({} if nodes is None else read_names(nodes)), relations
