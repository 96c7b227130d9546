"""The trained models of a run of DRUM, and the rules that carry their scores."""

from collections.abc import Sequence

import torch

from corollary.graph.folder import Graph
from corollary.kernels.paths import LEVELS, Links
from corollary.learners.drum.data import drum_data
from corollary.learners.drum.extracting import grounded_rules
from corollary.learners.drum.learner import Drum
from corollary.messages import Say
from corollary.rules.counting import Counting, count
from corollary.rules.mining import Mining, chain_candidates
from corollary.rules.rule import Rules, joined
from corollary.runs.drum.asking import targets_of, with_queries
from corollary.runs.drum.groups import Groups
from corollary.runs.drum.options import DrumOptions
from corollary.runs.rules.kind import split_links, train_links
from corollary.runs.run import Run
from corollary.training import checkpoints


def fresh(graph: Graph, options: DrumOptions, *, device: torch.device | str = "cpu") -> Drum:
    """A learner with the first weights of its seed."""
    return Drum(
        options.model,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        seed=options.seed,
        device=device,
    )


def models_of(run: Run, options: DrumOptions) -> list[tuple[Drum, list[int]]]:
    """The models of a run in evaluation mode, each with the relations that it answers for."""
    if options.groups.target_batch_size is not None:
        return list(
            Groups(run.path).members(run.graph, lambda: fresh(run.graph, options, device=run.device)).values()
        )
    learner = fresh(run.graph, options, device=run.device)
    checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
    targets = targets_of(options, run.graph)
    covered = range(run.graph.num_relations) if targets is None else targets.tolist()
    return [(learner.eval(), list(covered))]


def extracted_rules(run: Run, options: DrumOptions, say: Say) -> Rules:
    """The rules that carry the scores of the model's own targets, counted on train, best confidence first."""
    graph, found = run.graph, []
    asked = targets_of(options, graph)
    data = drum_data(graph, options.model, seed=options.seed, targets=asked)
    every = with_queries(graph) if asked is None else asked
    for learner, relations in models_of(run, options):
        targets = [relation for relation in relations if relation in every]
        learner.walk_on(data)
        found.append(grounded_rules(learner, targets, options.extracting, seed=options.seed, say=say))
    rules = joined(found, graph.num_relations)
    say(f"{len(rules):,} rules of the model are counted")
    if options.extracting.candidates:
        rules = joined(
            [rules, _candidates(graph, options, every.tolist(), data.links, say)], graph.num_relations
        )
        rules = rules.once()
        say(f"{len(rules):,} with those that stand beside known facts")
    valid = split_links(graph, "valid") if graph.info.num_triples.get("valid", 0) else None
    counting = options.counting
    how = Counting(distinct=counting.distinct, most_edges=counting.most_edges, seed=options.seed)
    return count(rules, train_links(graph), heldout=valid, how=how).by(options.applying.confidence)


def _candidates(graph: Graph, options: DrumOptions, targets: Sequence[int], walked: Links, say: Say) -> Rules:
    """Chains beside known facts, over the edges that the model may use."""
    mining = Mining(
        longest=min(options.model.rule_length, LEVELS), min_support=1, chains_per_head=options.extracting.candidates,
        facts=options.extracting.facts,
    )  # fmt: skip
    how = Counting(distinct=options.counting.distinct, seed=options.seed)
    return chain_candidates(walked, train_links(graph), graph.num_relations, targets, mining, how, say)
