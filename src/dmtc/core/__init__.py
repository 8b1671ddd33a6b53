"""Errors, types, the registry, randomness and files. Every room may import core; core imports no other room."""
