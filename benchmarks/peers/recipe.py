"""Which recipe tenth trains with here: the one that ships for this benchmark, sizes changed only where a test asks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from tenth.trainer import presets
from tenth.trainer import recipe as recipes

SHIPPED = Path(__file__).resolve().parents[2] / "recipes" / "benchmark.toml"


def table(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The recipe as TOML would give it; `changes`: section -> key -> value."""
    found: dict[str, Any] = tomllib.loads(SHIPPED.read_text("utf-8"))
    for section, values in changes.items():
        found[section] = {**found.get(section, {}), **values}
    return found


def recipe(changes: Mapping[str, Mapping[str, Any]]) -> recipes.Recipe:
    return recipes.recipe_from(table(changes))


def write_recipe(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    path.write_text(tomli_w.dumps(table(changes)), "utf-8")


def from_preset(name: str, batch: int) -> dict[str, dict[str, Any]]:
    """Changes that make the recipe a preset of tenth's: `batch` sequences a step in one piece, compiled, bfloat16."""
    changes: dict[str, dict[str, Any]] = {}
    for key, value in presets.find(name).settings.items():
        section, _, field = key.partition(".")
        changes.setdefault(section, {})[field] = value
    train = {**changes.get("train", {}), "batch": batch, "accumulate": 1, "compile": True, "precision": "bfloat16"}
    return {**changes, "train": train}
