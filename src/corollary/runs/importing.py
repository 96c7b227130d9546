"""A ConvE that another program trained, as a run folder that `evaluate`, `predict` and the explanations take.

Rows are put in the order of the graph, by label. What the tensors decide is read from them; what they cannot tell
(dropout, loss, smoothing, learning rate) comes from the checkpoint, from the script's own `config.json`, from the
user, or is the other program's default; `config.json` records under `imported` which it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from torch import Tensor

from corollary.budget import Budget, resident_bytes
from corollary.config import Config
from corollary.errors import ConfigError, InputError
from corollary.graph.folder import Graph
from corollary.graph.reading.id_files import Kind
from corollary.graph.vocabulary import Vocabulary
from corollary.learners.conve import ConvE
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs import foreign_conve, foreign_files
from corollary.runs.config import RunConfig
from corollary.runs.conve import build_learner
from corollary.runs.device import choose_device
from corollary.runs.foreign_conve import Layout
from corollary.runs.foreign_files import Weights
from corollary.runs.recording import run_record
from corollary.runs.run import Run
from corollary.storage import new_folder, refuse_existing, sha256
from corollary.training import checkpoints
from corollary.training.loop import LoopState

Inverse = Literal["interleaved", "after", "none"]
_INVERSE_NAMES = ("_inverse", "_reverse")
"""What other programs put behind the label of a relation to name its inverse."""


class ImportRunConfig(Config):
    """What a file of weights cannot say of itself."""

    entity_to_id: Path | None = None
    """Labels and ids of the entities, as the model was trained with; PyKEEN's own are found in its folder."""
    relation_to_id: Path | None = None
    """Labels and ids of the relations."""
    inverse: Inverse | None = None
    """Rows of inverse relations: interleaved (2r + 1), after all others (r + R), or none. Not set: as the layout
    has it."""


@dataclass(frozen=True)
class _Checkpoint:
    """One file and what it becomes."""

    weights: Weights
    names: tuple[str, ...]
    epoch: int


def import_run(
    source: str | Path,
    graph: Graph | str | Path,
    output: str | Path,
    config: ImportRunConfig | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    say: Say = silent,
) -> Run:
    """Make a run folder of a ConvE trained elsewhere: PyKEEN's, a plain script's, or the authors' own.

    Args:
        source: a state dict (`.pt`, `.pth`, `.ckpt`, `.safetensors`), a checkpoint that holds one, or a folder of
            them. No pickle is opened but with torch's weights-only reader.
        graph: all its entities and relations have to be among those of the model, by label.
        output: the run folder to make; nothing is left of it where the import fails.
        options: nested, as for `RunConfig.build`: what the tensors cannot tell, such as
            `{"model": {"label_smoothing": 0.1}}`.

    Scores equal the other program's own to rounding. A model without inverse relations predicts tails alone
    (`model.sides = "tail"`). Raises `InputError` for what ConvE here cannot be and for labels that the model lacks,
    `ConfigError` for options that contradict the tensors.

    Memory: the model once; files are mapped and read block by block.
    """
    source, output, config = Path(source), Path(output), config or ImportRunConfig()
    opened = graph if isinstance(graph, Graph) else Graph.open(graph)
    refuse_existing(output)
    found = [foreign_files.read_weights(path) for path in foreign_files.weight_files(source)]
    layout = foreign_conve.recognise(found[0])
    kept = _name(found, layout, source)
    tensors = foreign_conve.renamed(kept[-1].weights, layout)
    say(f"layout: {layout.title}; {len(tensors['entities.weight']):,} entities")
    labels = {kind: _labels(source, config, kind, output, say) for kind in ("entity", "relation")}
    entity_rows = _entity_rows(labels["entity"], len(tensors["entities.weight"]), opened.entities, say)
    relation_rows, sides = _relation_rows(
        labels["relation"], len(tensors["relations"]), opened.relations, config.inverse, layout, say
    )
    run_config, origins = _configure(kept[-1], tensors, layout, sides, source, options or {}, say)
    device = choose_device("cpu", silent)
    budget = Budget.parse(run_config.memory_limit)
    plan = ConvE.plan_scoring(run_config.model, opened.size, budget, held=resident_bytes())
    plan.check(f"conve on {opened.name}")
    with new_folder(output) as partial:
        record = run_record("conve", output, opened, run_config, plan, device)
        folder = RunFolder.create(partial, record | {"imported": _origin(source, layout, kept, origins)})
        for checkpoint in kept:
            learner = build_learner(run_config, opened, plan=plan, folder=partial)
            theirs = foreign_conve.renamed(checkpoint.weights, layout)
            _same_shapes(tensors, theirs, checkpoint.weights.path)
            foreign_conve.fill(learner, theirs, entity_rows, relation_rows)
            position = _position(checkpoint, run_config.training.lr)
            for name in checkpoint.names:
                checkpoints.save(folder.checkpoint(name), learner, position=position)
    say(f"checkpoints: {', '.join(name for checkpoint in kept for name in checkpoint.names)}")
    return Run.open(output, graph=opened.path)


def _name(found: Sequence[Weights], layout: Layout, source: Path) -> list[_Checkpoint]:
    """What each file becomes, the one that is `final` last."""
    kept: list[_Checkpoint] = []
    for weights in found:
        stem = weights.path.stem.lower()
        epoch = weights.number
        if epoch is None:
            epoch = 0 if weights.epoch is None else weights.epoch + layout.epochs_before
        if len(found) == 1 or "final" in stem or "last" in stem:
            names = ("final", *([f"epoch-{epoch:04d}"] if epoch else []))
        elif "best" in stem:
            names = ("best",)
        elif epoch:
            names = (f"epoch-{epoch:04d}",)
        else:
            raise InputError(
                f"{source} holds {len(found)} files of weights, and of {weights.path.name} neither its name nor its "
                "content says the epoch: name the one file to import"
            )
        kept.append(_Checkpoint(weights, names, epoch))
    kept.sort(key=lambda item: ("final" in item.names, "best" not in item.names, item.epoch))
    if "final" not in kept[-1].names:
        last = kept[-1]
        kept[-1] = _Checkpoint(last.weights, ("final", *last.names), last.epoch)
    taken: dict[str, Path] = {}
    for item in kept:
        for name in item.names:
            other = taken.setdefault(name, item.weights.path)
            if other != item.weights.path and name in ("final", "best"):
                raise InputError(f"{other} and {item.weights.path} would both be {name!r}: name one of them")
    return [
        _Checkpoint(i.weights, tuple(n for n in i.names if taken[n] == i.weights.path), i.epoch) for i in kept
    ]


def _labels(source: Path, config: ImportRunConfig, kind: Kind, output: Path, say: Say) -> list[str]:
    """Their labels, in the order of their rows."""
    option = f"{kind}_to_id"
    path = getattr(config, option) or foreign_files.id_file(source, kind)
    if path is None:
        raise InputError(
            f"{source} does not say which {kind} each row belongs to: name the file of labels and ids that the model was "
            f"trained with, --{option.replace('_', '-')} FILE"
        )
    return foreign_files.read_labels(path, kind, beside=output, say=say)


def _entity_rows(
    labels: Sequence[str], num_rows: int, entities: Vocabulary, say: Say
) -> Int[np.ndarray, " entities"]:
    """Their row of each entity of the graph."""
    if len(labels) != num_rows:
        raise InputError(
            f"the model has {num_rows:,} entities and their file of ids {len(labels):,}: it is not the file that the "
            "model was trained with"
        )
    rows = _rows_by_label(labels, entities, "entities")
    if left := num_rows - len(rows):
        say(f"{left:,} entities of the model are not in the graph and are left out")
    return rows


def _rows_by_label(labels: Sequence[str], vocabulary: Vocabulary, what: str) -> Int[np.ndarray, " rows"]:
    """Their row of each of our labels. Raises `InputError` naming labels that they do not have."""
    theirs = {label: row for row, label in enumerate(labels)}
    rows = np.fromiter((theirs.get(label, -1) for label in vocabulary.labels), np.int64, len(vocabulary))
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        named = ", ".join(repr(vocabulary.label(int(row))) for row in missing[:5])
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise InputError(
            f"{len(missing):,} of the graph's {len(rows):,} {what} are not in the model: {named}{more}. Use the graph that "
            "the model was trained on, or a subset of it"
        )
    return rows


def _relation_rows(
    labels: Sequence[str],
    num_rows: int,
    relations: Vocabulary,
    inverse: Inverse | None,
    layout: Layout,
    say: Say,
) -> tuple[Int[np.ndarray, " directed"], Literal["both", "tail"]]:
    """Their row of each of our directed relations, and the sides that the model predicts."""
    forward = _rows_by_label(labels, relations, "relations")
    count = len(labels)
    named = _named_inverses(labels, relations)
    if num_rows == count and inverse in (None, "none"):
        if named is not None:
            say("inverse relations: by their labels")
            return np.concatenate([forward, named]), "both"
        say("the model has no inverse relations: it predicts tails alone, and figures are those of tails")
        return forward, "tail"
    if num_rows != 2 * count or inverse == "none":
        raise InputError(
            f"the model has {num_rows} rows of relations and their file of ids {count} labels: expected as many, or "
            f"twice as many with inverse relations{' and not --inverse none' if inverse == 'none' else ''}"
        )
    order = inverse or ("interleaved" if layout.interleaved else None)
    if order is None:
        raise InputError(
            f"the model has two rows for each of {count} relations, and {layout.title} may order them in two ways: say "
            "--inverse after (inverse of r in row r + R) or --inverse interleaved (rows 2r and 2r + 1)"
        )
    say(f"inverse relations: {'rows 2r and 2r + 1' if order == 'interleaved' else 'rows r and r + R'}")
    pairs = (2 * forward, 2 * forward + 1) if order == "interleaved" else (forward, forward + count)
    return np.concatenate(pairs), "both"


def _named_inverses(labels: Sequence[str], relations: Vocabulary) -> Int[np.ndarray, " rows"] | None:
    """Their rows of inverse relations where each is named after its relation."""
    theirs = {label: row for row, label in enumerate(labels)}
    for suffix in _INVERSE_NAMES:
        rows = [theirs.get(label + suffix, -1) for label in relations.labels]
        if min(rows) >= 0:
            return np.array(rows, np.int64)
    return None


def _configure(
    final: _Checkpoint,
    tensors: Mapping[str, Tensor],
    layout: Layout,
    sides: str,
    source: Path,
    options: Mapping[str, Any],
    say: Say,
) -> tuple[RunConfig, dict[str, str]]:
    """The whole configuration, and where each option of it that is not ours by default came from."""
    weights, given = final.weights, _flat(options)
    script = foreign_files.script_config(source)
    images = {"model.image_height": "embedding_height", "model.image_width": "embedding_width"}
    told = {
        name.removeprefix("model."): given.get(name, weights.described.get(theirs))
        for name, theirs in images.items()
    }
    told = {name: value for name, value in told.items() if value is not None}
    if "model.stacking" in given:
        told["stacking"] = given["model.stacking"]
    shaped, how = foreign_conve.architecture(tensors, layout, told, where=str(weights.path))
    decided = {f"model.{name}": value for name, value in {**shaped, "sides": sides}.items()}
    say(f"image: {shaped['image_height']} x {shaped['image_width']}, stacked by {shaped['stacking']} ({how})")
    for name, value in decided.items():
        if name in given and given[name] != value:
            raise ConfigError(f"--set {name}={given[name]}: the tensors of {weights.path} say {value}")
    layers = {
        f"default of {layout.title}": _flat(layout.defaults),
        script.get("path", ""): _script_options(script),
        "checkpoint": _checkpoint_options(final),
        "option": given,
        "tensors": decided,
    }
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers.items():
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    config = RunConfig.build(_nested(values), where=f"import of {source}")
    foreign_conve.checked(tensors, config.model, str(weights.path))
    return config, origins


def _script_options(script: Mapping[str, Any]) -> dict[str, Any]:
    """What a plain script's `config.json` says, by our names."""
    return {
        ".".join(ours): script[group][theirs]
        for group, names in foreign_conve.SCRIPT_OPTIONS.items()
        for theirs, ours in names.items()
        if theirs in (script.get(group) or {})
    }


def _checkpoint_options(final: _Checkpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if final.epoch:
        found["training.epochs"] = final.epoch
    if final.weights.learning_rate is not None:
        found["training.lr"] = final.weights.learning_rate
    return found


def _position(checkpoint: _Checkpoint, lr: float) -> dict[str, Any]:
    """Where its program stood, for the manifest."""
    weights = checkpoint.weights
    state = LoopState(epoch=checkpoint.epoch, updates=weights.updates)
    return {
        "epoch": checkpoint.epoch,
        "step": 0,
        "updates": weights.updates,
        "learning_rate": lr if weights.learning_rate is None else weights.learning_rate,
        "averaged": False,
        "loop": state.model_dump(exclude={"seconds"}),
    }


def _origin(
    source: Path, layout: Layout, kept: Sequence[_Checkpoint], origins: Mapping[str, str]
) -> dict[str, Any]:
    """What `config.json` says of the import."""
    return {
        "source": source.resolve().name,
        "layout": layout.title,
        "files": [
            {
                "file": item.weights.path.name,
                "sha256": sha256(item.weights.path),
                "checkpoints": list(item.names),
                "learning_rate_from": "default" if item.weights.learning_rate is None else "checkpoint",
            }
            for item in kept
        ],
        "from": dict(sorted(origins.items())),
    }


def _same_shapes(first: Mapping[str, Tensor], other: Mapping[str, Tensor], path: Path) -> None:
    for name in sorted(set(first) | set(other)):
        shapes = [tuple(found[name].shape) if name in found else None for found in (first, other)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{path} is of another model: {name} is {shapes[1]} there and {shapes[0]} elsewhere"
            )


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, key = name.split(".")
        node = table
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    return table
