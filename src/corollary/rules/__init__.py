"""Rules: what they are, how they are found, counted, applied, and exchanged with other programs."""
