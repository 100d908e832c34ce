"""A program that ends: prints a report over a data file and exits with the code that it is told.

``python report.py [CODE]``
"""

import csv
import sys
from pathlib import Path

import layout


def main():
    with Path(__file__).with_name("sales.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    print(layout.TITLE, sum(int(amount) for _, amount in rows), flush=True)
    return int(sys.argv[1]) if len(sys.argv) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
