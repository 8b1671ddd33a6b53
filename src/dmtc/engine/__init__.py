"""Runs a plan: a run's components and networks, the training loop, and the record of each phase."""
