"""Slow, obvious versions of what `graph.leakage` counts: every triple against every other."""

Triple = tuple[int, int, int]


def share(train: set[Triple], relation: int, other: int, *, reverse: bool) -> float:
    """Of the pairs that `relation` links in `train`, loops left out, the share that `other` links."""
    own = [(h, t) for h, r, t in train if r == relation and h != t]
    linked = [(h, t) for h, t in own if ((t, other, h) if reverse else (h, other, t)) in train]
    return len(linked) / len(own) if own else 0.0


def leakage(train: set[Triple], held: list[Triple], relations: int, threshold: float) -> dict[str, int]:
    """How many of `held` have a twin in `train`, by kind."""

    def mirrors(a: int, b: int, reverse: bool) -> bool:
        both = share(train, a, b, reverse=reverse), share(train, b, a, reverse=reverse)
        return min(both) >= threshold

    counts = dict.fromkeys(("same", "symmetric", "inverse", "duplicate", "any", "linked"), 0)
    for h, r, t in held:
        others = [s for s in range(relations) if s != r]
        found = {
            "same": (h, r, t) in train,
            "symmetric": h != t and (t, r, h) in train and mirrors(r, r, True),
            "inverse": h != t and any((t, s, h) in train and mirrors(r, s, True) for s in others),
            "duplicate": h != t and any((h, s, t) in train and mirrors(r, s, False) for s in others),
        }
        found["any"] = any(found.values())
        found["linked"] = any({h, t} == {a, b} for a, _, b in train)
        for kind, here in found.items():
            counts[kind] += here
    return counts
