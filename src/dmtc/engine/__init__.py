"""What carries a plan out: the parts of a run, its networks, the one training loop, and what is kept of each phase."""
