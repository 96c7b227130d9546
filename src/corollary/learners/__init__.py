"""Learners, one file each. `LEARNERS` names them for configuration files and commands."""

from corollary.learners.conve import ConvE, ConvEConfig

LEARNERS = {"conve": (ConvE, ConvEConfig)}
