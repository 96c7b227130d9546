"""Compiled loops: plain arrays in and out, each with a plain twin in tests/reference."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*, parallel: bool = False, fastmath: bool | set[str] = False) -> Callable[[F], F]:
    """`numba.njit`, cached on disk. Tests wrap every function to check shapes; numba gets the bare one."""

    def compile_it(function: F) -> F:
        compiled_function: Any = njit(parallel=parallel, fastmath=fastmath, cache=True)(
            inspect.unwrap(function)
        )
        return compiled_function

    return compile_it
