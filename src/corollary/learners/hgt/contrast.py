"""A contrastive loss over a whole node type: nodes that a relation links are nearer than all others of the type.

In exact training the embeddings of all nodes are at hand. In sampled training those outside the part come from a memory
bank in half precision, a row for every node of the type, written whenever the node is met: nine thousand diseases at
512 are 9 MB. Sources: van den Oord et al. 2018 (InfoNCE); Wang et al. 2020, "Cross-batch memory".
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from corollary.errors import ConfigError
from corollary.learners.hgt.config import ContrastConfig
from corollary.learners.hgt.questions import Asked, Links
from corollary.learners.protocol import Files
from corollary.randomness import generator


class Contrast:
    """Anchors, their positives, and what they compete with."""

    def __init__(self, config: ContrastConfig, links: Links, dim: int, *, sampled: bool) -> None:
        """A bank for `sampled` training: 2 * dim bytes for every node of the type.

        Raises `ConfigError` where the relation links two types.
        """
        self.config = config
        (relation,) = links.numbers((config.relation,))
        chosen = np.flatnonzero(links.relations == relation)
        heads, tails = links.heads[chosen], links.tails[chosen]
        kinds = np.unique([links.nodes.types_of(heads), links.nodes.types_of(tails)])
        if len(kinds) != 1:
            names = ", ".join(links.nodes.names[kind] for kind in kinds.tolist())
            raise ConfigError(
                f"links.contrast.relation = {config.relation} links {names}: choose a relation within one type"
            )
        self.kind, self._links = int(kinds[0]), links
        self._pairs = np.stack([np.concatenate([heads, tails]), np.concatenate([tails, heads])], 1)
        self._pairs = np.unique(self._pairs[self._pairs[:, 0] != self._pairs[:, 1]], axis=0)
        self.first, self.last = (int(links.nodes.starts[self.kind + i]) for i in (0, 1))
        self.bank: Float[Tensor, "nodes dim"] = torch.zeros(0, dim, dtype=torch.float16)
        self.written = torch.zeros(0, dtype=torch.uint8)
        if sampled:
            self.bank = torch.zeros(self.last - self.first, dim, dtype=torch.float16)
            self.written = torch.zeros(self.last - self.first, dtype=torch.uint8)

    def loss(
        self, batch: Asked, z: Float[Tensor, "rows dim"], gradient: Float[Tensor, "rows dim"], *, share: float
    ) -> Float[Tensor, ""]:
        """InfoNCE of some anchors against every node of the type, times weight and `share`; adds to the gradient.

        Memory: anchors x nodes of the type, three times.
        """
        rows, pairs = self._inside(batch)
        if not len(pairs):
            return z.new_zeros(())
        place = batch.place
        rng = generator(place.seed, "contrast", place.epoch, place.step)
        chosen = pairs[np.sort(rng.permutation(len(pairs))[: self.config.anchors])]
        others = torch.from_numpy(rows).to(z.device)
        with torch.enable_grad():
            leaf = z.index_select(0, others).requires_grad_()
            unit = normalize(leaf, dim=1)
            against, own = self._against(unit, rows, batch)
            anchor, positive = (
                torch.from_numpy(np.ascontiguousarray(part)).to(z.device) for part in chosen.T
            )
            logits = unit[anchor] @ against.T / self.config.temperature
            true = logits.gather(1, own[positive][:, None])[:, 0]
            others_mask = torch.zeros_like(logits, dtype=torch.bool)
            others_mask.scatter_(1, own[anchor][:, None], True)
            mass = logits.masked_fill(others_mask, -torch.inf).logsumexp(1)
            loss = (mass - true).mean() * (self.config.weight * share)
        loss.backward()
        assert leaf.grad is not None
        gradient.index_add_(0, others, leaf.grad)
        return loss.detach()

    def files(self) -> Files:
        """The bank, for a checkpoint."""
        if len(self.bank):
            yield "bank.safetensors", {"bank": self.bank, "written": self.written}

    def _inside(self, batch: Asked) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the type in the batch's part, and linked pairs among them as places in these rows."""
        if batch.rows is None:
            return np.arange(self.first, self.last), (self._pairs - self.first).astype(np.int64)
        whole = batch.rows.numpy()
        rows = np.flatnonzero((whole >= self.first) & (whole < self.last))
        place = np.full(self.last - self.first, -1, np.int64)
        place[whole[rows] - self.first] = np.arange(len(rows))
        pairs = place[self._pairs - self.first]
        return rows, pairs[(pairs >= 0).all(1)]

    def _against(self, unit: Tensor, rows: np.ndarray, batch: Asked) -> tuple[Tensor, Tensor]:
        """What anchors compete with, and the place there of every row of the part."""
        if batch.rows is None:
            return unit, torch.arange(len(unit), device=unit.device)
        inside = batch.rows[torch.from_numpy(rows)].cpu() - self.first
        self.written[inside] = 0
        older = self.bank[self.written.bool()].to(unit.dtype).to(unit.device)
        self.bank[inside], self.written[inside] = unit.detach().half().cpu(), 1
        return torch.cat([unit, older]), torch.arange(len(unit), device=unit.device)
