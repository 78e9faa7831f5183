"""Modern ML Pipeline: a table and two YAML files in, a model in production out."""

__version__ = "0.1.0"
