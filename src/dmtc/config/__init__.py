"""From YAML files and what people type to one config; nothing here knows what the config names."""
