"""Writes data/prompts.jsonl: prompts alone; the reward of an answer is a function in train.py."""

import json
from pathlib import Path


def rows(count: int = 100) -> list[dict[str, str]]:
    return [{"prompt": f"{7 * n % 10}{3 * n % 9}:"} for n in range(count)]


if __name__ == "__main__":
    Path("data").mkdir(exist_ok=True)
    Path("data/prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
