"""All reasons for one prediction, from several runs."""
