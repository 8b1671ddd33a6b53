"""Composes YAML files and command-line overrides into one config, without knowing the components it names."""
