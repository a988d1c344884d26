"""Writes data/preferences.jsonl: prompts, each with a chosen and a rejected answer, in TRL's own columns."""

import json
from pathlib import Path


def rows(count: int = 200) -> list[dict[str, str]]:
    pairs = [(7 * n % 10, 3 * n % 9) for n in range(count)]
    return [{"prompt": f"{a}+{b}=", "chosen": f"{a + b}", "rejected": f"{a + b + 1}"} for a, b in pairs]


if __name__ == "__main__":
    Path("data").mkdir(exist_ok=True)
    Path("data/preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
