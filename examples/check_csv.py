"""Says 'CSV text' for a file whose lines all have the same number of commas."""

import sys

with open(sys.argv[1], encoding="utf-8") as file:
    commas = {line.count(",") for line in file if line.strip()}
print("CSV text" if len(commas) == 1 and commas != {0} else "data")
