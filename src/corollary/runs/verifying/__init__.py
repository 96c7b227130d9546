"""Influence held against retraining: deletion, halves, planted errors, known edges."""
