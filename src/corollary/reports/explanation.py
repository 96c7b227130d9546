"""An explanation as HTML: the same sections on the explorer's page and in one file that opens without a network.

Everything from a graph is text: escaped, isolated, with invisible characters shown. The file runs one script and uses
one style, both named by their SHA-256 in its content-security policy; its data stand in it as JSON.
"""

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from corollary.records.explanation import (
    Calibrated,
    Ensembled,
    Explanation,
    Hierarchy,
    InfluenceReasons,
    Missing,
    Neighbours,
    PathReasons,
    RuleReason,
    RuleReasons,
)
from corollary.reports.evidence import cited, picture
from corollary.reports.markup import environment, listed, place

FEW = 30
"""Cases below which nothing is concluded."""
DISAGREEMENT = 10
"""Times the best rank from which the worst one means that models disagree."""

WARNINGS = {
    "popular_answer": "puts this answer among the ten best of {share} queries of this relation: little news by itself",
    "no_better_than_counting": "ranks this relation's test facts no better than counting how often each answer occurs",
    "too_few_to_judge": "has too few test facts of this relation to be judged by",
}


def explanation_json(found: Explanation) -> str:
    """The bytes of `explain --json`, of the page's .json and of the data in a file."""
    return found.model_dump_json(indent=1) + "\n"


def as_html(found: Explanation) -> str:
    """One file, readable offline, with the explanation's JSON inside."""
    style, script = asset("page.css"), asset("explanation.js")
    data = explanation_json(found).replace("<", "\\u003c")
    return (
        environment()
        .get_template("explanation_file.html")
        .render(
            x=found,
            view=view(found),
            entity_url=None,
            rule_url=None,
            asked_as=None,
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "base-uri 'none'; form-action 'none'",
            data=Markup(data),
        )
    )


@cache
def asset(name: str) -> str:
    """`page.css` or `explanation.js`, which the page serves and the file holds."""
    return files("corollary.reports").joinpath(name).read_text(encoding="utf-8")


def view(found: Explanation, entity_url: Callable[[str], str] | None = None) -> dict[str, Any]:
    """What the template shows beside the explanation itself: sentences, groups, the picture."""
    parts = cited(found)
    rules = found.rules if isinstance(found.rules, RuleReasons) else None
    return {
        "standing": standing(found),
        "warnings": warnings(found),
        "strongest": strongest(found),
        "rules": rules,
        "groups": grouped(rules.shown) if rules else [],
        "influence": found.influence if isinstance(found.influence, InfluenceReasons) else None,
        "paths": found.paths if isinstance(found.paths, PathReasons) else None,
        "hierarchy": found.hierarchy if isinstance(found.hierarchy, Hierarchy) else None,
        "neighbours": found.neighbours if isinstance(found.neighbours, Neighbours) else None,
        "agreement": None if isinstance(found.agreement, Missing) else found.agreement,
        "what_if": None if isinstance(found.what_if, Missing) else found.what_if,
        "likeness": likeness(found),
        "cited": parts,
        "picture": picture(found, entity_url),
        "facts": {fact.id: fact for fact in found.facts},
    }


def standing(found: Explanation) -> dict[str, Any]:
    """Rank and what such ranks have been worth: of the runs together, or of the only one."""
    together = found.ensemble if isinstance(found.ensemble, Ensembled) else None
    first = next((one for one in found.ranks if one.rank is not None), None)
    rank, worth, by = None, None, ""
    if together is not None:
        rank, worth, by = together.rank, together.calibrated, "all models together"
    elif first is not None:
        rank, worth, by = first.rank, first.calibrated, first.run
    return {"rank": rank, "by": by, "worth": worth, "sentence": _worth(worth)}


def _worth(worth: Calibrated | None) -> str:
    if worth is None:
        return "There are no validation facts to say what such a rank is worth."
    whole, right = 100 * worth.probability, worth.right
    about = "fewer than 1" if whole < 1 else f"about {whole:.0f}"
    bounds = (
        f" ({right.k:,} of {right.n:,} counted at {'ranks' if '-' in worth.ranks else 'rank'} {worth.ranks})"
    )
    scope = "over all relations, as this one has few" if worth.pooled else "of this relation"
    return f"Of 100 answers ranked like this, {about} were held-out facts{bounds}, {scope}."


def warnings(found: Explanation) -> list[str]:
    """What should make a reader careful, in words."""
    said = []
    for one in found.trust:
        of = f"{one.top_ten_share.k:,} of {one.top_ten_share.n:,}"
        said += [f"{one.run} {WARNINGS[name].format(share=of)}." for name in one.warnings if name in WARNINGS]
    ranks = sorted(one.rank for one in found.ranks if one.rank is not None)
    if len(ranks) > 1 and ranks[-1] > DISAGREEMENT * ranks[0]:
        said.append(f"The models disagree: they put it at ranks {listed([place(rank) for rank in ranks])}.")
    if found.status.other_relations:
        names = listed([one.name for one in found.status.other_relations])
        said.append(
            f"Training facts link the two already, by {names}: where one of these means much the same, the answer is easy."
        )
    return said


def strongest(found: Explanation) -> dict[str, Any] | None:
    """The reason to read first: a rule with its facts, else the fact that spoke loudest, else the heaviest path."""
    if isinstance(found.rules, RuleReasons) and found.rules.shown:
        best = found.rules.shown[0]
        facts = best.groundings[0].facts if best.groundings else []
        return {"tie": found.rules.tie, "facts": facts, "rule": best, "of": "rule"}
    if isinstance(found.influence, InfluenceReasons) and found.influence.proponents:
        facts = [found.influence.proponents[0].fact]
        return {"tie": found.influence.tie, "facts": facts, "rule": None, "of": "influence"}
    if isinstance(found.paths, PathReasons) and found.paths.shown:
        return {"tie": found.paths.tie, "facts": found.paths.shown[0].facts, "rule": None, "of": "path"}
    return None


def grouped(rules: list[RuleReason]) -> list[tuple[RuleReason, list[RuleReason]]]:
    """Each rule with those that say much the same."""
    heads = [rule for rule in rules if rule.like is None]
    return [(head, [rule for rule in rules if rule.like == head.id]) for head in heads]


def likeness(found: Explanation) -> list[dict[str, Any]]:
    """Of the entities nearest to each end, how many stand in this relation to the other end."""
    if not isinstance(found.neighbours, Neighbours):
        return []
    ends = (
        (found.head, found.tail, found.neighbours.head),
        (found.tail, found.head, found.neighbours.tail),
    )
    return [
        {"of": end, "other": other, "having": sum(one.has_relation for one in near), "all": len(near)}
        for end, other, near in ends
        if near
    ]


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
