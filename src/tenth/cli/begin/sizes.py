"""The sizes of model that `init` offers: the table of presets, and a preset's recipe. Works without torch."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from tenth.cli.outcome import emit
from tenth.errors import WrongInput


def recipe_text(preset: str) -> str:
    """A commented recipe; "" is the trainer's default. Raises WrongInput for a preset that there is not."""
    from tenth.trainer import presets
    from tenth.trainer.errors import RecipeError

    try:
        return presets.recipe_text(preset)
    except RecipeError as error:
        raise WrongInput("nothing was written", error.found, error.do) from None


def show(*, as_json: bool) -> None:
    """Every preset, small ones first: as a table of at most 80 columns, or as JSON."""
    rows = _rows()
    if as_json:
        emit({"presets": rows})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("preset")
    for title in ("parameters", "depth", "width", "tokens/step", "memory"):
        table.add_column(title, justify="right")
    table.add_column("suits")
    for row in rows:
        numbers = [f"{row[key]:,}" for key in ("depth", "width", "tokens_per_step")]
        table.add_row(row["name"], _count(row["parameters"]), *numbers, _memory(row["memory_bytes"]), row["suits"])
    Console(width=80).print(table)


def _rows() -> list[dict[str, Any]]:
    from tenth.trainer import presets

    rows = []
    for preset in presets.PRESETS:
        recipe = presets.resolved(preset.name)
        rows.append({
            "name": preset.name, "parameters": presets.parameters(recipe), "depth": recipe.model.depth,
            "width": recipe.model.width, "tokens_per_step": recipe.train.batch * recipe.model.context,
            "memory_bytes": presets.memory_bytes(recipe), "suits": preset.suits,
        })  # fmt: skip
    return rows


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:,.1f} M" if parameters < 1e8 else f"{parameters / 1e6:,.0f} M"


def _memory(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size < 100 * 2**30 else f"{size / 2**30:.0f} GiB"
