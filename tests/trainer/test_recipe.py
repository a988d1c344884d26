"""The recipe: one dial, every field overridable, every mistake named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tenth.trainer import recipe
from tenth.trainer.errors import RecipeError


def test_depth_sets_the_rest() -> None:
    for depth in range(1, 25):
        model = recipe.recipe_from({"model": {"depth": depth}}).model
        assert model.width == 64 * depth
        assert model.heads * model.head_width == model.width
        assert model.kv_heads == model.heads
        assert model.mlp_width >= model.width * 8 / 3
        for context in (128, 256):
            given = recipe.recipe_from({"model": {"depth": depth, "context": context}})
            assert given.train.batch * context == 512 * depth


def test_every_field_may_be_given() -> None:
    given = recipe.recipe_from({"model": {"width": 96, "heads": 4, "head_width": 16, "kv_heads": 2, "mlp_width": 40}})
    assert (given.model.width, given.model.heads, given.model.kv_heads, given.model.mlp_width) == (96, 4, 2, 40)


def test_the_default_recipe_says_the_defaults() -> None:
    assert recipe.recipe_from(tomllib.loads(recipe.default_recipe())) == recipe.recipe_from({})
    uncommented = "\n".join(line.removeprefix("# ") if " = " in line else line
                            for line in recipe.default_recipe().splitlines())  # fmt: skip
    assert recipe.recipe_from(tomllib.loads(uncommented)) == recipe.recipe_from({})


def test_the_demo_s_recipe_is_a_recipe() -> None:
    assert recipe.load_recipe(Path(recipe.__file__).parent / "recipes" / "demo.toml").model.depth == 3


@pytest.mark.parametrize(
    ("text", "found", "do"),
    [
        ("[model]\ndpeth = 3", "model.dpeth", "model.depth"),
        ("[modle]\ndepth = 3", "modle", "model"),
        ("[model]\ndepth = '3'", "model.depth = '3'", "int"),
        ("[model]\ndepth = true", "model.depth = True", "int"),
        ("[model]\ndepth = 0", "model.depth = 0", "layer"),
        ("model = 3", "model = 3", "table"),
        ("[model]\nheads = 3\nkv_heads = 2", "kv_heads", "divisor"),
        ("[model]\nhead_width = 7", "head_width = 7", "even"),
        ("[data]\nheld_out = 1.5", "held_out = 1.5", "share"),
        ("[data]\nvocabulary = 100", "vocabulary = 100", "257"),
        ("[optim]\nmatrices = 'sgd'", "sgd", "muon"),
        ("[optim]\nmatrix_lr = nan", "nan", "above 0"),
        ("[schedule]\nwarmup = 0.6", "1.2", "sum"),
        ("[schedule]\ndecay_steps = -1", "decay_steps = -1", "0 or more"),
        ("[train]\nprecision = 'fp4'", "fp4", "bfloat16"),
        ("[train]\nbatch = -1", "batch = -1", "above 0"),
        ("[train", "", "TOML"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, text: str, found: str, do: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        recipe.load_recipe(path)
    assert found in caught.value.found
    assert do in caught.value.do
