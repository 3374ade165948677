"""Stands in for real work on a file: `process.py FILE` or `process.py --input FILE --output FOLDER`."""

import argparse
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?")
parser.add_argument("--input")
parser.add_argument("--output")
arguments = parser.parse_args()
source = Path(arguments.file or arguments.input)
if arguments.output:
    print(f"{source} would go to {Path(arguments.output) / source.name}")
else:
    print(f"{source}: {source.stat().st_size} bytes")
