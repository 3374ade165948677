"""Runs on this machine: AWS embedded by moto, with the real handlers behind it. Needs the extra ``local``."""
