"""The loss scaler of fp16: gradients are made larger by a power of two, so that small ones do not vanish in fp16.

A step whose gradient overflows is left out and the scale halved; after many good steps it is doubled again.
Source: Micikevicius et al. 2018, "Mixed Precision Training"; the constants are torch's.
"""

from pydantic import BaseModel

GROWTH_STEPS = 2000


class LossScale(BaseModel):
    """The scale, and how long it has held."""

    scale: float = 65536.0
    good: int = 0
    """Steps since the scale was last changed."""

    def note(self, *, finite: bool) -> None:
        """Take in whether the last gradient was finite."""
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale = max(self.scale / 2, 2.0**-14)
        elif self.good == GROWTH_STEPS:
            self.scale, self.good = self.scale * 2, 0
