"""JSON that says whether it has changed: a checksum of the values stands among them, under `seal`."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from corollary.errors import RunDamaged

_SEAL = "seal"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their seal behind them."""
    return {**values, _SEAL: _checksum(values)}


def unsealed(values: Any, where: str, remedy: str) -> dict[str, Any]:
    """The values without their seal.

    Values that never had one pass, so that folders of version 0.1 can be read: one damaged bit in the word `seal`
    passes too, and changes none of the values.

    Args:
        where: file, or file and line.

    Raises `RunDamaged` where they are not what was sealed, or no table.
    """
    if not isinstance(values, dict):
        raise RunDamaged(f"{where} is damaged: it is not a table of values: {remedy}")
    bare = {name: value for name, value in values.items() if name != _SEAL}
    if values.get(_SEAL, _checksum(bare)) != _checksum(bare):
        raise RunDamaged(f"{where} has changed since it was written: {remedy}")
    return bare


def _checksum(values: Mapping[str, Any]) -> str:
    """Of the values as JSON gives them back, in an order of their own."""
    plain = json.loads(json.dumps(values))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
