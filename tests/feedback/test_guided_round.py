"""The Guide at work: what people call useful is solved more often; a batch that holds no grades is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tenth.encoding import digest
from tenth.environments import Finding, Proposal
from tenth.trainer.errors import RecipeError
from tenth.trainer.recipe import Recipe, recipe_from
from tenth.trainer.selfplay_guide import guided
from tenth.trainer.selfplay_round import Round


def batch(folder: Path, *rows: dict[str, Any]) -> Recipe:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    name = digest(data)
    (folder / "feedback").mkdir(exist_ok=True)
    (folder / "feedback" / f"{name}.jsonl").write_bytes(data)
    return recipe_from({"feedback": {"batches": [name]}})


def test_what_people_like_comes_first_more_often(tmp_path: Path) -> None:
    liked, junk = [f"sort(double(tail(x{n})))" for n in range(20)], [f"{n}" * 9 for n in range(20)]
    grades = [{"proposal": text, "useful": 1, "junk": 0, "unsafe": 0} for text in liked]
    grades += [{"proposal": text, "useful": 0, "junk": 1, "unsafe": 0} for text in junk]
    guide = guided(batch(tmp_path, *grades), tmp_path)
    assert guide is not None
    some: Any = None
    found = [Finding(Proposal(text, {}), {}, 1) for text in ["sort(head(y))", "12121212"]]
    one = Round(some, some, some, some, some, some, random.Random(1), guide)
    worth = guide([finding.proposal.source for finding in found])
    first = sum(one._by_worth(found, worth)[0] is found[0] for _ in range(200))
    wanted = 200 * worth[0] / sum(worth)
    assert worth[0] > 2 * worth[1]
    assert abs(first - wanted) < 30  # four deviations


def test_a_batch_that_cannot_guide_is_refused(tmp_path: Path) -> None:
    assert guided(recipe_from({}), tmp_path) is None
    with pytest.raises(RecipeError, match="no grades"):
        guided(batch(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"}), tmp_path)
    recipe = batch(tmp_path, {"proposal": "x", "useful": 1, "junk": 0, "unsafe": 0})
    (tmp_path / "feedback" / f"{recipe.feedback.batches[0]}.jsonl").write_text("{}")
    with pytest.raises(RecipeError, match="another digest"):
        guided(recipe, tmp_path)
    with pytest.raises(RecipeError, match="No such file"):
        guided(recipe, tmp_path / "elsewhere")
