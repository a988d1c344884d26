"""Self-play: one lease from resume to checkpoint. Rounds make lessons, steps learn from them.

The environment is a Python module that the recipe names, with a class `SelfPlay` (tenth.environments); what the model
writes runs in the jail that the supervisor gives. Step s learns from worked examples alone while s is below
`selfplay.warm`; after that, every `selfplay.every` steps begin with a round, and a batch is drawn from the memory, with
a share of worked examples as an anchor. The last share `selfplay.policy` of the steps follows the policy gradient.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tenth.client import Run
from tenth.environments import Lesson, SelfPlay
from tenth.jail.wire import Jail, JailError

from .errors import RecipeError, TrainerError
from .flops import flop_per_token
from .loop import update
from .recipe import Recipe, load_recipe
from .selfplay_guide import guided
from .selfplay_player import Player, save, taken_up
from .selfplay_policy import policy_gradients
from .selfplay_round import Round
from .shown import with_surprisal


def selfplay(run: Run, began: float, jail: Jail | None = None) -> bool:
    """Train one tenth, alone. `began`: the process's start (monotonic). Without `jail` it takes the supervisor's."""
    recipe = load_recipe(run.lease.recipe)
    game = load_game(recipe, run.lease.root)
    try:
        train(run, taken_up(run, recipe, game), jail or Jail.attached(), began)
    except JailError as error:
        raise TrainerError("The phase was not trained.", f"{error.refused}: {error.found}", error.do) from error
    return True


def load_game(recipe: Recipe, root: Path) -> SelfPlay:
    """The environment that the recipe names, from beside the charter or where Python finds it. Raises RecipeError."""
    name, place = recipe.selfplay.env, str(root / "environments")
    sys.path[:] = [place, *(one for one in sys.path if one != place)]  # before all else that has its name
    try:
        game: SelfPlay = importlib.import_module(name).SelfPlay()
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            "The recipe was refused.", f"selfplay.env = {name!r}: {error}",
            "name a module with a class SelfPlay, in the folder 'environments' of the run's root",
        ) from error  # fmt: skip
    return game


def train(run: Run, player: Player, jail: Jail, began: float) -> None:
    """From the first step of the tenth to its checkpoint."""
    total = player.recipe.selfplay.steps
    cost = flop_per_token(player.master.shape)
    first = True
    player.memory.counts = {}
    player.guide = guide = guided(player.recipe, run.lease.recipe.parent)
    if guide:
        player.memory.forget(lambda source: guide([source])[0] == 0)
    for position in run.steps(range(run.position, total), total=total):
        before = time.monotonic()
        step = (run.lease.epoch - 1) * total + position
        scale = player.scale(step)
        done = advance(player, jail, step, scale)
        if first:
            print(f"first step {time.monotonic() - began:.2f} s after the process began", flush=True)
            first = False
        run.report(
            loss=done.loss, tokens=done.tokens, flop=cost * done.tokens + cost // 3 * done.wrote,
            grad_norm=done.norm, lr_scale=scale, tokens_per_second=done.tokens / (time.monotonic() - before),
            skipped=player.skipped, depth=player.memory.cap, **player.memory.counts,
        )  # fmt: skip
        if run.wants_samples:
            send_samples(player, run)
    run.checkpoint(save(player, run))


@dataclass(frozen=True)
class Step:
    """What one step did. `loss`: nats a token; of a step of policy gradient, what a mean reward of 1 has more."""

    loss: float
    norm: float
    tokens: int
    """Learned from."""
    wrote: int
    """Read and written before it, which costs a third as much each."""


def advance(player: Player, jail: Jail, step: int, scale: float) -> Step:
    """One step, with the round before it where one is due."""
    p, wrote = player.recipe.selfplay, player.wrote
    playing = step >= p.warm and p.proposer != "none"
    if playing and (step - p.warm) % p.every == 0:
        rng = player.random("round", step)
        write = player.writer(rng.getrandbits(48))
        Round(player.game, jail, p, player.memory, write, player.fits, rng, player.guide).play()
    rng = player.random("step", step)
    if playing and step >= player.steps * (1 - p.policy) and player.memory.puzzles:
        reward, tokens = policy_gradients(player, jail, rng)
        return Step(1 - reward, update(player, reward, scale), tokens, player.wrote - wrote)
    batch = player.packed(drawn(player, rng, playing))
    nats = player.backward(*batch)
    assert nats is not None, "a lesson without a completion"
    return Step(nats, update(player, nats, scale), batch[0].numel(), player.wrote - wrote)


def drawn(player: Player, rng: random.Random, playing: bool) -> Sequence[Lesson]:
    """A batch: replayed lessons, and worked examples as an anchor; those alone before there is anything to replay."""
    batch = player.recipe.train.batch
    if not playing or not player.memory.lessons:
        return player.game.worked(rng, batch)
    replayed = round(batch * (1 - player.recipe.selfplay.anchor))
    again = [player.game.varied(rng, one) for one in player.memory.replayed(rng, replayed)]
    return [*again, *player.game.worked(rng, batch - replayed)]


def send_samples(player: Player, run: Run) -> None:
    """Show the watchers a proposal, and two attempts at one puzzle, as the master weights write them now."""
    rng = player.random("samples", run.position)
    (finding,) = player.game.given(rng, 1)
    puzzle = player.game.puzzle(finding).prompt
    asked = [player.game.invitation(rng, player.memory.cap).prompt, puzzle, puzzle]  # two can be compared
    tokens = max(player.recipe.sample.tokens, player.recipe.selfplay.tokens)  # people judge whole programs
    sampling = replace(player.recipe.sample, tokens=tokens)
    prompts = [*run.prompts, *asked]
    told = with_surprisal(player.master, player.text, prompts, sampling, rng.getrandbits(48))
    for prompt, (one, bits) in zip(prompts, told, strict=True):
        run.sample(prompt, one, sampling.temperature, bits)
