"""Presets: each is a whole, valid recipe, and the numbers of the table are those of the model it makes."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
import torch

from tenth.trainer import presets, recipe
from tenth.trainer.errors import RecipeError
from tenth.trainer.model import Transformer

NAMES = [preset.name for preset in presets.PRESETS]
SIZES = {"nano": 1e6, "gpt2": 124e6, "gpt2-medium": 355e6, "gpt2-large": 774e6, "gpt2-xl": 1558e6}
"""What the names promise: a million, and the sizes of GPT-2 (Radford et al. 2019, as its checkpoints have them)."""


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_the_parameters_that_it_states(name: str) -> None:
    chosen = presets.resolved(name)
    with torch.device("meta"):
        model = Transformer(recipe.shape(chosen, chosen.data.vocabulary))
    assert presets.parameters(chosen) == sum(parameter.numel() for parameter in model.parameters())
    if name in SIZES:
        assert presets.parameters(chosen) == pytest.approx(SIZES[name], rel=0.15 if name == "nano" else 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_s_recipe_says_what_it_sets_and_can_be_changed(name: str) -> None:
    text = presets.recipe_text(name)
    table = tomllib.loads(text)
    for key, value in presets.find(name).settings.items():
        section, _, field = key.partition(".")
        assert table[section][field] == value
    assert max(map(len, text.splitlines())) <= 120
    table["train"]["batch"] = 8 * presets.resolved(name).train.batch
    table["optim"]["clip"] = 0.5
    changed = recipe.recipe_from(table)
    assert (changed.train.batch, changed.optim.clip) == (table["train"]["batch"], 0.5)
    assert changed.model == presets.resolved(name).model


@pytest.mark.parametrize("preset", [preset for preset in presets.PRESETS if "GiB" in preset.suits])
def test_a_preset_fits_the_device_that_it_names(preset: presets.Preset) -> None:
    room = int(preset.suits.split()[-2]) * 2**30
    assert presets.memory_bytes(presets.resolved(preset.name)) < 0.8 * room


def test_presets_grow() -> None:
    chosen = [presets.resolved(name) for name in NAMES]
    for measure in (presets.parameters, presets.memory_bytes):
        assert sorted(chosen, key=measure) == chosen


def test_no_name_is_the_default_and_a_wrong_name_is_an_error() -> None:
    assert presets.recipe_text() == recipe.default_recipe()
    with pytest.raises(RecipeError) as caught:
        presets.recipe_text("gtp2")
    assert "gtp2" in caught.value.found
    assert "gpt2-xl" in caught.value.do


@pytest.mark.parametrize(
    "model",
    [
        {"depth": 2, "width": 128, "context": 128},
        {"depth": 3, "width": 256, "context": 64},
        {"depth": 2, "width": 512, "context": 256, "kv_heads": 1},
    ],
)
def test_the_activations_are_counted(model: dict[str, int]) -> None:
    chosen = recipe.recipe_from({"model": model})
    made = Transformer(recipe.shape(chosen, 300)).to(torch.bfloat16)
    weights = {parameter.untyped_storage().data_ptr() for parameter in made.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.zeros(2, chosen.model.context, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made(tokens)
    found = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    assert presets.kept_bytes_per_token(chosen) == pytest.approx(found / tokens.numel(), rel=0.1)


def test_presets_need_no_torch() -> None:
    code = "import sys; from tenth.trainer import presets; presets.resolved('nano'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
