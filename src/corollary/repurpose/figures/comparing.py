"""Whether a model is better than the best single baseline: one honest sentence with its interval."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from corollary.repurpose.figures.judging import MAIN, Judged, difference
from corollary.repurpose.figures.resampling import Estimate

Verdict = Literal["better", "undecided", "worse"]


class Comparison(BaseModel):
    """A model beside the baseline that does best on the very pairs it is judged by: the harder choice."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    model: str
    baseline: str
    figure: str
    value: float
    baseline_value: float
    difference: Estimate
    """Of the two, over the same draws of rows."""
    verdict: Verdict
    """Better or worse where the whole interval is on that side of 0."""

    @property
    def sentence(self) -> str:
        """Such as: `The classifier beats the best single baseline, similar columns, in MRR: 0.310 against 0.262, ...`."""
        said = {
            "better": "beats",
            "worse": "is behind",
            "undecided": "is not shown to beat",
        }[self.verdict]
        gap, name = self.difference, "MRR" if self.figure == "mrr" else self.figure.replace("_", " ")
        bounds = (
            ""
            if gap.low is None or gap.high is None
            else f" (95 % interval {gap.low:+.3f} to {gap.high:+.3f})"
        )
        text = (
            f"The {self.model} {said} the best single baseline, {self.baseline}, in {name}: {self.value:.3f} "
            f"against {self.baseline_value:.3f}, a difference of {gap.value:+.3f}{bounds}."
        )
        return text.replace("-", "−")


def compare(judged: Mapping[str, Judged], model: str, baselines: list[str], figure: str = MAIN) -> Comparison:
    """A model against the best of some baselines; of equal ones the first."""
    values = {name: judged[name].judgement.figures[figure].value for name in (model, *baselines)}
    best = max(baselines, key=lambda name: values[name])
    gap = difference(judged[model], judged[best], figure)
    return Comparison(
        model=model,
        baseline=best,
        figure=figure,
        value=values[model],
        baseline_value=values[best],
        difference=gap,
        verdict=_verdict(gap),
    )


def _verdict(gap: Estimate) -> Verdict:
    if gap.low is not None and gap.low > 0:
        return "better"
    if gap.high is not None and gap.high < 0:
        return "worse"
    return "undecided"
