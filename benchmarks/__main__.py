"""Measure, and print the table."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import traceback
from pathlib import Path

from benchmarks.many import thousand
from benchmarks.measures import MEASURES
from benchmarks.rows import Row, aimed, table


def main() -> int:
    """Run the measurements that were asked for. 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=MEASURES, action="append", help=", ".join(MEASURES))
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    parser.add_argument("--containers", type=int, default=1000, metavar="N", help="of the row `thousand`")
    parser.add_argument("--hold", type=float, default=600, metavar="SECONDS", help="how long it holds them")
    arguments = parser.parse_args()
    measures = MEASURES | {"thousand": lambda: thousand(arguments.containers, arguments.hold)}
    if os.geteuid() != 0:
        parser.error("containers need root: use `sudo make bench`")
    rows: list[Row] = []
    failed = 0
    for name in arguments.only or measures:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            rows += map(aimed, measures[name]())
        except Exception:  # what was measured before took an hour perhaps
            traceback.print_exc()
            failed = 1
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(
            json.dumps([dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows], indent=2)
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
