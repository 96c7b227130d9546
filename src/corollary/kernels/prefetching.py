"""Ask for a row of a table before it is needed, so that its way from memory passes while other work is done.

A hint (llvm.prefetch): nothing is changed or waited for, and no result depends on it.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from corollary.kernels import compiled

_LINE = 8  # float64 in a cache line
_READ, _KEEP, _DATA = 0, 3, 1  # llvm.prefetch: for reading, to all caches, data


def _prefetched(context: Any, array: Any, row: Any, column: Any) -> Any:
    """The cache line of one entry of a table."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table = make_array(signature.args[0])(context, builder, args[0])
        entry = cgutils.get_item_pointer(context, builder, signature.args[0], table, args[1:])
        place, flag = builder.bitcast(entry, ir.IntType(8).as_pointer()), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(hint, [place, flag(_READ), flag(_KEEP), flag(_DATA)])
        return context.get_dummy_value()

    return types.void(array, row, column), generate


_prefetch: Any = intrinsic(_prefetched)


@compiled()
def prefetch_row(table: Float[np.ndarray, "nodes columns"], row: int) -> None:
    """Ask for all of a row that begins a cache line."""
    for column in range(0, table.shape[1], _LINE):
        _prefetch(table, row, column)
