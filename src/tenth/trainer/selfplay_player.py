"""The model that plays itself: begun from an earlier phase, from a model that was brought or from nothing, and saved.

It has no corpus: what it learns from, it makes. Its tokenizer is the one it came with; from nothing, one is trained on
worked examples.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tenth.client import Run
from tenth.environments import Lesson, SelfPlay

from . import checkpoint, interchange, schedule, selfplay_memory, session, tokenizer
from .backward import Backward
from .generate import generate
from .inference import Inference
from .loss import IGNORED
from .model import Transformer
from .optim import Optimizer, make_optimizer
from .parallel import Parallel
from .precision import choose_device, choose_precision, set_threads
from .recipe import Recipe, as_dict, shape
from .selfplay_memory import Memory
from .selfplay_round import Score
from .sharded import Shards
from .tokenizer import Text

AT_ONCE = 128
"""Rows that are written together."""
PACKED = 128
"""Tokens of a row that holds several lessons, unless one is longer."""
EXAMPLES = 2_000
"""That a tokenizer of one's own is trained on."""
STATE = "selfplay"


@dataclass
class Player:
    """All that lives during a lease. `master` holds float32 weights; `model` is what runs, maybe a bfloat16 copy."""

    recipe: Recipe
    game: SelfPlay
    memory: Memory
    text: Text
    master: Transformer
    model: Transformer
    optimizer: Optimizer
    backward: Backward
    parallel: Parallel
    steps: int  # of the whole phase
    seed: int
    precision: str
    start: str  # name of the checkpoint that the phase began from, "" if from none
    nonfinite: int = 0
    skipped: int = 0
    shards: Shards | None = None
    guide: Score | None = None  # what people think of proposals, if they graded any
    wrote: int = 0  # tokens of prompts and of what was written after them, in this lease

    def random(self, what: str, step: int) -> random.Random:
        """Random numbers of one step: the same whoever was interrupted in between."""
        return random.Random(f"{self.seed} {what} {step}")

    def scale(self, step: int) -> float:
        """Of the learning rates."""
        s = self.recipe.schedule
        return schedule.scale(step, self.steps, s.warmup, s.decay, s.floor, s.warmup_steps, s.decay_steps)

    def encoded(self, lesson: Lesson) -> tuple[list[int], list[int]]:
        """Prompt, with the separator before it, and completion, with the separator after it."""
        prompt, completion = self.text.encode([lesson.prompt, lesson.completion])
        return [self.text.separator, *prompt], [*completion, self.text.separator]

    def fits(self, lesson: Lesson) -> bool:
        prompt, completion = self.encoded(lesson)
        tokens = self.recipe.selfplay.tokens
        return len(completion) <= tokens and len(prompt) + tokens <= self.master.shape.context

    def writer(self, seed: int) -> Callable[[Sequence[str]], list[str]]:
        """Writes after prompts, with the weights as they are now."""
        inference, p = Inference(self.model), self.recipe.selfplay
        generator = torch.Generator(device=inference.device).manual_seed(seed)

        def write(prompts: Sequence[str]) -> list[str]:
            texts = written(inference, self.text, prompts, p.tokens, p.temperature, generator)
            self.wrote += sum(map(len, self.text.encode([*prompts, *texts])))
            return texts

        return write

    def begins(self, prompts: Sequence[str]) -> list[list[int]]:
        """Prompts as rows of tokens, the separator before each."""
        return [[self.text.separator, *row] for row in self.text.encode(list(prompts))]

    def packed(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and where each token's lesson begins, all (B, T): several a row, none seeing another.

        Only completions carry loss. The longest come first, each into the first row that has room for it.
        """
        pairs = sorted(map(self.encoded, lessons), key=lambda pair: -len(pair[0] + pair[1]))
        room = max(PACKED, len(pairs[0][0] + pairs[0][1]))
        shelves: list[list[tuple[list[int], list[int]]]] = []
        for pair in pairs:
            held = (one for one in shelves if sum(len(a + b) for a, b in [*one, pair]) <= room)
            found = next(held, None)
            shelves.append([pair]) if found is None else found.append(pair)
        made = [_row(shelf, room, self.text.separator) for shelf in shelves]
        ids, targets, starts = (torch.tensor(column) for column in zip(*made, strict=True))
        return ids[:, :-1], targets[:, 1:], starts[:, :-1]


def _row(pairs: Sequence[tuple[list[int], list[int]]], size: int, filler: int) -> tuple[list[int], ...]:
    """Ids, targets and starts of one row."""
    ids: list[int] = []
    targets: list[int] = []
    starts: list[int] = []
    for prompt, completion in pairs:
        starts += [len(ids)] * len(prompt + completion)
        targets += [IGNORED] * len(prompt) + completion
        ids += prompt + completion
    left = size - len(ids)
    return ids + [filler] * left, targets + [IGNORED] * left, starts + [len(ids)] * left


def rows(pairs: Sequence[tuple[list[int], list[int]]], filler: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, both (B, T), one pair of prompt and completion a row."""
    longest = max(len(prompt) + len(completion) for prompt, completion in pairs)
    made = [_row([pair], longest, filler) for pair in pairs]
    ids, targets = (torch.tensor([one[column] for one in made]) for column in (0, 1))
    return ids[:, :-1], targets[:, 1:]


def written(
    inference: Inference, text: Text, prompts: Sequence[str], tokens: int, temperature: float,
    generator: torch.Generator,
) -> list[str]:  # fmt: skip
    """What is written after each prompt, up to the separator: prompts of like length together."""
    ids = [[text.separator, *row] for row in text.encode(list(prompts))]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    found = [""] * len(ids)
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        new = generate(inference, [ids[row] for row in some], tokens, temperature, 0, generator, text.separator)
        for row, tokens_written in zip(some, new, strict=True):
            found[row] = text.decode(tokens_written)
    return found


# --- begun, taken up, saved -------------------------------------------------------------------------------------------


def begin(recipe: Recipe, game: SelfPlay, seed: int, epochs: int, root: Path, before: Path | None = None) -> Player:
    """At a phase's first step: the weights and the tokenizer of `before`, or of `model.init`, or fresh ones."""
    brought = root / recipe.model.init if recipe.model.init and not before else None
    if folder := before or brought:
        source = interchange.read(folder)
        text = tokenizer.from_file(folder / "tokenizer.json")
        master = Transformer(shape(recipe, source.shape.vocabulary))
        interchange.begin(master, source, folder / "tokenizer.json", recipe.model.init_sha256 if brought else "")
    else:
        text = _trained(recipe, game)
        master = Transformer(shape(recipe, text.vocabulary))
        master.initialise(torch.Generator().manual_seed(seed))
    memory = Memory(min(recipe.selfplay.depth, game.deepest))
    player = _made(recipe, game, memory, text, master, seed, epochs, None)
    player.start = before.name if before else ""
    return player


def taken_up(run: Run, recipe: Recipe, game: SelfPlay) -> Player:
    """As the last lease left it; at a phase's first lease it is begun."""
    folder = run.resume_from
    state = checkpoint.load(folder, optimizer=False).state if folder else {}
    if folder is None or state.get("phase") != run.lease.phase or STATE not in state:
        return begin(recipe, game, run.lease.seed, run.lease.epochs, run.lease.root, folder)
    found = checkpoint.load(folder)
    text, memory = tokenizer.from_file(folder / "tokenizer.json"), selfplay_memory.load(folder)
    master = Transformer(found.shape)
    checkpoint.load_weights(master, found)
    player = _made(recipe, game, memory, text, master, int(state["seed"]), run.lease.epochs, found)
    player.start = str(state[STATE]["start"])
    return player


def _made(
    recipe: Recipe, game: SelfPlay, memory: Memory, text: Text, master: Transformer, seed: int, epochs: int,
    found: checkpoint.Checkpoint | None,
) -> Player:  # fmt: skip
    state: dict[str, Any] = found.state if found else {}
    set_threads(recipe.train)
    device = choose_device(recipe.train)
    precision = state.get("precision") or choose_precision(recipe.train, device)
    torch.manual_seed(seed)
    master.to(device)
    model = master if precision == "float32" else session.working_copy(master)
    optimizer, parallel = make_optimizer(master, model, recipe.optim), Parallel("alone", 0, 1, device)
    if found:
        session.load_optimizer(optimizer, found, None, parallel)
    return Player(
        recipe, game, memory, text, master, model, optimizer, Backward(model, parallel, recipe.train.accumulate),
        parallel, recipe.selfplay.steps * epochs, seed, precision, "", int(state.get("nonfinite", 0)),
        int(state.get("skipped", 0)),
    )  # fmt: skip


def _trained(recipe: Recipe, game: SelfPlay) -> Text:
    if recipe.data.tokenizer == "bytes":
        return tokenizer.byte_tokenizer()
    lessons = game.worked(random.Random("tokenizer"), EXAMPLES)
    return tokenizer.train_bpe((one.prompt + one.completion for one in lessons), recipe.data.vocabulary, game.words)


def save(player: Player, run: Run) -> Path:
    """Write the checkpoint of this tenth into the work folder."""
    lease, memory = run.lease, player.memory
    facts = {"start": player.start, "depth": memory.cap, "rounds": memory.rounds, "counts": memory.counts}
    state = {
        "version": 1, "phase": lease.phase, "epoch": lease.epoch, "step": run.position,
        "steps_per_epoch": player.recipe.selfplay.steps, "seed": player.seed, "precision": player.precision,
        "threads": torch.get_num_threads(), "nonfinite": player.nonfinite, "skipped": player.skipped,
        "recipe": as_dict(player.recipe), "shape": asdict(player.master.shape), STATE: facts,
    }  # fmt: skip
    writer = checkpoint.Writer(run.work / "checkpoint")
    writer.begin()
    writer.tensors(checkpoint.weights_of(player.master), player.optimizer.tensors())
    files = (_tokenizer_file(player.text, run.work), selfplay_memory.save(memory, run.work))
    writer.finish(player.master.shape, state, player.text.separator, files)
    return writer.folder


def _tokenizer_file(text: Text, folder: Path) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(text.to_json(), "utf-8")
    return path
