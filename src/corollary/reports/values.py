"""Values out of JSON files that may lack a part, and numbers and words as people read them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corollary.budget import MIB
from corollary.errors import RunDamaged

ABSENT = "–"
"""In place of a number that is missing."""


def read(path: Path) -> Any:
    """The content of a JSON file, None where there is none. Raises `RunDamaged` where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise RunDamaged(f"{path} is damaged: it is not JSON") from None


def dig(values: Any, *keys: str) -> Any:
    """`values[keys[0]][keys[1]]...`, None where one is missing."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def finite(values: Any, *keys: str) -> float | None:
    """A finite number, None where it is missing or is none."""
    value = dig(values, *keys)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if usable else None


def figure_of(metrics: Any, name: str) -> float | None:
    """`mrr`, or one of the `hits` by its k."""
    keys = ("hits", name.removeprefix("hits@")) if name.startswith("hits@") else (name,)
    return finite(metrics, *keys)


def series(metrics: Sequence[Mapping[str, Any]], *keys: str) -> tuple[list[int], list[float]]:
    """Epochs and values of one figure, over the lines that have it."""
    found = [(int(line["epoch"]), value) for line in metrics if (value := finite(line, *keys)) is not None]
    return [epoch for epoch, _ in found], [value for _, value in found]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`model.embedding_dim`, `200` and so on, in the order of the file."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        elif value is None:
            yield f"{prefix}{key}", "not set"
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Words and numbers as people read them.


def count(number: float | None) -> str:
    """`5,726`."""
    return ABSENT if number is None else f"{int(number):,}"


def score(value: float | None) -> str:
    """A figure between 0 and 1, or a rank: three digits after the point."""
    return ABSENT if value is None else f"{value:.3f}"


def figure(value: float | None) -> str:
    """Shares and correlations to three digits, ranks to one."""
    if value is None:
        return ABSENT
    return (f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}").replace("-", "−")


def decimal(value: float | None) -> str:
    """A model's score, with a real minus sign."""
    return ABSENT if value is None else f"{value:.2f}".replace("-", "−")


def mib(size: float) -> str:
    """Bytes as MiB, without the unit."""
    return f"{size / MIB:,.1f}"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 12 s`, `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plural(number: float | None, noun: str) -> str:
    """`1 entity`, `249 entities`."""
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{'an unknown number of' if number is None else count(number)} {noun if number == 1 else many}"
