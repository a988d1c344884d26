"""Optimizers behind one seam: float32 master weights, an optional bfloat16 working copy, groups of parameters.

`torch.optim` is not used: it imports the compiler's front end at the first step: two seconds in every lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .muon import Muon
from .pieces import pieces, scaled
from .recipe import OptimRecipe


class Named(Protocol):
    """What has parameters: a module, or a rank's rows of one."""

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]: ...


class Rule(Protocol):
    """How one group of tensors changes; `tensors` is its whole memory, in saved order.

    `gradients` may be bfloat16; they count `factor` times.
    """

    def update(self, weights: list[Tensor], gradients: list[Tensor], scale: float, factor: float = 1.0) -> None: ...

    def tensors(self) -> dict[str, Tensor]: ...


class AdamW:
    """Adam with decoupled weight decay (arXiv:1711.05101), all tensors of a group at once."""

    def __init__(
        self, names: Sequence[str], weights: Sequence[Tensor], lr: float, recipe: OptimRecipe, decay: float
    ) -> None:
        self._names, self._lr, self._decay = list(names), lr, decay
        self._beta1, self._beta2, self._epsilon = recipe.beta1, recipe.beta2, recipe.epsilon
        self._mean = [torch.zeros_like(w) for w in weights]
        self._square = [torch.zeros_like(w) for w in weights]
        self._steps = torch.zeros(1, dtype=torch.int64)

    def update(self, weights: list[Tensor], gradients: list[Tensor], scale: float, factor: float = 1.0) -> None:
        self._steps += 1
        steps = torch.full((), float(self._steps), device=weights[0].device)
        for weight, gradient, mean, square in pieces(weights, gradients, self._mean, self._square):
            torch._fused_adamw_(
                weight, scaled(gradient, factor), mean, square, [], [steps] * len(weight), lr=self._lr * scale,
                beta1=self._beta1, beta2=self._beta2, weight_decay=self._decay, eps=self._epsilon, amsgrad=False,
                maximize=False,
            )  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        named = {f"{n}.mean": t for n, t in zip(self._names, self._mean, strict=True)}
        named |= {f"{n}.square": t for n, t in zip(self._names, self._square, strict=True)}
        return named | {"steps": self._steps}


@dataclass
class Group:
    """Parameters that share a rule: `master` are float32, `working` take part in the forward pass (may be the same)."""

    name: str
    rule: Rule
    master: list[Tensor]
    working: list[Tensor]


class Optimizer:
    """Clips, applies each group's rule to the masters, and refreshes the working copy."""

    def __init__(self, groups: Sequence[Group], clip: float) -> None:
        self._groups = [group for group in groups if group.master]
        self._clip = clip

    def gradient_norm(self) -> float:
        """Global L2 norm of the working gradients."""
        gradients = [w.grad for group in self._groups for w in group.working if w.grad is not None]
        norms = [norm for (some,) in pieces(gradients) for norm in torch._foreach_norm([g.float() for g in some])]
        return float(torch.linalg.vector_norm(torch.stack(norms)))

    def step(self, scale: float, norm: float) -> None:
        """One step at `scale` times each group's learning rate; `norm` as `gradient_norm` gave it."""
        factor = self._clip / norm if 0 < self._clip < norm else 1.0
        with torch.no_grad():
            for group in self._groups:
                gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in group.working]
                group.rule.update(group.master, gradients, scale, factor)
                if group.working[0] is not group.master[0]:
                    torch._foreach_copy_(group.working, group.master)

    def clear(self) -> None:
        for group in self._groups:
            for weight in group.working:
                weight.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on besides the weights."""
        return {f"{g.name}/{key}": t for g in self._groups for key, t in g.rule.tensors().items()}

    def load(self, saved: Mapping[str, Tensor]) -> list[str]:
        """Copy saved memory in; returns the names that are missing, unknown or of another size."""
        own = self.tensors()
        wrong = sorted(set(own) ^ set(saved)) + [k for k in own.keys() & saved.keys() if own[k].shape != saved[k].shape]
        if not wrong:
            for key, tensor in own.items():
                tensor.copy_(saved[key])
        return wrong


def make_optimizer(master: Named, working: Named, recipe: OptimRecipe, muon: Callable[..., Rule] = Muon) -> Optimizer:
    """Groups by role: matrices of the blocks, embedding, head (unless tied), and the vectors of the norms."""
    live = dict(working.named_parameters())
    named = {name: parameter.detach() for name, parameter in master.named_parameters()}
    if master is working:
        named = dict(live)
    roles: dict[str, list[str]] = {"matrices": [], "embedding": [], "head": [], "vectors": []}
    for name, tensor in named.items():
        role = "vectors" if tensor.dim() < 2 else "embedding" if "embed_tokens" in name else "matrices"
        roles["head" if name == "lm_head.weight" else role].append(name)
    rates = {"embedding": recipe.embedding_lr, "head": recipe.head_lr, "vectors": recipe.vector_lr}
    if "lm_head.weight" not in named:  # tied: the embedding is the head, and moves at the head's rate
        rates["embedding"] = recipe.head_lr
    rates = {role: rate * recipe.scale for role, rate in {**rates, "matrices": recipe.matrix_lr}.items()}
    groups = []
    for role, names in roles.items():
        weights = [named[n] for n in names]
        rule: Rule
        if role == "matrices" and recipe.matrices == "muon":
            block = recipe.muon_block if weights[0].device.type == "cpu" else 0
            rule = muon(names, weights, rates[role], recipe.weight_decay, block)
        else:
            decay = recipe.weight_decay if role == "matrices" else 0.0
            rule = AdamW(names, weights, rates[role], recipe, decay)
        groups.append(Group(role, rule, weights, [live[n] for n in names]))
    return Optimizer(groups, recipe.clip)
