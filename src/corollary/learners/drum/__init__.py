"""DRUM: differentiable rules; its data, its groups of targets, its rules."""
