"""`graph.json`: what a graph folder says of itself."""

import hashlib
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

FORMAT = 1
SPLITS = ("train", "valid", "test")


class GraphInfo(BaseModel):
    """The content of `graph.json`."""

    model_config = ConfigDict(frozen=True)
    format: int
    name: str
    num_entities: int
    num_relations: int
    num_triples: dict[str, int]
    node_types: list[str]
    edge_sources: list[str]
    fingerprint: str
    """Of the content: vocabulary and every split."""
    vocabulary_fingerprint: str
    """Of labels and ids alone: two graphs that share it can be compared id by id."""
    sources: list[dict[str, Any]]
    """Files read: name, sha256, how its columns were understood."""
    notes: dict[str, Any]
    """Counts that the import or the derivation reported."""
    files: dict[str, str]
    """Checksum of every other file in the folder."""
    sizes: dict[str, int]
    """Bytes of each."""
    seal: str = ""
    """Checksum of all of the above."""

    def sealed(self) -> Self:
        """With the seal that belongs to the content."""
        return self.model_copy(update={"seal": hash_texts([self.model_dump_json(exclude={"seal"})])})


def hash_texts(texts: Iterable[str]) -> str:
    """SHA-256 of some texts, each with a zero byte behind it."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
