"""Which sizes of model are ready to be chosen: names, what they set in a recipe, and what they need. Needs no torch.

A preset is written out into a recipe, not named in it: what people sign says every number, and a later version of tenth
cannot change what it means.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import RecipeError
from .recipe import Recipe, default_recipe, recipe_from

Value = int | bool


@dataclass(frozen=True)
class Preset:
    """`settings` maps dotted keys of the recipe to values; all else follows `depth`."""

    name: str
    suits: str
    settings: Mapping[str, Value]


# 50,304 is GPT-2's vocabulary of 50,257 rounded up to a multiple of 128; like GPT-2, these share embedding and head.
_GPT2: Mapping[str, Value] = {
    "model.context": 1024, "model.tied": True, "data.vocabulary": 50_304, "train.batch": 512,
}  # fmt: skip
PRESETS = (
    Preset("nano", "any laptop", {"model.depth": 4, "model.width": 128, "data.vocabulary": 1024}),
    Preset("tiny", "any laptop", {"model.depth": 4}),
    Preset("mini", "4 cores", {"model.depth": 6}),
    Preset("small", "16 cores or a GPU", {"model.depth": 8, "model.context": 512, "data.vocabulary": 8192}),
    Preset("gpt2", "a GPU of 24 GiB", {"model.depth": 12, "train.accumulate": 64, **_GPT2}),
    Preset(
        "gpt2-medium", "a GPU of 24 GiB", {"model.depth": 24, "model.width": 1024, "train.accumulate": 128, **_GPT2}
    ),
    Preset("gpt2-large", "a GPU of 24 GiB", {"model.depth": 36, "model.width": 1280, "train.accumulate": 256, **_GPT2}),
    Preset("gpt2-xl", "a GPU of 48 GiB", {"model.depth": 48, "model.width": 1600, "train.accumulate": 256, **_GPT2}),
)


def find(name: str) -> Preset:
    """The preset of that name. Raises RecipeError, with the names there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    names = ", ".join(preset.name for preset in PRESETS)
    raise RecipeError("The preset was refused.", f"there is none called {name!r}", f"choose one of {names}")


def recipe_text(name: str = "") -> str:
    """A commented recipe with the numbers of a preset written into it; without a name the default recipe."""
    text = default_recipe()
    for key, value in find(name).settings.items() if name else ():
        text = _with(text, key, value)
    return text


def _with(text: str, key: str, value: Value) -> str:
    """`text` with one key set, in its place; its comment stays where it stood, if there is room."""
    section, _, name = key.partition(".")
    head, mark, rest = text.partition(f"[{section}]\n")
    written = f"{name} = {str(value).lower()}"
    rest, found = re.subn(
        rf"^(?:# )?{name} = \S+( *)(#.*)?$",
        lambda line: f"{written:<25} {line[2]}" if line[2] else written,
        rest, count=1, flags=re.MULTILINE,
    )  # fmt: skip
    assert found, f"the default recipe has no {key}"
    return head + mark + rest


def resolved(name: str) -> Recipe:
    """The recipe that the preset stands for."""
    return recipe_from(tomllib.loads(recipe_text(name)))


def parameters(recipe: Recipe, vocabulary: int | None = None) -> int:
    """Weights of the model, embedding and head included, for a tokenizer of `vocabulary` entries."""
    m = recipe.model
    inner, kv_inner = m.heads * m.head_width, m.kv_heads * m.head_width
    block = m.width * (2 * inner + 2 * kv_inner) + 3 * m.width * m.mlp_width + 2 * m.width + 2 * m.head_width
    tables = (vocabulary or recipe.data.vocabulary) * m.width * (1 if m.tied else 2)
    return m.depth * block + m.width + tables


def memory_bytes(recipe: Recipe) -> int:
    """About what training takes: weights, gradients, optimizer, and the activations of the tokens read at once.

    A weight: 4 bytes of master, 2 of working copy, 2 of gradient, and 4 (Muon) or 8 (AdamW) of the optimizer's. With
    float32 arithmetic, and for what the libraries take for themselves, there is more.
    """
    m = recipe.model
    tables = recipe.data.vocabulary * m.width * (1 if m.tied else 2)
    adam = parameters(recipe) if recipe.optim.matrices == "adamw" else tables
    weights = 12 * parameters(recipe) + 4 * adam
    at_once = -(-recipe.train.batch // recipe.train.accumulate)
    return weights + at_once * m.context * kept_bytes_per_token(recipe)


def kept_bytes_per_token(recipe: Recipe) -> int:
    """Activations that the backward pass needs, in bfloat16, with attention written out as on a processor."""
    m = recipe.model
    inner, kv_inner = m.heads * m.head_width, m.kv_heads * m.head_width
    scores = 2 * m.heads * m.context * 3 // 4
    block = 2 * (4 * m.width + 5 * inner + 2 * kv_inner + 4 * m.mlp_width) + scores
    return m.depth * block + 4 * m.width
