"""Writes data/sums.jsonl: short questions with their answers, one JSON object on each line."""

import json
from pathlib import Path


def rows(count: int = 200) -> list[dict[str, str]]:
    pairs = [(7 * n % 10, 3 * n % 9) for n in range(count)]
    return [{"prompt": f"{a}+{b}=", "completion": f"{a + b}"} for a, b in pairs]


if __name__ == "__main__":
    Path("data").mkdir(exist_ok=True)
    Path("data/sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
