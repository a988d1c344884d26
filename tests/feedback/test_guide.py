"""The Guide of self-play: it learns from few grades what can be seen of a proposal, and needs nothing of tenth."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from tenth.feedback.guide import Guide, grade, left_out


def proposal(rng: random.Random, kind: str) -> str:
    names = ["reverse", "sort", "double", "head", "tail", "sum", "pairs", "zip", "drop", "count"]
    if kind == "junk":
        return f"f = lambda x: {rng.randrange(10_000)}{rng.randrange(10_000)}"
    body = "(".join(rng.sample(names, 3)) + "(x)))"
    return f"import os\nf = lambda x: os.system({body})" if kind == "unsafe" else f"f = lambda x: {body}"


def graded(rng: random.Random, many: int) -> list[dict[str, str | int]]:
    kinds = rng.choices(("useful", "junk", "unsafe"), (5, 3, 2), k=many)
    count = {kind: {name: int(name == kind) for name in ("useful", "junk", "unsafe")} for kind in set(kinds)}
    return [{"proposal": proposal(rng, kind), **count[kind]} for kind in kinds]


def test_forty_grades_order_the_rest(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = graded(rng, 40)
    path = tmp_path / "batch.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rest = graded(rng, 200)
    scores = grade([str(row["proposal"]) for row in rest], path)
    assert all(0 <= score <= 1 for score in scores)
    right = sum((score >= 0.5) == bool(row["useful"]) for score, row in zip(scores, rest, strict=True))
    assert right >= 180
    held, of = left_out(rows)
    assert of == 40
    assert held >= 34


def test_without_enough_grades_every_proposal_gets_the_same_score() -> None:
    few = Guide(graded(random.Random(1), 3)).grade(["f = 1", "import os", "g(h(x))"])
    assert len(set(few)) == 1
    assert Guide([]).grade(["anything"]) == [0.25]
    only = Guide([{"proposal": f"f{n}(x)", "useful": 1, "junk": 0, "unsafe": 0} for n in range(20)]).grade(["y", "z"])
    assert only[0] == only[1] > 0.9


def test_what_people_call_unsafe_is_worth_nothing() -> None:
    rng = random.Random(3)
    guide, rest = Guide(graded(rng, 40)), graded(rng, 200)
    scores = guide.grade([str(row["proposal"]) for row in rest])
    unsafe = [score for score, row in zip(scores, rest, strict=True) if row["unsafe"]]
    others = [score for score, row in zip(scores, rest, strict=True) if not row["unsafe"]]
    assert len(unsafe) > 20
    assert unsafe.count(0.0) > 0.9 * len(unsafe), "nobody graded these"
    assert others.count(0.0) < 0.1 * len(others)
    two = [
        {"proposal": "a(x)", "useful": 0, "junk": 0, "unsafe": 1},
        {"proposal": "b", "useful": 1, "junk": 0, "unsafe": 0},
    ]
    bad, good = Guide(two).grade(["a(x)", "a(y)"])
    assert bad == 0 < good, "from so few nothing follows for others"


def test_it_needs_nothing_of_the_core() -> None:
    script = "import sys, tenth.feedback.guide; print(*[name for name in sys.modules if name.startswith('tenth.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) == {"tenth.feedback", "tenth.feedback.guide"}
