"""Does DPO on 300 pairs make a model that people prefer, as TRL's does, and how fast is it beside TRL's?

    python benchmarks/preferences.py [--full] [--turns 3] [--threads 2]

The people are simulated (annotator.py). A base is pretrained and tuned on answers in all manners, by the phases that a
run has; it writes two answers each to some prompts, and the annotator chooses. DPO by ours and by TRL's trainer starts
from the same weights and takes the same pairs in the same order, three times, with the same learning rates, batch and
schedule (AdamW). Judged are answers to prompts that nobody trained on, by the votes that the annotator would give.
Times are whole: from model and pairs on disk to trained weights on disk, without the imports. --full: 10 M parameters,
else half a million.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import statistics
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annotator
import torch
from record import Record, workplace

from tenth.client import Run
from tenth.client.channel import Channel
from tenth.client.lease import from_frame
from tenth.trainer import checkpoint, interchange, tokenizer
from tenth.trainer.dpo import dpo
from tenth.trainer.generate import complete
from tenth.trainer.permutation import Permutation
from tenth.trainer.precision import fast_bfloat16
from tenth.trainer.pretrain import pretrain
from tenth.trainer.sft import sft
from tenth.trainer.shards import file_digest

PAIRS, TOKENS, SEED = 300, 64, 1
BATCH, EPOCHS, RATE, BETA = 10, 3, 1e-4, 0.1
ANSWERS = 4  # to each held-out prompt

BASE = """
[model]
depth = {depth}
width = {width}
mlp_width = {mlp}
context = 128
[data]
vocabulary = 512
[train]
threads = {threads}
"""
ADAMW = """
batch = 10
precision = "{precision}"
[optim]
matrices = "adamw"
matrix_lr = {rate}
embedding_lr = {rate}
head_lr = {rate}
vector_lr = {rate}
beta1 = 0.9
beta2 = 0.999
epsilon = 1e-8
[schedule]
warmup = 0.0
decay = 1.0
"""

Phase = Callable[[Run, float], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10 M parameters")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    record = Record("preferences", (__doc__ or "").partition("\n")[0], options)
    torch.set_num_threads(options.threads)
    depth, width, mlp, texts = (6, 384, 960, 400) if options.full else (2, 128, 384, 300)
    turns = options.turns
    base = BASE.format(depth=depth, width=width, mlp=mlp, threads=options.threads)
    with workplace() as place:
        tuned = tuned_model(place, base, texts)
        model, text = checkpoint.load_model(tuned), tokenizer.from_file(tuned / "tokenizer.json")
        rows = pairs(model, text)
        write(place / "pairs" / "pairs.jsonl", rows)
        interchange.convert(tuned, place / "theirs", {})
        plain = {"gradient_checkpointing": False}
        sides = {
            "tenth, float32": ours(place, base, tuned, "float32"),
            "TRL, float32": theirs(place, rows, bf16=False, **plain),
            "TRL as it comes": theirs(place, rows),  # bfloat16 where it can, and activations computed again
        }
        if fast_bfloat16():
            sides["tenth, bfloat16"] = ours(place, base, tuned, "bfloat16")
            sides["TRL, bfloat16"] = theirs(place, rows, bf16=True, **plain)
            sides["TRL, bfloat16, reference beforehand"] = theirs(place, rows, True, bf16=True, **plain)
        times: dict[str, list[float]] = {side: [] for side in sides}
        ends: dict[str, Path] = {}
        for _ in range(turns):
            for side, run in sides.items():
                began = time.perf_counter()
                ends[side] = run()
                times[side].append(time.perf_counter() - began)
        before = answers(tuned)
        liked = {side: preferred(answers(end), before) for side, end in ends.items()}
    seconds = {side: statistics.median(some) for side, some in times.items()}
    turned = [dict(zip(times, some, strict=True)) for some in zip(*times.values(), strict=True)]
    fastest = [min(turn[side] for side in turn if side.startswith("tenth")) for turn in turned]
    ratios = [
        min(turn[side] for side in turn if "TRL" in side) / own for turn, own in zip(turned, fastest, strict=True)
    ]
    usual = [turn["TRL as it comes"] / own for turn, own in zip(turned, fastest, strict=True)]
    for side, votes in liked.items():
        must = {"share": (">=", 0.65)} if side == "tenth, float32" else None
        record.figure(
            f"answers preferred to those before, {side}", "1", {"n": len(before), "share": round(votes, 4)}, must
        )
    less = round(liked["tenth, float32"] - liked["TRL, float32"], 4)
    record.figure(
        "the same less TRL's, both in float32", "1", {"difference": less}, {"difference": (">=", -0.02)}
    )  # fmt: skip
    record.figure(
        "how much faster than TRL, each with its fastest settings", "",
        {"n": turns, "p50": round(statistics.median(ratios), 2)}, {"p50": (">=", 2.0)},
    )  # fmt: skip
    record.figure("how much faster than TRL as it comes", "", {"n": turns, "p50": round(statistics.median(usual), 2)})
    for side, value in seconds.items():
        record.figure(f"DPO on {PAIRS} pairs, {EPOCHS} epochs, {side}", "s", {"n": turns, "p50": round(value, 2)})
    record.detail(parameters=sum(p.numel() for p in model.parameters()), times=times, pairs=len(rows))
    record.finish()


def tuned_model(place: Path, base: str, texts: int) -> Path:
    """Pretrained on `texts` documents of this world, and tuned on ten times as many answers."""
    rng = random.Random(0)
    asked = annotator.prompts(held_out=False)
    documents = ["".join(f"{rng.choice(asked)}{annotator.answer(rng)}\n\n" for _ in range(12)) for _ in range(texts)]
    for number, document in enumerate(documents):
        target = place / "documents" / f"{number:03d}.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text(document)
    rows = [{"prompt": rng.choice(asked), "completion": annotator.answer(rng)} for _ in range(10 * texts)]
    write(place / "answers" / "answers.jsonl", rows)
    begun = lease(place, "begun", pretrain, base, place / "documents")
    return lease(place, "tuned", sft, base + "[optim]\nscale = 0.3\n", place / "answers", begun)


def lease(place: Path, name: str, phase: Phase, recipe: str, data: Path, resume: Path | None = None) -> Path:
    """One epoch in one lease, without a supervisor; returns the checkpoint."""
    folder, work = place / "runs" / name, place / "work"  # one for all phases, as in a run
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    work.mkdir(exist_ok=True)
    for epoch in range(1, 1 + (EPOCHS if phase is dpo else 1)):
        (folder / "recipe.toml").write_text(recipe)
        listing = folder / "data.jsonl"
        rows = [
            {"path": str(path.relative_to(place)), "sha256": file_digest(path), "size": path.stat().st_size}
            for path in sorted(data.iterdir())
        ]
        listing.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ours, theirs = socket.socketpair()
        reader = threading.Thread(target=lambda end=ours: list(end.makefile("rb")), daemon=True)
        reader.start()
        frame = {
            "frame": "lease", "run": "bench-1", "gate": epoch, "phase": name, "epoch": epoch,
            "epochs": EPOCHS if phase is dpo else 1, "tenth": 1, "of": 1, "resume": str(resume) if resume else None,
            "position": None, "work": str(work), "recipe": str(folder / "recipe.toml"),
            "data": str(listing), "root": str(place), "samples_per_minute": 0.0, "prompts": [],
            "device_seconds": 1e6, "flop": 1e19, "seed": SEED,
        }  # fmt: skip
        phase(Run(from_frame(frame), Channel(theirs)), time.monotonic())
        theirs.close()
        reader.join()
        ours.close()
        resume = folder / f"gate-{epoch}"
        (work / "checkpoint").rename(resume)
    assert resume is not None
    return resume


def ours(place: Path, base: str, tuned: Path, precision: str) -> Callable[[], Path]:
    recipe = base + ADAMW.format(precision=precision, rate=RATE) + f"[preference]\nbeta = {BETA}\n"
    return lambda: lease(place, f"dpo-{precision}", dpo, recipe, place / "pairs", tuned)


def theirs(place: Path, rows: list[dict[str, str]], beforehand: bool = False, **settings: bool) -> Callable[[], Path]:
    """TRL's trainer, with everything set as ours is, and the pairs in our order: chance would hide a difference.

    `beforehand`: what the reference gives to the pairs is found once for all epochs, which then have one order.
    """
    import transformers
    import trl
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    source, out = place / "theirs", place / f"trl-{settings.get('bf16')}-{len(settings)}-{beforehand}"

    def train() -> Path:
        load = transformers.AutoModelForCausalLM.from_pretrained
        words = transformers.AutoTokenizer.from_pretrained(source)
        orders = [Permutation(len(rows), SEED, epoch + 1)[:].tolist() for epoch in range(1 if beforehand else EPOCHS)]
        marked = [{**row, "prompt": words.bos_token + row["prompt"]} for row in rows]
        data = Dataset.from_list([marked[number] for order in orders for number in order])
        arguments = trl.DPOConfig(
            output_dir=str(out), per_device_train_batch_size=BATCH, learning_rate=RATE,
            num_train_epochs=EPOCHS if beforehand else 1, precompute_ref_log_probs=beforehand,
            beta=BETA, lr_scheduler_type="linear", warmup_steps=0, max_grad_norm=1.0, adam_beta1=0.9, adam_beta2=0.999,
            adam_epsilon=1e-8, weight_decay=0.0, max_length=128,
            save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no", use_cpu=True,
            dataloader_pin_memory=False, train_sampling_strategy="sequential", **settings,
        )  # fmt: skip
        trainer = trl.DPOTrainer(
            load(source, dtype=torch.float32), args=arguments, train_dataset=data, processing_class=words,
            ref_model=load(source, dtype=torch.float32),
        )  # fmt: skip
        trainer.train()
        trainer.save_model(str(out))
        return out

    return train


def pairs(model: Any, text: tokenizer.Text) -> list[dict[str, str]]:
    """Two answers of the model's own to each of some prompts, and which one the annotator chose."""
    rng = random.Random(1)
    asked = annotator.prompts(held_out=False)
    rng.shuffle(asked)
    asked = asked[: PAIRS + 40]  # some answers come out alike
    one, other = (complete(model, text, asked, TOKENS, 1.0, 0, seed=seed) for seed in (2, 3))
    rows = []
    for prompt, left, right in zip(asked, one, other, strict=True):
        if left != right and left.strip() and right.strip():
            if rng.random() >= annotator.share(left, right):
                left, right = right, left
            rows.append({"prompt": prompt, "chosen": left, "rejected": right})
    assert len(rows) >= PAIRS, len(rows)
    return rows[:PAIRS]


def answers(folder: Path) -> list[str]:
    """To every held-out prompt, several."""
    source = interchange.read(folder)
    asked = [prompt for prompt in annotator.prompts(held_out=True) for _ in range(ANSWERS)]
    return complete(source.model(), source.text, asked, TOKENS, 1.0, 0, seed=4)


def preferred(after: list[str], before: list[str]) -> float:
    """Votes that the annotator would give to the first of each two answers to one prompt."""
    return statistics.fmean(annotator.share(*both) for both in zip(after, before, strict=True))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
