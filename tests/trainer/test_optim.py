"""Optimizers and schedule: AdamW is torch's, Muon's steps are orthogonal, the plateau stands between two ramps."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tenth.trainer import pieces
from tenth.trainer.muon import Muon, block_size, orthogonalise
from tenth.trainer.optim import AdamW, Rule
from tenth.trainer.recipe import OptimRecipe
from tenth.trainer.schedule import scale


def test_adamw_is_torch_s_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(4, 3, generator=generator), torch.randn(5, generator=generator)]
    theirs = [w.clone().requires_grad_() for w in ours]
    recipe = OptimRecipe(beta1=0.8, beta2=0.95, epsilon=1e-8)
    rule = AdamW(["a", "b"], ours, 0.01, recipe, decay=0.1)
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.8, 0.95), eps=1e-8, weight_decay=0.1, foreach=False)
    for _ in range(5):
        gradients = [torch.randn(w.shape, generator=generator) for w in ours]
        rule.update(ours, gradients, 1.0)
        for weight, gradient in zip(theirs, gradients, strict=True):
            weight.grad = gradient.clone()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other.detach())


def test_muon_makes_matrices_orthogonal() -> None:
    for rows, columns in ((16, 16), (16, 48), (48, 16)):
        x = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(1))
        values = torch.linalg.svdvals(orthogonalise(x, torch.float32))
        assert values.min() > 0.7
        assert values.max() < 1.3


def test_muon_s_blocks_are_orthogonal_each_by_itself() -> None:
    for rows, columns in ((48, 48), (48, 96), (96, 48)):
        x = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(1))
        found = orthogonalise(x, torch.float32, block=16)
        upright = found.mT if rows > columns else found
        values = torch.linalg.svdvals(upright.reshape(2, 3, 16, -1))
        assert values.min() > 0.7
        assert values.max() < 1.3
        # A step has the size that it has without blocks, so a learning rate means the same.
        assert 0.8 < float(found.norm() / orthogonalise(x, torch.float32).norm()) < 1.25
        assert torch.linalg.svdvals(found).max() > 1.3


def test_a_block_divides_its_matrix_or_is_the_whole() -> None:
    assert [block_size(rows, 128) for rows in (64, 128, 192, 320, 384, 131)] == [64, 128, 96, 80, 128, 131]
    assert block_size(384, 0) == 384


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_pieces_or_at_once_the_optimizers_do_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(elements: int) -> list[torch.Tensor]:
        monkeypatch.setattr(pieces, "ELEMENTS", elements)
        generator = torch.Generator().manual_seed(3)
        weights = [torch.randn(160, 144, generator=generator) for _ in range(3)]
        names = list("abc")
        rules: list[Rule] = [Muon(names, weights, 0.02, 0.1, 128), AdamW(names, weights, 0.01, OptimRecipe(), 0.1)]
        for _ in range(3):
            gradients = [torch.randn(w.shape, generator=generator).to(dtype) for w in weights]
            for rule in rules:
                rule.update(weights, gradients, 1.0, 0.5)
        return weights

    assert all(map(torch.equal, trained(1 << 20), trained(4096)))


def test_the_schedule_warms_up_stays_and_decays() -> None:
    values = [scale(step, 100, 0.1, 0.5, 0.1) for step in range(101)]
    assert 0 < values[0] < 0.2
    assert values[10:50] == [1.0] * 40
    assert all(a > b for a, b in pairwise(values[50:]))
    assert abs(values[100] - 0.1) < 1e-9
    assert scale(0, 1, 0.0, 0.0, 0.0) == 1.0
