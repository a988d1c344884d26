"""The second stage of self-play: one step of policy gradient on puzzles that are solved some of the time."""

from __future__ import annotations

import random

import torch

from tenth.jail.wire import Jail

from .generate import generate
from .inference import Inference
from .loss import IGNORED, token_log_probs
from .preference import advantages, grpo_loss
from .selfplay_player import Player, rows


def policy_gradients(player: Player, jail: Jail, rng: random.Random) -> tuple[float, int]:
    """Leave the gradients of the Dr. GRPO loss at the parameters; the mean reward, and how many tokens were read.

    As many puzzles as fill a batch with `selfplay.attempts` completions each, written at temperature 1 by the model
    that learns, so the loss is on policy.
    """
    p, batch = player.recipe.selfplay, player.recipe.train.batch
    posed = player.memory.posed(rng, max(1, batch // p.attempts))
    tasks = [task for task in posed for _ in range(p.attempts)]
    prompts = player.begins([task.prompt for task in tasks])
    inference = Inference(player.model)
    generator = torch.Generator(device=inference.device).manual_seed(rng.getrandbits(48))
    separator = player.text.separator
    texts = generate(inference, prompts, p.tokens, 1.0, 0, generator, separator)
    completions = [player.text.decode(one) for one in texts]
    verdicts = player.game.judge(tasks, completions, jail)
    rewards = torch.tensor([one.score for one in verdicts])
    if guide := player.guide:
        written = [player.game.hindsight(*one).source for one in zip(tasks, completions, strict=True)]
        rewards[torch.tensor(guide(written)) == 0] = 0.0  # what people would call unsafe
    ended = [one if len(one) == p.tokens else [*one, separator] for one in texts]
    inputs, targets = rows(list(zip(prompts, ended, strict=True)), separator)
    inputs, targets = inputs.to(inference.device), targets.to(inference.device)
    player.wrote += sum(map(len, [*prompts, *texts]))
    log_probs = token_log_probs(player.model(inputs), player.model.lm_head.weight, targets)
    worth = advantages(rewards.view(-1, p.attempts)).flatten().to(inference.device)
    grpo_loss(log_probs, log_probs.detach(), worth, targets != IGNORED, p.tokens + 1).backward()  # type: ignore[no-untyped-call]
    return float(rewards.mean()), inputs.numel()
