"""Prints a report of the numbers, or of the whole document, that it is given."""

import argparse
import json

parser = argparse.ArgumentParser()
parser.add_argument("--validated")
parser.add_argument("--processed")
parser.add_argument("--failed")
parser.add_argument("--results")
arguments = parser.parse_args()
if arguments.results:
    for row in json.loads(arguments.results)["results"]:
        print(f"{row['parameters']['ENV']}/{row['parameters']['SUITE']}: {row['status']}")
else:
    print(f"validated {arguments.validated}, processed {arguments.processed}, failed {arguments.failed}")
