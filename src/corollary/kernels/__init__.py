"""Compiled loops: plain arrays in and out, each with a plain twin in tests/reference."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


_compiled: list[Any] = []


def on_disk() -> bool:
    """Whether every kernel that has been imported was compiled before: compiling takes time, and 110 MiB for good."""
    return all(
        any(Path(kernel._cache.cache_path).glob(f"*.{kernel.__name__}-*.nbi"))
        for kernel in _compiled
        if kernel.targetoptions.get("parallel")
    )


def compiled(*, parallel: bool = False, fastmath: bool | set[str] = False) -> Callable[[F], F]:
    """`numba.njit`, cached on disk, dividing as numpy does (a check for zero keeps loops out of vector registers).

    Tests wrap every function to check shapes; numba gets the bare one.
    """

    def compile_it(function: F) -> F:
        compiled_function: Any = njit(parallel=parallel, fastmath=fastmath, cache=True, error_model="numpy")(
            inspect.unwrap(function)
        )
        _compiled.append(compiled_function)
        return compiled_function

    return compile_it
