"""Checks arguments and results of every function of the package while tests run.

Two kinds of hints are left unchecked, because beartype refuses them: `Self` in a method that is decorated by itself
(as jaxtyping does it), and protocols that are not `runtime_checkable` (mypy checks those).
"""

from typing import Any, Self, TypeVar, get_args

from beartype import BeartypeConf, beartype

T = TypeVar("T")


def checked(item: T) -> T:
    """`beartype.beartype`, with what it refuses taken as `Any`."""
    if not isinstance(item, type):
        hints = getattr(item, "__annotations__", {})
        item.__annotations__ = {name: Any if _refused(hint) else hint for name, hint in hints.items()}
    return beartype(item, conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as PEP 484 has it


def _refused(hint: Any) -> bool:
    static_protocol = getattr(hint, "_is_protocol", False) and not getattr(
        hint, "_is_runtime_protocol", False
    )
    return hint is Self or static_protocol or any(_refused(part) for part in get_args(hint))
