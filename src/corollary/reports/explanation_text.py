"""An explanation as plain text: the claim, how far to trust it, the strongest reason, then for and against alike.

Every sentence comes from a fixed pattern, so that each word can be derived from the record.
"""

from collections.abc import Iterator, Sequence

from corollary.records.explanation import (
    Calibrated,
    Explanation,
    InfluentialFact,
    Missing,
    Share,
    Trust,
)

TIES = {
    "computed": "the score is made of it",
    "measured": "scored again without it",
    "attributed": "estimated from gradients",
    "context": "true and near by; the model may not have used it",
}
WARNINGS = {
    "too_few_to_judge": "too few test facts to judge",
    "no_better_than_counting": "no better than counting how often the answer occurs",
    "popular_answer": "comes up for many queries of this relation: little news by itself",
}


def as_text(found: Explanation) -> str:
    """The whole, for a terminal."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Explanation) -> Iterator[str]:
    yield claim(found)
    yield ""
    yield from _trust(found)
    yield from _section(
        "STRONGEST REASON", strongest(found) or "none of the given runs has a rule that derives it"
    )
    yield from _for(found)
    yield from _against(found)
    yield from _paths(found)
    yield from _surroundings(found)
    yield from _again(found)
    yield from _facts(found)
    yield ""
    yield f"made with {found.made.version} by: {found.made.command}"


def claim(found: Explanation) -> str:
    """What is suggested, or known, and where it ranks."""
    triple = f"{found.head.name} -- {found.relation.name} --> {found.tail.name}"
    known = found.status.split
    status = "Not in the graph." if known is None else f"In the graph ({known})."
    opening = "The models suggest" if known is None else "The models on a fact"
    parts = [f"{opening}: {triple}", status]
    if not isinstance(found.ensemble, Missing):
        parts.append(
            f"Rank {number(found.ensemble.rank)} of {found.status.candidates:,} (all runs together)."
        )
        parts += _worth(found.ensemble.calibrated)
    elif (best := min((r.rank for r in found.ranks if r.rank is not None), default=None)) is not None:
        parts.append(f"Rank {number(best)} of {found.status.candidates:,}.")
    return " ".join(parts)


def strongest(found: Explanation) -> str | None:
    """The best rule with one way in which it holds."""
    if isinstance(found.rules, Missing) or not found.rules.shown:
        return None
    best = found.rules.shown[0]
    cited = best.groundings[0].facts if best.groundings else []
    holds = "; here: " + " and ".join(fact_text(found, n) for n in cited) if cited else ""
    return f"{best.sentence}. True in {share_text(best.train)} known cases{holds}."


def share_text(share: Share) -> str:
    """Such as `34 of 41 (69-91 %)`."""
    if share.low is None or share.high is None:
        return f"{share.k:,} of {share.n:,}"
    return f"{share.k:,} of {share.n:,} ({100 * share.low:.0f}-{100 * share.high:.0f} %)"


def number(value: float) -> str:
    """Ranks without a needless fraction."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def fact_text(found: Explanation, fact: int) -> str:
    """A fact by its number, in names."""
    one = found.facts[fact - 1]
    entities, relations = found.entities, found.relations
    return f"{entities[one.head].name} {relations[one.relation].name} {entities[one.tail].name} [{fact}]"


def _worth(calibrated: Calibrated | None) -> list[str]:
    if calibrated is None:
        return []
    share = calibrated.right
    if share.low is None or share.high is None:
        return []
    about = "of all relations" if calibrated.pooled else "of this relation"
    return [
        f"Of 100 ranked {calibrated.ranks} among held-out queries {about}, "
        f"about {100 * share.k / share.n:.0f} were right ({100 * share.low:.0f}-{100 * share.high:.0f})."
    ]


def _section(title: str, *lines: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in lines)


def _trust(found: Explanation) -> Iterator[str]:
    yield f"HOW FAR TO TRUST IT   relation {found.relation.name}, asked for its {found.side}"
    by_run = {one.run: one for one in found.trust}
    for one in found.ranks:
        place = f"no rank: {one.missing}" if one.rank is None else f"rank {number(one.rank)}"
        right = ""
        if one.calibrated is not None:
            right = f", of 100 like this {100 * one.calibrated.right.k / max(one.calibrated.right.n, 1):.0f} right"
        yield f"  {one.run} ({one.learner}): {place}{right}{_trusted(by_run.get(one.run))}"
    for trust in found.trust:
        for warning in trust.warnings:
            yield f"  ! {trust.run}: {WARNINGS[warning]}{_times(trust, warning)}"


def _trusted(trust: Trust | None) -> str:
    if trust is None or trust.mrr is None:
        return ""
    interval = (
        ""
        if trust.mrr.low is None or trust.mrr.high is None
        else f" ({trust.mrr.low:.2f}-{trust.mrr.high:.2f})"
    )
    base = "" if trust.baseline_mrr is None else f", counting alone {trust.baseline_mrr:.2f}"
    return f"; MRR {trust.mrr.value:.2f}{interval} on {trust.test_facts:,} test facts{base}"


def _times(trust: Trust, warning: str) -> str:
    return f" (top ten of {share_text(trust.top_ten_share)} queries)" if warning == "popular_answer" else ""


def _for(found: Explanation) -> Iterator[str]:
    yield ""
    yield "FOR"
    rules = found.rules
    if isinstance(rules, Missing):
        yield f"  Rules: {rules.missing}"
    else:
        yield f"  Rules, {len(rules.shown)} of {rules.total:,}   [{rules.tie}: {TIES[rules.tie]}]"
        for one in rules.shown:
            held = "" if one.held_out is None else f", held out {share_text(one.held_out)}"
            same = f", says much the same as {one.like}" if one.like else ""
            yield f"   - {one.sentence}: true in {share_text(one.train)}{held}{same}"
            for binding in one.groundings[:2]:
                yield f"       {' and '.join(fact_text(found, fact) for fact in binding.facts)}"
            if one.total_groundings > 2:
                yield f"       {one.total_groundings:,} such ways in all"
    influence = found.influence
    if isinstance(influence, Missing):
        yield f"  Influence: {influence.missing}"
        return
    yield (
        f"  Facts that spoke for it, {100 * influence.share_for:.0f} % of all influence among "
        f"{influence.candidates:,} candidates of {influence.of:,}   [{influence.tie}: {TIES[influence.tie]}]"
    )
    yield from _influential(found, influence.proponents)
    for group in influence.groups:
        yield f"   group {group.pattern}: {group.count} facts, sum {group.sum:+.4f}"


def _against(found: Explanation) -> Iterator[str]:
    yield ""
    yield "AGAINST"
    influence = found.influence
    if isinstance(influence, Missing):
        yield f"  Influence: {influence.missing}"
        return
    yield f"  Facts that spoke against it, {100 * influence.share_against:.0f} % of all influence"
    yield from _influential(found, influence.opponents)
    if not influence.opponents:
        yield f"   none among {influence.candidates:,} candidates"


def _influential(found: Explanation, facts: Sequence[InfluentialFact]) -> Iterator[str]:
    for one in facts:
        yield f"   {one.value:+.4f}  {fact_text(found, one.fact)}"


def _paths(found: Explanation) -> Iterator[str]:
    yield ""
    paths = found.paths
    if isinstance(paths, Missing):
        yield f"PATHS   {paths.missing}"
        return
    yield f"PATHS   {len(paths.shown)} of {paths.total:,}   [{paths.tie}: {TIES[paths.tie]}]"
    for one in paths.shown:
        names = " · ".join(found.entities[entity].name for entity in one.entities)
        above = (
            "" if one.above is None else f"; more connected than {one.above.k} of {one.above.n} like pairs"
        )
        yield f"  {names}   ({one.pattern}){above}"


def _surroundings(found: Explanation) -> Iterator[str]:
    tree, near = found.hierarchy, found.neighbours
    if isinstance(tree, Missing):
        yield from _section("WHERE BOTH STAND", tree.missing)
    else:
        chains = [
            " > ".join(found.entities[one].name for one in reversed(chain)) or "the top"
            for chain in (tree.above_head, tree.above_tail)
        ]
        common = (
            "no common ancestor" if tree.common is None else f"meet at {found.entities[tree.common].name}"
        )
        apart = "" if tree.distance is None else f", {tree.distance:.2f} apart"
        yield from _section("WHERE BOTH STAND", f"head: {chains[0]}", f"tail: {chains[1]}", common + apart)
    if isinstance(near, Missing):
        yield f"  neighbours: {near.missing}"
        return
    for name, some in (("head", near.head), ("tail", near.tail)):
        listed = ", ".join(
            f"{found.entities[one.entity].name} {one.similarity:.2f}{' (has it)' if one.has_relation else ''}"
            for one in some
        )
        yield f"  nearest to the {name}: {listed}"


def _again(found: Explanation) -> Iterator[str]:
    if isinstance(found.what_if, Missing):
        yield from _section("WHAT IF", found.what_if.missing)
    else:
        yield from _section(
            "WHAT IF   scored again without",
            *(
                f"fact{'s' if len(one.removed) > 1 else ''} {', '.join(map(str, one.removed))}: {one.run} "
                f"{number(one.rank_before)} -> {number(one.rank)}"
                for one in found.what_if
            ),
        )
    if isinstance(found.agreement, Missing):
        return
    agreed = found.agreement
    yield from _section(
        "DO THE REASONS AGREE?",
        f"{agreed.in_two_or_more} of {agreed.facts} facts stand in two or more parts (by chance {agreed.expected:.1f})",
    )


def _facts(found: Explanation) -> Iterator[str]:
    yield from _section(
        "ALL FACTS USED",
        *(f"{fact_text(found, fact.id)}{f'   {fact.split}' if fact.split else ''}" for fact in found.facts),
    )
