"""The recipe: TOML to frozen dataclasses. `depth` sets what is left at 0 or "auto"; every field may be given."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from .errors import RecipeError

if TYPE_CHECKING:  # a recipe is also read where there is no torch
    from .model import Shape

DIGEST = re.compile(r"[0-9a-f]{64}")
WIDTH_PER_LAYER = 64
TOKENS_PER_LAYER = 512  # of a step


@dataclass(frozen=True)
class ModelRecipe:
    """The shape. 0 means: follow `depth`."""

    depth: int = 4
    width: int = 0  # 64 x depth
    heads: int = 0  # width / head_width
    kv_heads: int = 0  # heads
    head_width: int = 0  # 64 up to depth 3 and where 128 does not divide the width, else 128
    mlp_width: int = 0  # 8/3 width, rounded up to 64
    context: int = 256  # tokens
    rope_base: float = 10_000.0
    tied: bool = False  # one matrix for embedding and head
    init: str = ""  # a folder in Hugging Face's layout to begin from, below the charter's folder; "": random
    init_sha256: str = ""  # which weights those must be, as `tenth convert` says it; "": any


@dataclass(frozen=True)
class DataRecipe:
    tokenizer: str = "bpe"  # "bpe" (trained on the corpus), "bytes", or the path of a tokenizer.json
    vocabulary: int = 4096  # entries of a trained BPE
    held_out: float = 0.03  # share of the documents kept away from training
    exclude: tuple[str, ...] = ()  # globs of document names that are not learned from; moves no gate


@dataclass(frozen=True)
class OptimRecipe:
    """AdamW for vectors, embedding and head; matrices follow `matrices`."""

    scale: float = 1.0  # of all learning rates; the defaults are for pretraining, and fine-tuning wants less
    matrices: str = "muon"  # "muon" or "adamw"
    muon_block: int = 128  # rows that Muon makes orthogonal together on a CPU; 0, and on a GPU: whole matrices
    matrix_lr: float = 0.0  # 0: 0.02 for muon, 0.003 x (256 / width) for adamw
    embedding_lr: float = 0.02
    head_lr: float = 0.0  # 0: 0.004 x (256 / width)
    vector_lr: float = 0.01
    beta1: float = 0.8
    beta2: float = 0.95
    epsilon: float = 1e-10
    weight_decay: float = 0.0  # on matrices only
    clip: float = 1.0  # global gradient norm; 0 turns it off


@dataclass(frozen=True)
class ScheduleRecipe:
    warmup: float = 0.02  # share of the phase's steps
    decay: float = 0.6  # share of the phase's steps
    warmup_steps: int = 0  # above 0: in place of the share
    decay_steps: int = 0  # above 0: in place of the share; with both, a longer run goes the same way until it decays
    floor: float = 0.0  # last learning rate as a share of the plateau's


@dataclass(frozen=True)
class TrainRecipe:
    batch: int = 0  # sequences, pairs, answers or lessons a step; 0: 512 x depth / context
    precision: str = "auto"  # "auto", "bfloat16" or "float32" arithmetic; master weights are always float32
    device: str = "auto"  # "auto", "cpu" or "cuda"
    threads: int = 0  # 0: as many as this process may use
    compile: str = "auto"  # "true", "false", or "auto": where a tenth is long enough to pay for it
    skip_nonfinite: int = 10  # consecutive steps without a finite loss that are skipped before giving up
    ranks: int = 0  # processes that train together; 0: one, with CUDA one for each device
    parallel: str = "ddp"  # "ddp": each rank holds everything; "fsdp": each holds its share of weights and optimizer
    accumulate: int = 1  # pieces, one after another, in which each rank takes its share of the batch
    recompute: bool = False  # keep no activations inside a block: less memory, about a third more work


@dataclass(frozen=True)
class SampleRecipe:
    tokens: int = 64  # of each sample
    temperature: float = 0.8  # 0: always the most likely token
    top_k: int = 50  # 0: all tokens


@dataclass(frozen=True)
class FeedbackRecipe:
    batches: tuple[str, ...] = ()  # digests of sealed batches, feedback/DIGEST.jsonl beside the recipe


@dataclass(frozen=True)
class PreferenceRecipe:
    """Of the phases `dpo` and `kto`."""

    beta: float = 0.1  # how dearly the model pays for leaving the one that the phase began with
    good: float = 1.0  # weight of a thumb up (kto)
    bad: float = 1.0  # weight of a thumb down (kto)


@dataclass(frozen=True)
class SelfPlayRecipe:
    """Of the phase `selfplay`; its epoch is `steps` optimizer steps of `train.batch` lessons."""

    env: str = ""  # the Python module whose `SelfPlay` is played; the phase needs one
    proposer: str = "model"  # or "random" draws, "given" worked examples, or "none": no rounds at all
    steps: int = 2000
    warm: int = 0  # the phase's first steps learn from worked examples alone
    every: int = 32  # steps from one round to the next
    proposals: int = 256  # of a round
    composed: float = 0.5  # share of them that is put together from earlier programs
    puzzles: int = 16  # of a round, at most
    attempts: int = 4  # at each of them
    depth: int = 3  # operations that a program may have, to begin with
    tokens: int = 96  # that a program may have, its plan included
    temperature: float = 1.0
    buffer: int = 32768  # lessons that are replayed: those that teach most
    anchor: float = 0.25  # share of worked examples in every batch
    policy: float = 0.0  # share of the phase's steps, its last ones, that follow the policy gradient


@dataclass(frozen=True)
class Recipe:
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    sample: SampleRecipe = field(default_factory=SampleRecipe)
    feedback: FeedbackRecipe = field(default_factory=FeedbackRecipe)
    preference: PreferenceRecipe = field(default_factory=PreferenceRecipe)
    selfplay: SelfPlayRecipe = field(default_factory=SelfPlayRecipe)


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read and check a recipe file."""
    try:
        table = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError("The recipe was refused.", str(error), "give a readable TOML file") from error
    return recipe_from(table)


def recipe_from(table: Mapping[str, Any]) -> Recipe:
    """A checked recipe with nothing left at "auto" or 0 that `depth` decides."""
    sections = {}
    for name, kind in get_type_hints(Recipe).items():
        sections[name] = _section(name, kind, table.get(name, {}))
    _refuse_unknown("", table, list(sections))
    return _resolve(Recipe(**sections))


def default_recipe() -> str:
    """A commented recipe for `tenth init`."""
    return (Path(__file__).parent / "recipes" / "default.toml").read_text("utf-8")


def shape(recipe: Recipe, vocabulary: int) -> Shape:
    """The model's shape for a tokenizer of `vocabulary` entries."""
    from .model import Shape

    m = recipe.model
    return Shape(
        vocabulary=vocabulary, layers=m.depth, width=m.width, heads=m.heads, kv_heads=m.kv_heads,
        head_width=m.head_width, mlp_width=m.mlp_width, context=m.context, rope_base=m.rope_base, tied=m.tied,
    )  # fmt: skip


def as_dict(recipe: Recipe) -> dict[str, Any]:
    return dataclasses.asdict(recipe)


def _section(name: str, kind: type[Any], table: Any) -> Any:
    if not isinstance(table, Mapping):
        raise _bad(name, f"{table!r}", f"write [{name}] as a table")
    hints = get_type_hints(kind)
    _refuse_unknown(f"{name}.", table, list(hints))
    return kind(**{key: _typed(f"{name}.{key}", hints[key], value) for key, value in table.items()})


def _refuse_unknown(prefix: str, table: Mapping[str, Any], known: list[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise RecipeError(
                "The recipe was refused.", f"the unknown key {prefix}{key}", f"did you mean {prefix}{near[0]}?"
            )


def _typed(key: str, kind: type[Any], value: Any) -> Any:
    if key == "train.compile" and isinstance(value, bool):
        value = str(value).lower()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
            raise _bad(key, repr(value), "give a list of texts, none empty")
        return tuple(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad(key, repr(value), f"give {'a number' if kind is float else kind.__name__}")
    return value


def _bad(key: str, found: str, do: str) -> RecipeError:
    return RecipeError("The recipe was refused.", f"{key} = {found}", do)


def _resolve(recipe: Recipe) -> Recipe:
    model = _resolve_model(recipe.model)
    optim = recipe.optim
    if optim.matrices not in ("muon", "adamw"):
        raise _bad("optim.matrices", repr(optim.matrices), 'choose "muon" or "adamw"')
    optim = dataclasses.replace(
        optim,
        matrix_lr=optim.matrix_lr or (0.02 if optim.matrices == "muon" else 0.003 * 256 / model.width),
        head_lr=optim.head_lr or 0.004 * 256 / model.width,
    )
    batch = recipe.train.batch or max(1, TOKENS_PER_LAYER * model.depth // max(1, model.context))
    train = dataclasses.replace(recipe.train, batch=batch)
    resolved = dataclasses.replace(recipe, model=model, optim=optim, train=train)
    _check_ranges(resolved)
    return resolved


def _resolve_model(model: ModelRecipe) -> ModelRecipe:
    if model.depth < 1:
        raise _bad("model.depth", str(model.depth), "use at least one layer")
    width = model.width or WIDTH_PER_LAYER * model.depth
    head_width = model.head_width or (128 if width % 128 == 0 and width >= 256 else 64)
    heads = model.heads or max(1, width // head_width)
    return dataclasses.replace(
        model, width=width, head_width=head_width, heads=heads, kv_heads=model.kv_heads or heads,
        mlp_width=model.mlp_width or -(-width * 8 // (3 * 64)) * 64,
    )  # fmt: skip


def _check_ranges(recipe: Recipe) -> None:
    m, d, o, s, t, p = recipe.model, recipe.data, recipe.optim, recipe.schedule, recipe.train, recipe.selfplay
    positive = {
        "model.width": m.width, "model.heads": m.heads, "model.kv_heads": m.kv_heads, "model.mlp_width": m.mlp_width,
        "model.context": m.context, "model.rope_base": m.rope_base, "train.batch": t.batch,
        "train.skip_nonfinite": t.skip_nonfinite, "sample.tokens": recipe.sample.tokens, "optim.matrix_lr": o.matrix_lr,
        "optim.embedding_lr": o.embedding_lr, "optim.head_lr": o.head_lr, "optim.vector_lr": o.vector_lr,
        "optim.epsilon": o.epsilon, "optim.scale": o.scale, "train.accumulate": t.accumulate,
        "preference.beta": recipe.preference.beta, "preference.good": recipe.preference.good,
        "preference.bad": recipe.preference.bad, "selfplay.steps": p.steps,
        "selfplay.every": p.every, "selfplay.proposals": p.proposals, "selfplay.puzzles": p.puzzles,
        "selfplay.attempts": p.attempts, "selfplay.depth": p.depth, "selfplay.tokens": p.tokens,
        "selfplay.temperature": p.temperature, "selfplay.buffer": p.buffer,
    }  # fmt: skip
    for key, value in positive.items():
        if not value > 0:
            raise _bad(key, str(value), "give a number above 0")
    shares = {
        "data.held_out": d.held_out, "schedule.warmup": s.warmup, "schedule.decay": s.decay, "schedule.floor": s.floor,
        "optim.beta1": o.beta1, "optim.beta2": o.beta2, "selfplay.composed": p.composed,
        "selfplay.anchor": p.anchor, "selfplay.policy": p.policy,
    }  # fmt: skip
    for key, value in shares.items():
        if not 0 <= value <= 1:
            raise _bad(key, str(value), "give a share between 0 and 1")
    free = {
        "optim.clip": o.clip, "optim.weight_decay": o.weight_decay, "train.threads": t.threads,
        "train.ranks": t.ranks, "sample.temperature": recipe.sample.temperature, "sample.top_k": recipe.sample.top_k,
        "schedule.warmup_steps": s.warmup_steps, "schedule.decay_steps": s.decay_steps,
        "optim.muon_block": o.muon_block, "selfplay.warm": p.warm,
    }  # fmt: skip
    for key, value in free.items():
        if not value >= 0:
            raise _bad(key, str(value), "give 0 or more")
    _check_choices(recipe)


def _check_choices(recipe: Recipe) -> None:
    m, d, s, t = recipe.model, recipe.data, recipe.schedule, recipe.train
    if m.heads % m.kv_heads:
        raise _bad("model.kv_heads", str(m.kv_heads), f"choose a divisor of the {m.heads} heads")
    if m.head_width % 2:
        raise _bad("model.head_width", str(m.head_width), "rotary positions need an even number")
    batches = recipe.feedback.batches
    if not all(DIGEST.fullmatch(batch) for batch in batches) or len(set(batches)) < len(batches):
        raise _bad("feedback.batches", repr(list(batches))[:200], "give SHA-256 digests in 64 hex digits, each once")
    shares = max(t.ranks, 1) * t.accumulate
    if t.batch % shares:
        raise _bad("train.batch", str(t.batch), f"choose a multiple of ranks x accumulate, which is {shares}")
    if (0 if s.warmup_steps else s.warmup) + (0 if s.decay_steps else s.decay) > 1:
        raise _bad("schedule.warmup + schedule.decay", str(s.warmup + s.decay), "keep their sum at 1 or below")
    if d.tokenizer == "bpe" and d.vocabulary < 257:
        raise _bad("data.vocabulary", str(d.vocabulary), "256 bytes and one separator need 257 entries")
    for name, choice, choices in (
        ("train.precision", t.precision, ("auto", "bfloat16", "float32")),
        ("train.device", t.device, ("auto", "cpu", "cuda")),
        ("train.compile", t.compile, ("auto", "true", "false")),
        ("train.parallel", t.parallel, ("ddp", "fsdp")),
        ("selfplay.proposer", recipe.selfplay.proposer, ("model", "random", "given", "none")),
    ):
        if choice not in choices:
            raise _bad(name, repr(choice), f"choose one of {', '.join(choices)}")
