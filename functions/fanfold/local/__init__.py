"""Runs on this machine: AWS embedded by moto, in process, with the real handlers behind it. Needs the extra ``local``."""
