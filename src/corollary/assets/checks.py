"""What has to hold before the next asset is made, and what a reader should know of the last one."""

import dagster as dg
import pandas

from corollary.assets.pipeline import (
    embeddings_path,
    hgt_embeddings,
    links_to_hidden,
    repurposing_predictions,
    splits,
)
from corollary.assets.resources import Repurposing
from corollary.runs.validating import validate_embeddings

SLOPE = (0.8, 1.25)
"""Of the calibration, and of expected over observed answers, between which probabilities hold."""


@dg.asset_check(asset=splits, blocking=True)
def no_pair_is_hidden_twice(splits: pandas.DataFrame) -> dg.AssetCheckResult:
    """Within rows and random every pair is in one fold: what one fold asks, no other has used up."""
    own = splits[splits["scheme"].isin(["rows", "random"])]
    twice = int(own.duplicated(["scheme", "row", "column"]).sum())
    return dg.AssetCheckResult(passed=twice == 0, metadata={"pairs hidden twice": twice})


@dg.asset_check(asset=hgt_embeddings, blocking=True)
def embeddings_are_healthy(repurposing: Repurposing) -> dg.AssetCheckResult:
    """`corollary validate-embeddings`: no broken, untrained or collapsed vectors. Warnings pass, and are shown."""
    found = validate_embeddings(embeddings_path(repurposing), graph=repurposing.opened())
    return dg.AssetCheckResult(
        passed=found.verdict != "failed",
        metadata={
            "verdict": found.verdict,
            "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in found.reasons) or "none"),
            "effective rank": found.effective_rank,
            "rows": found.rows,
            "dimensions": found.dimensions,
        },
    )


@dg.asset_check(asset=hgt_embeddings, blocking=True)
def nothing_leaked(repurposing: Repurposing) -> dg.AssetCheckResult:
    """The leak audit: the training graph links no pair that learners may not see, and no message ran over one that a step
    asked for."""
    stages = repurposing.stages()
    hidden = stages.answering.parts(stages.final)[0].hidden
    (run,) = stages.learned.runs(hidden)[:1]
    audit = run.folder.read_json("audit.json")
    links = links_to_hidden(stages, stages.final)
    return dg.AssetCheckResult(
        passed=links == 0 and audit["leaked_pairs"] == 0,
        metadata={"linking triples": links, "leaked pairs in audited steps": audit["leaked_pairs"]},
    )


@dg.asset_check(asset=repurposing_predictions)
def lists_beat_counting(repurposing: Repurposing) -> dg.AssetCheckResult:
    """Whether the classifier's MRR is above the best untrained score's by the whole interval, in every scheme."""
    stages = repurposing.stages()
    found = [stages.judge(scheme).comparison for scheme in stages.config.splitting.schemes]
    return dg.AssetCheckResult(
        passed=all(one.verdict == "better" for one in found),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"in {one.figure}": one.sentence for one in found},
    )


@dg.asset_check(asset=repurposing_predictions)
def probabilities_hold(repurposing: Repurposing) -> dg.AssetCheckResult:
    """Skill over the constant, a slope near 1, and as many answers among the first pairs as promised."""
    stages = repurposing.stages()
    found = stages.judge(stages.config.splitting.schemes[0]).scores["classifier"].calibration
    assert found is not None, "the classifier gives probabilities"
    low, high = SLOPE
    ratio = found.top_expected_over_observed
    return dg.AssetCheckResult(
        passed=all(
            (
                found.brier_skill is not None and found.brier_skill > 0,
                found.slope is not None and low <= found.slope <= high,
                ratio is not None and low <= ratio <= high,
            )
        ),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "Brier skill": dg.MetadataValue.text(str(found.brier_skill)),
            "slope": dg.MetadataValue.text(str(found.slope)),
            f"expected over observed, first {found.top:,}": dg.MetadataValue.text(str(ratio)),
        },
    )


CHECKS = [
    no_pair_is_hidden_twice,
    embeddings_are_healthy,
    nothing_leaked,
    lists_beat_counting,
    probabilities_hold,
]
