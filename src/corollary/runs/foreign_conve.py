"""ConvE as other programs lay it out: whose names the tensors bear, and which architecture their shapes tell.

    pykeen   PyKEEN 1.11, `ConvE(...).state_dict()`: images stacked by height, one bias an entity, inverse relations
             (where there are any) right behind each relation: 2r and 2r + 1
    plain    scripts with `entity_embeddings`, `relation_embeddings`, `conv1`, `fc`, `bn0` to `bn2`: images stacked
             by width, no entity bias
    authors  the code of Dettmers et al. and its many copies: `emb_e`, `emb_rel`, entity bias `b`, stacked by height

All three normalise, convolve, normalise, project, normalise and compare, as `learners.conve` does; where dropout
stands changes no score. What has no counterpart is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from corollary.errors import InputError
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.runs.foreign_files import Weights

Stacking = Literal["height", "width"]

_ROWS = 1 << 16  # of a table looked at at a time
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _norms(**places: str) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{part}" for ours, theirs in places.items() for part in _NORM}


_SCRIPT = {
    "conv1.weight": "filters",
    "conv1.bias": "filter_bias",
    "fc.weight": "projection",
    "fc.bias": "projection_bias",
    **_norms(norm_input="bn0", norm_features="bn1", norm_hidden="bn2"),
}
_OPTIONAL = {"entities.bias", "filter_bias"}


@dataclass(frozen=True)
class Layout:
    """How one program writes ConvE down."""

    title: str
    entities: str
    """Their name of the entity table, by which the layout is known."""
    names: Mapping[str, str]
    """Our name of each of their tensors."""
    stackings: tuple[Stacking, ...]
    """Those that occur, the usual one first."""
    image_height: int | None
    """What the program uses unless told otherwise; None for its factor nearest to a square."""
    interleaved: bool
    """Whether inverse relations are 2r + 1, and there are some if there are twice as many rows as relations."""
    epochs_before: int
    """1 where the number in a checkpoint is that of the last epoch, counted from 0."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options that no tensor shows, as the program sets them unless told otherwise."""


_PAPER = {"loss": "binary_cross_entropy", "reduction": "mean", "weight": "query"}

LAYOUTS: Mapping[str, Layout] = {
    "pykeen": Layout(
        title="PyKEEN",
        entities="entity_representations.0._embeddings.weight",
        names={
            "entity_representations.0._embeddings.weight": "entities.weight",
            "entity_representations.1._embeddings.weight": "entities.bias",
            "relation_representations.0._embeddings.weight": "relations",
            "interaction.hr2d.2.weight": "filters",
            "interaction.hr2d.2.bias": "filter_bias",
            "interaction.hr1d.0.weight": "projection",
            "interaction.hr1d.0.bias": "projection_bias",
            **_norms(
                norm_input="interaction.hr2d.0",
                norm_features="interaction.hr2d.3",
                norm_hidden="interaction.hr1d.2",
            ),
        },
        stackings=("height",),
        image_height=None,
        interleaved=True,
        epochs_before=0,
        defaults={"model": {**_PAPER, "smoothing": "pykeen", "label_smoothing": 0.0, "batch_size": 256}},
    ),
    "plain": Layout(
        title="a plain script",
        entities="entity_embeddings.weight",
        names={
            "entity_embeddings.weight": "entities.weight",
            "relation_embeddings.weight": "relations",
            **_SCRIPT,
        },
        stackings=("width", "height"),
        image_height=10,
        interleaved=False,
        epochs_before=1,
        defaults={
            "model": {
                **_PAPER,
                "examples": "1vsall",
                "smoothing": "uniform",
                "label_smoothing": 0.1,
                "batch_size": 256,
            }
        },
    ),
    "authors": Layout(
        title="the authors' code",
        entities="emb_e.weight",
        names={
            "emb_e.weight": "entities.weight",
            "emb_rel.weight": "relations",
            "b": "entities.bias",
            **_SCRIPT,
        },
        stackings=("height",),
        image_height=20,
        interleaved=False,
        epochs_before=1,
        defaults={"model": {**_PAPER, "smoothing": "conve", "label_smoothing": 0.1, "batch_size": 128}},
    ),
}

SCRIPT_OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "model": {
        "input_dropout": ("model", "input_dropout"),
        "feature_map_dropout": ("model", "feature_dropout"),
        "output_dropout": ("model", "hidden_dropout"),
    },
    "training": {
        "label_smoothing": ("model", "label_smoothing"),
        "batch_size": ("model", "batch_size"),
        "learning_rate": ("training", "lr"),
        "num_epochs": ("training", "epochs"),
        "random_seed": ("seed",),
    },
}
"""Where the options in a plain script's `config.json` stand here."""


def recognise(weights: Weights) -> Layout:
    """The layout of a file. Raises `InputError` with the names it holds where it is none of these."""
    for layout in LAYOUTS.values():
        if layout.entities in weights.tensors:
            return layout
    raise InputError(
        f"{weights.path} is not a ConvE of a known layout: it holds {_some(weights.tensors)}. Known by their entity "
        f"table: {', '.join(f'{layout.entities} ({layout.title})' for layout in LAYOUTS.values())}"
    )


def renamed(weights: Weights, layout: Layout) -> dict[str, Tensor]:
    """The tensors by our names. Raises `InputError` for what is missing, has no counterpart, or is not finite."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.tensors.items():
        if name in layout.names:
            found[layout.names[name]] = tensor
        elif ".regularizer." not in name and not name.startswith("loss."):  # neither changes a score
            raise InputError(
                f"{weights.path} holds {name!r} {tuple(tensor.shape)}, which has no counterpart in ConvE here, so its "
                "scores would differ"
            )
    required = {ours: theirs for theirs, ours in layout.names.items() if ours not in _OPTIONAL}
    missing = {
        ours: theirs
        for ours, theirs in required.items()
        if ours not in found and not ours.endswith("num_batches_tracked")
    }
    if missing:
        norms = all(ours.startswith("norm") for ours in missing)
        reason = " Models without batch norm are not taken over." if norms else ""
        raise InputError(f"{weights.path} lacks {_some(missing.values())}.{reason}")
    if "entities.bias" in found:
        found["entities.bias"] = found["entities.bias"].reshape(-1)
    theirs = {ours: theirs for theirs, ours in layout.names.items()}
    for ours, tensor in found.items():
        if not all(part.isfinite().all() for part in torch.atleast_1d(tensor).split(_ROWS)):
            raise InputError(f"{weights.path}: {theirs[ours]!r} holds values that are not finite numbers")
    return found


def architecture(
    tensors: Mapping[str, Tensor], layout: Layout, told: Mapping[str, Any], *, where: str
) -> tuple[dict[str, Any], str]:
    """Options of `ConvEConfig` that the shapes decide, and in words how the image was found.

    Args:
        told: `image_height`, `image_width`, `stacking` as far as the user or the checkpoint says.

    Raises `InputError` for what ConvE here cannot be, and where several images fit and nothing says which.
    """
    for name, axes in (("filters", 4), ("projection", 2), ("entities.weight", 2), ("relations", 2)):
        if tensors[name].ndim != axes:
            raise InputError(f"{where}: {name} has the shape {tuple(tensors[name].shape)}, not {axes} axes")
    channels, inputs, height, width = tensors["filters"].shape
    dim, features = tensors["projection"].shape
    shapes = {name: tuple(tensors[name].shape) for name in ("entities.weight", "relations")}
    if inputs != 1:
        raise InputError(f"{where} convolves {inputs} input channels; ConvE here has one image a query")
    if height != width:
        raise InputError(f"{where} has a kernel of {height} x {width}; ConvE here has square ones")
    if any(shape[1] != dim for shape in shapes.values()):
        raise InputError(f"{where}: entities, relations and projection differ in length: {shapes}, {dim}")
    wanted = told.get("stacking")
    fitting = [
        (rows, dim // rows, stacking)
        for stacking in ((wanted,) if wanted else layout.stackings)
        for rows in range(1, dim + 1)
        if dim % rows == 0 and _features(rows, dim // rows, stacking, height) * channels == features
    ]
    chosen, how = _image(fitting, dim, layout, told, where)
    options = {
        "embedding_dim": dim,
        "image_height": chosen[0],
        "image_width": chosen[1],
        "stacking": chosen[2],
        "channels": channels,
        "kernel": height,
        "entity_bias": "entities.bias" in tensors,
        "conv_bias": "filter_bias" in tensors,
        "variant": "paper",
    }
    return options, how


def _features(rows: int, columns: int, stacking: str, kernel: int) -> int:
    """Entries of one feature map; 0 where the kernel does not fit."""
    rows, columns = (2 * rows, columns) if stacking == "height" else (rows, 2 * columns)
    return max(0, rows - kernel + 1) * max(0, columns - kernel + 1)


def _image(
    fitting: list[tuple[int, int, str]], dim: int, layout: Layout, told: Mapping[str, Any], where: str
) -> tuple[tuple[int, int, str], str]:
    """The image among those that fit: the one that was told, the only one, or the program's own default."""
    words = [f"{rows} x {columns} stacked by {stacking}" for rows, columns, stacking in fitting]
    left = [
        image
        for image in fitting
        if told.get("image_height") in (None, image[0]) and told.get("image_width") in (None, image[1])
    ]
    if not left:
        asked = ", ".join(f"{name} = {value}" for name, value in told.items())
        fit = f"what fits: {'; '.join(words)}" if words else "no image of that length fits"
        raise InputError(f"{where}: the shapes do not belong to {asked or 'ConvE'}: {fit}")
    if len(left) == 1:
        return left[0], "by the shapes" if len(fitting) == 1 else "as told"
    usual = layout.image_height or max(rows for rows in range(1, int(dim**0.5) + 1) if dim % rows == 0)
    default = [image for image in left if image[0] == usual and image[2] == layout.stackings[0]]
    if not default:
        raise InputError(
            f"{where}: several images fit the shapes: {'; '.join(words)}. Say which with "
            f"--set model.image_height={left[0][0]} --set model.stacking={left[0][2]}"
        )
    return default[0], f"by default of {layout.title}: {'; '.join(words)} fit the shapes"


@torch.no_grad()
def fill(
    learner: ConvE,
    tensors: Mapping[str, Tensor],
    entity_rows: Int[np.ndarray, " entities"],
    relation_rows: Int[np.ndarray, " directed"],
) -> None:
    """Put the tensors into a learner of their architecture.

    Args:
        entity_rows: the row of their entity table that belongs to each of our entities.
        relation_rows: the row of their relation table for each of our directed relations.

    Memory: one block of the entity table; what was mapped from a file stays there.
    """
    table = learner.entities
    for rows in table.block_slices():
        theirs = torch.from_numpy(entity_rows[rows])
        for name, part in table.parts.items():
            table.storage.view(part, rows).copy_(tensors[f"entities.{name}"][theirs])
    own = {**dict(learner.named_parameters()), **dict(learner.named_buffers())}
    learner.relations.copy_(tensors["relations"][torch.from_numpy(relation_rows)])
    for name, tensor in tensors.items():
        if not name.startswith("entities.") and name != "relations":
            own[name].copy_(tensor)


def checked(tensors: Mapping[str, Tensor], config: ConvEConfig, where: str) -> None:
    """Raises `InputError` where a tensor does not have the shape that the architecture gives it."""
    dim, channels = config.embedding_dim, config.channels
    shapes = {
        "filter_bias": (channels,),
        "projection_bias": (dim,),
        **{f"norm_input.{part}": (1,) for part in _NORM[:4]},
        **{f"norm_features.{part}": (channels,) for part in _NORM[:4]},
        **{f"norm_hidden.{part}": (dim,) for part in _NORM[:4]},
        "entities.bias": tensors["entities.weight"].shape[:1],
    }
    for name, shape in shapes.items():
        if name in tensors and tuple(tensors[name].shape) != tuple(shape):
            raise InputError(
                f"{where}: {name} has the shape {tuple(tensors[name].shape)}, not {tuple(shape)}"
            )


def _some(names: Any) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(map(repr, names[:4])) + more
