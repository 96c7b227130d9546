"""Learners, one file each. `LEARNERS` names them for configuration files and commands."""

from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig

LEARNERS = {"conve": (ConvE, ConvEConfig)}
