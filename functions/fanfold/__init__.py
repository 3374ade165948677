"""Fanfold: fan a list of items out over the same workflow, fold the results back into one document."""

__version__ = "0.1.0"
