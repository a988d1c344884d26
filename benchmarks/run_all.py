"""The benchmarks, one after the other, then the document: what ``make bench`` runs.

``--wait MINUTES`` waits so long for a quiet machine before each. Names may be given: ``run_all.py pull resume``. Those
that take longer than a few minutes (report.LONG) run only when they are named.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import report
from record import wait_for_quiet

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    short = [name for name in report.ORDER if name not in report.LONG]
    parser.add_argument("names", nargs="*", default=short, help="which ones (default: all but the long ones)")
    parser.add_argument("--wait", type=float, default=0, metavar="MINUTES", help="for a quiet machine, before each")
    chosen, failed = parser.parse_args(), []
    for name in chosen.names:
        if chosen.wait and not wait_for_quiet(chosen.wait):
            print(f"{name}: the machine does not come to rest; measured under load", flush=True)
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            failed.append(name)
    report.main()
    for name in failed:
        print(f"{name} could not be measured; its record, if there is one, is of an earlier run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
