"""What do people think of proposals? The Guide, made from the batches of grades that the recipe names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tenth.feedback.guide import Guide

from .errors import RecipeError
from .recipe import Recipe
from .selfplay_round import Score


def guided(recipe: Recipe, folder: Path) -> Score | None:
    """None where the recipe names no batch. `folder`: of the recipe in force, beside which `feedback` lies.

    Raises RecipeError for a batch that is not here, has another digest, or holds no grades.
    """
    rows: list[dict[str, str | int]] = []
    for name in recipe.feedback.batches:
        path = folder / "feedback" / f"{name}.jsonl"
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != name:
                raise ValueError("its bytes have another digest")
            rows += [json.loads(line) for line in data.splitlines()]
            graded = all({"proposal", "useful", "junk", "unsafe"} <= row.keys() for row in rows)
            if not graded:
                raise ValueError("its rows are no grades")
        except (OSError, ValueError, AttributeError) as error:
            do = "seal one with 'tenth feedback seal --view grades'"
            raise RecipeError("The recipe was refused.", f"feedback.batches: {path.name}: {error}", do) from error
    return Guide(rows).grade if rows else None
