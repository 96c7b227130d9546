"""What pages share: templates that escape everything, names shown as text whatever they hold, shares with their counts."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from corollary.records.explanation import Share
from corollary.reports.values import ABSENT, count, decimal, duration, mib, plural, score

LONGEST_NAME = 120
"""Letters of a name that a table shows; the page of an entity shows all."""

_INVISIBLE = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff\x00-\x1f\x7f-\x9f"
_MARKED = re.compile(f"[{_INVISIBLE}]")
_STYLE = re.compile(r'style="([^"]*)"')


@cache
def environment(*packages: str) -> Environment:
    """Templates of `reports/` and of more packages, with the filters of this module."""
    loaders = [PackageLoader(package, "templates") for package in packages]
    found = Environment(
        loader=ChoiceLoader([*loaders, PackageLoader("corollary.reports", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "count": count, "score": score, "decimal": decimal, "mib": mib, "duration": duration, "plural": plural,
        "visible": visible, "named": named, "share": share, "interval": interval, "hundred": hundred,
        "place": place,
    }  # fmt: skip
    return found


def visible(text: str) -> str:
    """Control characters and those that turn the direction of text, as marks such as ‹U+202E›."""
    return _MARKED.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)


def shortened(text: str, most: int = LONGEST_NAME) -> str:
    """At most `most` letters, the last an ellipsis where there were more; no letter loses its accents."""
    if len(text) <= most:
        return text
    end = most - 1
    while end > 0 and (unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f"):
        end -= 1
    return text[:end] + "…"


def named(text: str, most: int = LONGEST_NAME) -> Markup:
    """A name for a page: escaped, isolated from the direction of what stands around it."""
    return Markup("<bdi>{}</bdi>").format(visible(shortened(text, most)))


def share(value: Share | None, noun: str = "") -> str:
    """`34 of 41 known cases (69 to 91 %)`."""
    if value is None or not value.n:
        return f"no {noun or 'cases'}"
    return f"{value.k:,} of {value.n:,}{f' {noun}' if noun else ''}{interval(value, ' ({} to {} %)')}"


def interval(value: Any, form: str = "{} to {} %") -> str:
    """The bounds of a share or an estimate in whole percent; nothing where there are none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return form.format(round(100 * value.low), round(100 * value.high))


def hundred(value: float | None) -> str:
    """A probability as a number among a hundred, two digits."""
    return ABSENT if value is None else "fewer than 1" if value < 0.01 else f"{100 * value:.0f}"


def place(rank: float | None) -> str:
    """A rank: whole, but where equal scores share places."""
    return ABSENT if rank is None else f"{rank:,.1f}".removesuffix(".0")


def without_styles(svg: str) -> Markup:
    """A drawing of `plots` with attributes in place of inline styles, which a strict policy refuses."""

    def attributes(found: re.Match[str]) -> str:
        pairs = [part.split(":", 1) for part in found[1].split(";") if ":" in part]
        return " ".join(f'{escape(name.strip())}="{escape(value.strip())}"' for name, value in pairs)

    return Markup(_STYLE.sub(attributes, svg))


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))
