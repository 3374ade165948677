"""Stands in for a transformation: says what would be written where."""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--input", required=True)
parser.add_argument("--output", required=True)
arguments = parser.parse_args()
print(f"{arguments.input} -> {arguments.output}")
