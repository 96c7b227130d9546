"""Slow, obvious twin of `corollary.kernels.drawing`: counts everything again for every group."""

from collections import Counter

Triple = tuple[int, int, int]


def draw_groups(order: list[int], groups: list[list[Triple]], quotas: list[dict[int, int]]) -> list[int]:
    """The split that each group of triples goes to: 0 stays in train, s + 1 follows `quotas[s]`."""
    split_of = [0] * len(groups)
    for group in order:
        rest = [
            triple
            for g, members in enumerate(groups)
            if split_of[g] == 0 and g != group
            for triple in members
        ]
        entities = {entity for head, _, tail in rest for entity in (head, tail)}
        relations = {relation for _, relation, _ in rest}
        if any(h not in entities or t not in entities or r not in relations for h, r, t in groups[group]):
            continue
        gains = []
        for split, quota in enumerate(quotas):
            taken = Counter(
                r for g, members in enumerate(groups) if split_of[g] == split + 1 for _, r, _ in members
            )
            room = sum(quota.values()) - taken.total()
            after = taken + Counter(relation for _, relation, _ in groups[group])
            nearer = sum(abs(n - taken[r]) - abs(n - after[r]) for r, n in quota.items())
            gains.append(nearer if len(groups[group]) <= room else 0)
        if max(gains) > 0:
            split_of[group] = gains.index(max(gains)) + 1
    return split_of
