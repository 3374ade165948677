"""Dag → Amazon States Language. Pure: plain data in, plain data out."""
