"""What is kept of each group of targets: its best weights, and the manifest that says which file answers for which
relation.

groups/manifest.json           rotation, group, relations, best epoch, metric, file, peak memory
groups/ROTATION-GROUP.safetensors
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from corollary.budget import peak_bytes
from corollary.errors import RunDamaged
from corollary.graph.folder import Graph
from corollary.learners.drum.groups import Turn
from corollary.learners.drum.learner import Drum
from corollary.storage import new_file, sha256, write_text


class Kept(BaseModel):
    """The best weights of one turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rotation: int
    group: int
    relations: list[str]
    epoch: int
    """Epochs finished when they were kept."""
    metric: str
    value: float
    file: str
    sha256: str
    peak_bytes: int


class Groups:
    """The groups folder of a run."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "groups"

    def read(self) -> list[Kept]:
        """All turns that were kept. Raises `RunDamaged`."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return []
        try:
            return [Kept.model_validate(entry) for entry in json.loads(path.read_bytes())]
        except (ValueError, ValidationError):
            raise RunDamaged(
                f"{path} is damaged: train again, or go on with an older copy of the run"
            ) from None

    def offer(
        self, learner: Drum, graph: Graph, turn: Turn, *, epoch: int, metric: str, value: float
    ) -> None:
        """Keep the weights where they are the first of their turn or no worse than those that are kept."""
        kept = self.read()
        mine = [entry for entry in kept if (entry.rotation, entry.group) == (turn.rotation, turn.group)]
        if mine and (mine[0].epoch < epoch and mine[0].value > value):
            return
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{turn.name}.safetensors"
        with new_file(path) as partial:
            save_file(
                {name: part.detach().contiguous() for name, part in learner.named_parameters()}, partial
            )
        entry = Kept(
            rotation=turn.rotation,
            group=turn.group,
            relations=[graph.relations.label(int(target)) for target in turn.targets],
            epoch=epoch,
            metric=metric,
            value=value,
            file=path.name,
            sha256=sha256(path),
            peak_bytes=peak_bytes(),
        )
        rest = [entry for entry in kept if entry not in mine]
        entries = sorted([*rest, entry], key=lambda entry: (entry.rotation, entry.group))
        text = json.dumps([entry.model_dump() for entry in entries], indent=1, ensure_ascii=False)
        write_text(self.folder / "manifest.json", text + "\n")

    def members(self, graph: Graph, fresh: Callable[[], Drum]) -> Mapping[str, tuple[Drum, list[int]]]:
        """By file: the model, and the relations whose last turn it is. Raises `RunDamaged` where weights are missing, or
        the manifest that names them."""
        last: dict[str, Kept] = {}
        entries = self.read()
        if not entries:
            raise RunDamaged(
                f"{self.folder / 'manifest.json'} is missing or names no group, so that nothing says which weights answer: "
                "train again, or go on with an older copy of the run"
            )
        for entry in entries:
            for relation in entry.relations:
                last[relation] = entry
        members: dict[str, tuple[Drum, list[int]]] = {}
        for relation, entry in last.items():
            if entry.file not in members:
                members[entry.file] = (self._load(entry, fresh()), [])
            members[entry.file][1].append(
                graph.relations.find(relation, where=str(self.folder / "manifest.json"))
            )
        return members

    def _load(self, entry: Kept, learner: Drum) -> Drum:
        path = self.folder / entry.file
        named = f"the weights of group {entry.group} in rotation {entry.rotation}, which manifest.json names"
        if not path.is_file():
            raise RunDamaged(f"{path} is missing: {named}")
        try:
            values = load_file(path)
        except (OSError, SafetensorError):
            values = {}
        if sha256(path) != entry.sha256 or not values:
            raise RunDamaged(f"{path} has changed since it was written: {named}")
        with torch.no_grad():
            for name, part in learner.named_parameters():
                part.copy_(values[name])
        return learner.eval()
