"""What everything may use, and what uses nothing of ours: errors, types, the registry, randomness, files."""
