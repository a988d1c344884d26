#!/usr/bin/env python3
"""Write the numbers of the refused system calls into system_calls.toml, from the kernel's own headers.

    python tools/system_calls.py            # needs linux-libc-dev

Run it after a name was added to the table of src/tenth/quarantine/system_calls.toml. Both architectures have their
numbers from the same headers: x86_64's own file, and the generic one that aarch64 uses.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

TABLE = Path(__file__).resolve().parent.parent / "src" / "tenth" / "quarantine" / "system_calls.toml"
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
NUMBERED = "# --- numbers, written by tools/system_calls.py ---\n"


def numbers(header: Path) -> dict[str, int]:
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$", header.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in found}


def main() -> None:
    source = TABLE.read_text("utf-8").split(NUMBERED)[0]
    table = tomllib.loads(source)
    groups = (table["escape"], table["refused"], *table["without_walls"].values())
    wanted = [
        *table["judged"],
        *table["own_process_only"],
        *(name for group in groups for names in group.values() for name in names),
    ]
    blocks = []
    for machine, header in HEADERS.items():
        known = numbers(header)
        rows = [f"{name} = {known[name]}\n" for name in sorted(set(wanted)) if name in known]
        blocks.append(f"\n[numbers.{machine}]\n" + "".join(rows))
    TABLE.write_text(source + NUMBERED + "".join(blocks), "utf-8")


if __name__ == "__main__":
    main()
