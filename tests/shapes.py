"""Checks arguments and results of every function of the package while tests run.

Hints that are left unchecked: `Self` in a method that is decorated by itself (as jaxtyping does it) and protocols that
are not `runtime_checkable` (mypy checks those), because beartype refuses them; `typer.Context`, because typer hands
over an object of another class.
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
    typers_own = (
        getattr(hint, "__module__", None) == "typer.models" and getattr(hint, "__name__", "") == "Context"
    )
    return hint is Self or static_protocol or typers_own or any(_refused(part) for part in get_args(hint))
