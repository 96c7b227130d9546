"""Rules, slowly and obviously: walks as lists of entities, pairs as sets, scores as sorted lists of confidences."""

from collections import defaultdict
from itertools import product


def edges_of(triples, num_relations):
    """Targets by (entity, directed relation)."""
    found = defaultdict(set)
    for head, relation, tail in triples:
        found[head, relation].add(tail)
        found[tail, relation + num_relations].add(head)
    return found


def walks(edges, start, body, *, distinct, barred=None):
    """Every walk from `start` along the body, as a tuple of entities."""
    found = [(start,)]
    for step in body:
        found = [
            (*walk, target)
            for walk in found
            for target in sorted(edges.get((walk[-1], step), ()))
            if not (distinct and (target in walk or target == barred))
        ]
    return found


def body_pairs(edges, rule, num_entities, *, distinct):
    """Pairs (X, Y) of a chain, or (X, constant) of a rule with a constant, for which the body holds."""
    found = set()
    for start in range(num_entities):
        if rule.is_chain:
            found |= {(start, walk[-1]) for walk in walks(edges, start, rule.body, distinct=distinct)}
            continue
        if distinct and start == rule.answer:
            continue
        for walk in walks(edges, start, rule.body, distinct=distinct):
            inner = walk[1:] if rule.end < 0 else walk[1:-1]
            if distinct and rule.answer in inner:
                continue
            if rule.end < 0 or walk[-1] == rule.end:
                found.add((start, rule.answer))
    return found


def counts(triples, rule, num_entities, num_relations, *, distinct, facts=None):
    """pairs, support, PCA pairs and facts of the head."""
    edges = edges_of(triples, num_relations)
    known = edges_of(triples if facts is None else facts, num_relations)
    pairs = body_pairs(edges, rule, num_entities, distinct=distinct)
    inverse = (rule.head + num_relations) % (2 * num_relations)
    subjects = [e for e in range(num_entities) if known.get((e, rule.head))]
    objects = [e for e in range(num_entities) if known.get((e, inverse))]
    by_answer = len(objects) > len(subjects)
    support = sum(y in known.get((x, rule.head), ()) for x, y in pairs)
    pca = sum((y in objects) if by_answer else (x in subjects) for x, y in pairs)
    if rule.is_chain:
        size = sum(len(known.get((e, rule.head), ())) for e in range(num_entities))
    else:
        size = len(known.get((rule.answer, inverse), ()))
    return len(pairs), support, pca, size


def answers(triples, rules, query, num_entities, num_relations, *, distinct):
    """Rows of the rules that give each answer of (entity, directed relation)."""
    entity, relation = query
    edges = edges_of(triples, num_relations)
    inverse = (relation + num_relations) % (2 * num_relations)
    found = defaultdict(list)
    for row, rule in enumerate(rules):
        pairs = body_pairs(edges, rule, num_entities, distinct=distinct)
        if rule.head == relation:
            for answer in sorted({y for x, y in pairs if x == entity}):
                found[answer].append(row)
        elif rule.head == inverse:
            for answer in sorted({x for x, y in pairs if y == entity}):
                found[answer].append(row)
    return found


def order_of(confidences, way, best):
    """What answers are sorted by: greater is better."""
    falling = sorted(confidences, reverse=True)
    if way == "max":
        return (falling[0],)
    if way == "maxplus":
        return tuple(falling)
    miss = 1.0
    for confidence in falling[:best]:
        miss *= 1 - confidence
    return (1 - miss,)


def chains_between(triples, fact, num_relations, longest, *, distinct):
    """Chains that lead from start to answer of a fact of a directed relation, without its own edge."""
    start, relation, answer = fact
    edges = edges_of(triples, num_relations)
    inverse = (relation + num_relations) % (2 * num_relations)
    edges[start, relation].discard(answer)
    edges[answer, inverse].discard(start)
    found = set()
    for length in range(1, longest + 1):
        for body in product(range(2 * num_relations), repeat=length):
            for walk in walks(edges, start, body, distinct=distinct):
                if walk[-1] == answer:
                    found.add(body)
    return found
