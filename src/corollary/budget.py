"""Arithmetic on bytes: what a run may use, what it will use, what it did use.

A memory limit bounds the resident memory of the whole process tree, interpreter and mapped pages included.
"""

import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import psutil
from pydantic import BaseModel, ConfigDict

from corollary.errors import ConfigError, PlanDoesNotFit

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"ki": KIB, "mi": MIB, "gi": GIB, "ti": 1 << 40}


def parse_bytes(text: str | int) -> int:
    """`"4GiB"`, `"500 MB"` or a plain number, as bytes."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]i?)?b?\s*", str(text).lower())
    if not match or (size := int(float(match[1]) * _UNITS[match[2] or ""])) <= 0:
        raise ConfigError(f"memory size {text!r} is not understood; write 4GiB, 500MB or a number of bytes")
    return size


def show_bytes(size: float) -> str:
    """Bytes as people read them: `96.0 MiB`, `1.50 GiB`."""
    if size >= GIB:
        return f"{size / GIB:.2f} GiB"
    return f"{size / MIB:.1f} MiB"


def resident_bytes() -> int:
    """Resident memory of this process and its children now."""
    process = psutil.Process()
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def peak_bytes() -> int:
    """The high-water mark of this process's resident memory since it started, or since `restart_peak`."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it started this process
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        if found:
            return int(found[1]) * KIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB


def restart_peak() -> None:
    """Begin the high-water mark anew, where the system lets a process do so (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


class Budget(BaseModel):
    """The memory that a user allows; `limit = None` means what the machine has."""

    model_config = ConfigDict(frozen=True)
    limit: int | None = None

    @classmethod
    def parse(cls, text: str | int | None) -> Self:
        return cls(limit=None if text is None else parse_bytes(text))

    @property
    def bytes(self) -> int:
        return self.limit if self.limit is not None else psutil.virtual_memory().total


class Plan(BaseModel):
    """What a run will use, by part, before it starts.

    `block_rows` is the size of the fixed blocks in which sums over entities run. It is part of the result
    (it decides the order of summation), so it is recorded and never depends on the budget.
    """

    model_config = ConfigDict(frozen=True)
    parts: dict[str, int]
    block_rows: int
    evaluation_chunk: int
    recompute: bool = False
    """Feature maps are made again in backward."""
    table: Literal["device", "host", "disk"] = "device"
    """Where the entity table and its optimiser state live."""
    disk_bytes: int = 0
    """Of mapped files, while training."""
    budget: Budget = Budget()

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def ways(self) -> list[str]:
        """What the limit makes the training do, in words."""
        said = ["feature maps made again in backward"] if self.recompute else []
        if self.table == "disk":
            said.append(f"entity table in mapped files ({show_bytes(self.disk_bytes)} on disk)")
        elif self.table == "host":
            said.append("entity table in host memory")
        return said

    def check(self, what: str, remedies: Mapping[str, int] | None = None) -> Self:
        """This plan, or `PlanDoesNotFit` with every part and the remedies that would fit."""
        if self.total <= self.budget.bytes:
            return self
        parts = ", ".join(f"{name} {size / MIB:.1f}" for name, size in self.parts.items())
        fitting = {name: size for name, size in (remedies or {}).items() if size <= self.budget.bytes}
        advice = "".join(f" With {name} it needs {show_bytes(size)}." for name, size in fitting.items())
        raise PlanDoesNotFit(
            f"{what} needs at least {self.total / MIB:.1f} MiB and the budget is {show_bytes(self.budget.bytes)}: "
            f"{parts} (MiB).{advice}"
        )
