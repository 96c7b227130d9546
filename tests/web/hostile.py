"""A small graph whose names try everything, and an explanation on it with every part filled in."""

from pathlib import Path

import numpy as np

from corollary.graph.folder import Graph, write_graph
from corollary.records.explanation import (
    Agreement,
    Binding,
    Calibrated,
    Ensembled,
    Estimate,
    Explanation,
    Fact,
    Hierarchy,
    InfluenceGroup,
    InfluenceReasons,
    InfluentialFact,
    Made,
    Missing,
    Name,
    Neighbour,
    Neighbours,
    PathReason,
    PathReasons,
    Rank,
    Rescored,
    RuleReason,
    RuleReasons,
    Status,
    Timing,
    Trust,
    wilson,
)
from corollary.records.rule_sheet import NamedFact, RulePair, RuleSheet, Which

SCRIPT = "<script>alert(1)</script>"
CLOSING = "</script></style></title><img src=x onerror=alert(1)>"
QUOTES = "\"quoted\" 'twice' & `thrice`"
BRACES = "{{ 7 * 7 }} {% raw %} ${x}"
ADDRESS = "javascript:alert(1)"
HEBREW = "שלום עולם"
OVERRIDE = "safe\u202egnp.exe"
EMOJI = "👩‍🔬🧪"
LINES = "two\nlines\tand a tab"
LONG = "long " * 1000
FORMULA = "=HYPERLINK(1)"
PLAIN = ["Ärztin", "arzt", "aspirin", "diabetes mellitus", "diabetes insipidus", "¯"]
LABELS = [SCRIPT, CLOSING, QUOTES, BRACES, ADDRESS, HEBREW, OVERRIDE, EMOJI, LINES, LONG, FORMULA, *PLAIN]
RELATIONS = ["treats", "<b>binds</b>", "is like"]


def hostile_graph(path: Path) -> Graph:
    """Every entity is linked to the next two; `diabetes mellitus` is the best known. Names differ from labels for some."""
    count, rows = len(LABELS), []
    for one in range(count):
        rows += [(one, one % 3, (one + 1) % count), (one, (one + 1) % 3, (one + 2) % count)]
    best = LABELS.index("diabetes mellitus")
    rows += [(one, 0, best) for one in range(count) if one != best]
    triples = np.unique(np.array(rows), axis=0)
    held = triples[::9]
    train = np.array([row for row in triples.tolist() if row not in held.tolist()])
    names = ["" for _ in LABELS]
    names[LABELS.index("aspirin")] = "acetylsalicylic acid"
    return write_graph(
        path,
        name="hostile <graph>",
        labels=LABELS,
        relations=RELATIONS,
        triples={"train": train, "valid": held[::2], "test": held[1::2]},
        names=names,
        types=["Drug" if number % 2 else "<i>Disease</i>" for number in range(count)],
    )


def explained(
    graph: Graph, head: str = SCRIPT, relation: str = "treats", tail: str = OVERRIDE, *, side: str = "tail"
) -> Explanation:
    """Made-up reasons that cite twelve facts between hostile names, every part there."""
    ids = [graph.entities.find(label) for label in LABELS]
    first, last = graph.entities.find(head), graph.entities.find(tail)
    between = [one for one in ids if one not in (first, last)][:5]

    def name(entity: int) -> Name:
        return Name(
            id=entity, label=graph.entities.label(entity), name=graph.entities.name(entity), degree=60
        )

    pairs = [(first, one) for one in between] + [(one, last) for one in between]
    pairs += [(between[0], between[1]), (last, between[1])]
    facts = [
        Fact(id=number, head=one, relation=number % 3, tail=other, split="train", source="edges <1>.tsv")
        for number, (one, other) in enumerate(pairs, start=1)
    ]
    worth = Calibrated(ranks="4-10", right=wilson(9, 60), probability=0.12, pooled=True)
    rule = RuleReason(
        id="two:1", sentence=f"if X {RELATIONS[1]} A and A is like Y, then X treats Y", formula="treats(X, Y) <- ...",
        weight=0.3, train=wilson(34, 41), held_out=wilson(5, 8), total_groundings=7,
        groundings=[Binding(facts=[1, 6], entities=[between[0]]), Binding(facts=[2, 7], entities=[between[1]])],
        like=None,
    )  # fmt: skip
    return Explanation(
        key="0" * 64,
        graph=graph.name,
        head=name(first),
        relation=Name(id=graph.relations.find(relation), label=relation, name=relation),
        tail=name(last),
        side=side,
        status=Status(split=None, other_relations=[Name(id=2, label="is like", name="is like")], candidates=15),
        ranks=[
            Rank(run="one", learner="conve", rank=2.5, score=1.25, calibrated=worth),
            Rank(run="two", learner="drum", rank=30.0, score=0.1, calibrated=None),
            Rank(run="<u>", learner="hgt", rank=None, score=None, calibrated=None, missing="asked for heads alone"),
        ],
        ensemble=Ensembled(method="reciprocal-rank", weights={"one": 0.6, "two": 0.4}, rank=4.0, calibrated=worth),
        trust=[
            Trust(
                run="one", test_facts=151, mrr=Estimate(value=0.21, low=0.17, high=0.25), hits_at_10=wilson(60, 151),
                baseline_mrr=0.14, top_ten_share=wilson(38, 100), warnings=["popular_answer"],
            ),
            Trust(
                run="two", test_facts=4, mrr=None, hits_at_10=wilson(0, 0), baseline_mrr=None,
                top_ten_share=wilson(0, 0), warnings=["too_few_to_judge"],
            ),
        ],
        facts=facts,
        entities={one: name(one) for one in {first, last, *between}},
        relations={number: Name(id=number, label=one, name=one) for number, one in enumerate(RELATIONS)},
        rules=RuleReasons(total=11, shown=[rule, rule.model_copy(update={"id": "two:2", "like": "two:1"})]),
        influence=InfluenceReasons(
            run="one", method="tracin, exact", checkpoints=["epoch-0005"], candidates=44, of=50, share_for=0.8,
            share_against=0.2,
            groups=[InfluenceGroup(pattern="treats, same head", count=3, sum=0.2, best=InfluentialFact(fact=3, value=0.1))],
            proponents=[InfluentialFact(fact=3, value=0.1)], opponents=[InfluentialFact(fact=12, value=-0.05)],
        ),
        paths=PathReasons(
            longest=3, total=4310, damping=0.4,
            shown=[
                PathReason(
                    facts=[1, 11, 7], entities=[first, between[0], between[1], last], weight=0.01,
                    pattern="a · b · c", above=wilson(187, 200),
                )
            ],
        ),
        hierarchy=Hierarchy(
            run="tree", above_head=[between[2]], above_tail=[between[3], between[2]], common=between[2], common_depth=4,
            common_size=310, siblings_with_relation=wilson(2, 9), distance=3.1,
        ),
        neighbours=Neighbours(
            run="one", head=[Neighbour(entity=between[0], similarity=0.9, has_relation=True)],
            tail=[Neighbour(entity=between[1], similarity=0.8, has_relation=False)],
        ),
        agreement=Agreement(in_two_or_more=2, facts=9, expected=0.3),
        what_if=[Rescored(removed=[1], run="two", rank_before=30.0, rank=44.0)],
        made=Made(
            version="0.1.0", runs={"one": {"learner": "conve", "checkpoint": "best", "config_sha256": "ab" * 32}},
            graph=graph.fingerprint, options={"side": side}, command=f"corollary explain one '{head}'",
        ),
        timing=Timing(seconds={"ranks": 0.1, "rules": 0.4}, peak_bytes=500 << 20),
    )  # fmt: skip


def bare(graph: Graph) -> Explanation:
    """The same where every part that can be missing is."""
    gone = Missing(missing="no run was given for it <b>")
    return explained(graph).model_copy(
        update={
            "ranks": [Rank(run="one", learner="conve", rank=1.0, score=2.0, calibrated=None)], "ensemble": gone,
            "trust": [], "facts": [], "rules": gone, "influence": gone, "paths": gone, "hierarchy": gone,
            "neighbours": gone, "agreement": gone, "what_if": gone,
        }
    )  # fmt: skip


def rule_sheet(graph: Graph, run: str, formula: str, which: Which, offset: int, limit: int) -> RuleSheet:
    """Every entity with the next, by a fact whose names try everything."""
    count = graph.num_entities
    relation = Name(id=1, label=RELATIONS[1], name=RELATIONS[1])
    pairs = []
    for one in range(count)[offset : offset + limit]:
        head, tail = (Name(id=e, label=LABELS[e], name=LABELS[e]) for e in (one, (one + 1) % count))
        way = [NamedFact(head=head, relation=relation, tail=tail)]
        pairs.append(RulePair(head=head, tail=tail, split="train" if one % 2 else None, ways=[way]))
    return RuleSheet(
        run=run, formula=formula, sentence=f"if {SCRIPT}", relation=relation, train=wilson(3, 9), pca=wilson(3, 5),
        head_coverage=0.5, held_out=wilson(1, 6), weight=None, which=which, offset=offset, pairs=pairs,
        more=offset + limit < count,
    )  # fmt: skip
