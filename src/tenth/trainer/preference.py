"""What preferences and rewards make of log-probabilities: the losses of DPO, KTO and GRPO, as pure functions.

Log-probabilities are natural logarithms. That of a completion is the sum over its tokens; the reference is the model
that the phase began with. tests/trainer/test_golden.py holds these losses to those of an independent implementation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dpo_losses(log_probs: Tensor, reference: Tensor, share: Tensor, beta: float) -> Tensor:
    """(P,): minus the log-likelihood of the votes on each pair (DPO, arXiv:2305.18290, equation 7).

    `log_probs` and `reference`: (P, 2), the chosen completion first; `share`: (P,), of the votes that chose it. A
    divided vote is a soft label: both orders are weighed by it, as with conservative DPO's label noise.
    """
    ratios = log_probs - reference
    margin = beta * (ratios[:, 0] - ratios[:, 1])
    return -share * F.logsigmoid(margin) - (1 - share) * F.logsigmoid(-margin)


def kto_losses(
    log_probs: Tensor, reference: Tensor, drift: Tensor, good: Tensor, beta: float, weights: tuple[float, float]
) -> Tensor:
    """(P,): what each completion lacks of its value to a person (KTO, arXiv:2402.01306, equation 8).

    `log_probs`, `reference`: (P,); `good`: (P,) of bool, a thumb up. `drift`: (P,), at least 0 and without gradient,
    how far the model has left the reference (its KL divergence). `weights`: of good and of bad completions.
    """
    margin = beta * (log_probs - reference - drift)
    return torch.where(good, weights[0] * torch.sigmoid(-margin), weights[1] * torch.sigmoid(margin))


def advantages(rewards: Tensor) -> Tensor:
    """(groups, k) rewards of k completions of one prompt, each less the group's mean.

    Not divided by the deviation: that would weigh prompts by how nearly all their completions are alike
    (Dr. GRPO, arXiv:2503.20783).
    """
    return rewards - rewards.mean(dim=-1, keepdim=True)


def grpo_loss(
    log_probs: Tensor, before: Tensor, advantages: Tensor, counted: Tensor, tokens: int, clip: float = 0.2
) -> Tensor:
    """A policy-gradient loss in the Dr. GRPO form (arXiv:2503.20783): no completion counts more for being short.

    `log_probs`: (N, T), of each token under the model that learns. `before`: the same without gradient, under the model
    that wrote them; on the first step after writing it is `log_probs.detach()`. `advantages`: (N,). `counted`: (N, T)
    of bool, the completions' own tokens. `tokens`: the most that a completion may have, by which all are divided alike.
    The ratio of the two models counts up to 1 ± `clip` only (PPO, arXiv:1707.06347).
    """
    ratio = (log_probs - before).masked_fill(~counted, 0.0).exp()
    value = advantages[:, None] * counted
    gain = torch.minimum(ratio * value, ratio.clamp(1 - clip, 1 + clip) * value)
    return -gain.sum() / (len(gain) * tokens)
