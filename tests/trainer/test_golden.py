"""Golden trajectories: fine-tuning losses on a fixed batch, step by step, beside TRL's own trainers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tenth.trainer import interchange, tokenizer
from tenth.trainer.backward import NextToken
from tenth.trainer.dpo import Pairs, Thumbs, answer_log_probs, packs_of, sides, with_other_answers
from tenth.trainer.loss import IGNORED, token_log_probs
from tenth.trainer.model import Shape, Transformer
from tenth.trainer.preference import advantages, grpo_loss
from tenth.trainer.recipe import PreferenceRecipe
from tenth.trainer.rows import Marked, Reader
from tenth.trainer.sft import packed

trl = pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore")  # its trainers and their libraries warn of much that is not ours

TEXT = tokenizer.byte_tokenizer()
SHAPE = Shape(
    vocabulary=TEXT.vocabulary, layers=2, width=32, heads=4, kv_heads=2, head_width=8, mlp_width=48, context=64
)
STEPS, RATE, BETA = 4, 0.3, 0.2
PAIRS = [
    {"prompt": "a:", "chosen": " yes", "rejected": "no, never"},
    {"prompt": "what is it?", "chosen": "a long answer, in words", "rejected": "x"},
    {"prompt": "3+4=", "chosen": "7", "rejected": "12"},
    {"prompt": "", "chosen": "begins", "rejected": "does not begin"},
]
ANSWERS = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS]
THUMBS = [
    {"prompt": row["prompt"], "completion": row["chosen" if n % 2 else "rejected"], "label": n % 2 == 1}
    for n, row in enumerate(PAIRS)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights everywhere, as transformers reads it."""
    made, generator = Transformer(SHAPE), torch.Generator().manual_seed(0)
    made.initialise(generator)
    ours, theirs = (tmp_path_factory.mktemp(name) for name in ("ours", "theirs"))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    save_file({name: p.detach() for name, p in made.named_parameters()}, ours / "model.safetensors")
    (ours / "config.json").write_text(json.dumps(SHAPE.hugging_face_config(TEXT.separator)))
    (ours / "tokenizer.json").write_text(TEXT.to_json())
    interchange.convert(ours, theirs, {})
    return theirs


def ours(folder: Path, losses: Callable[[Transformer], Tensor]) -> list[float]:
    """The losses of plain gradient descent with our model."""
    model = interchange.read(folder).model()
    found = []
    for _ in range(STEPS):
        loss = losses(model)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter -= RATE * parameter.grad
                parameter.grad = None
        found.append(float(loss.detach()))
    return found


def theirs(folder: Path, kind: str, rows: Iterable[dict[str, Any]], out: Path, **more: Any) -> list[float]:
    """The same with a trainer of TRL: every step takes all rows."""
    import transformers
    from datasets import Dataset

    base = getattr(trl, f"{kind}Trainer")
    found: list[float] = []

    class Watched(base):  # type: ignore[misc, valid-type]
        def compute_loss(self, *words: Any, **named: Any) -> Any:
            loss = super().compute_loss(*words, **named)
            found.append(float((loss[0] if isinstance(loss, tuple) else loss).detach()))
            return loss

    # The separator before each document is ours; TRL adds the one at its end.
    mark = interchange.mark(TEXT)
    data = Dataset.from_list([{**row, "prompt": mark + row["prompt"]} for row in rows])
    arguments = getattr(trl, f"{kind}Config")(
        output_dir=str(out), per_device_train_batch_size=len(data), max_steps=STEPS, learning_rate=RATE, optim="sgd",
        lr_scheduler_type="constant", max_grad_norm=0.0, report_to="none", disable_tqdm=True, bf16=False,
        save_strategy="no", gradient_checkpointing=False, dataloader_pin_memory=False, use_cpu=True,
        train_sampling_strategy="sequential", **more,
    )  # fmt: skip
    load = transformers.AutoModelForCausalLM.from_pretrained
    reference = {} if kind == "SFT" else {"ref_model": load(folder, dtype=torch.float32)}
    trainer = Watched(
        load(folder, dtype=torch.float32), args=arguments, train_dataset=data, **reference,
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip
    trainer.train()
    return found


def sequences(kind: str, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[Marked, ...]]:
    reader = Reader(kind, TEXT, SHAPE.context)
    for row in rows:
        example = reader.example("row#1", row)
        assert example is not None
        yield example.sequences


def assert_golden(one: list[float], other: list[float]) -> None:
    assert len(one) == len(other) == STEPS
    assert one[-1] < one[0]
    torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=0, atol=1e-4)


def test_sft(folder: Path, tmp_path: Path) -> None:
    """Ours packed, TRL's one row each: what shares a sequence changes nothing."""
    batch = packed([one for (one,) in sequences("sft", ANSWERS)], [0, 3, 4], TEXT.separator, SHAPE.context)
    mine = ours(folder, lambda model: NextToken(model)(*batch))
    assert_golden(mine, theirs(folder, "SFT", ANSWERS, tmp_path, completion_only_loss=True, max_length=64))


@pytest.mark.parametrize("share", [1.0, 0.75])
def test_dpo(folder: Path, tmp_path: Path, share: float) -> None:
    """TRL has no shares of votes: a pair that three of four voted for is three pairs there, and one turned round."""
    packs = packs_of([list(sequences("dpo", PAIRS))], 4, TEXT.separator)
    reference = sides(answer_log_probs(interchange.read(folder).model(), 8, *packs), count=4).detach()
    recipe = PreferenceRecipe(beta=BETA)
    mine = ours(folder, lambda model: Pairs(model, recipe)(*packs, torch.full((1, len(PAIRS)), share), reference))
    turned = [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS]
    votes = [{**row, "share": 1.0} for row in (PAIRS if share == 1 else [*PAIRS * 3, *turned])]  # as it is exported
    assert_golden(mine, theirs(folder, "DPO", votes, tmp_path, beta=BETA, max_length=64))


def test_a_prompt_that_is_read_once_for_both_answers_changes_nothing(folder: Path) -> None:
    """Beside every sequence in a row of its own; the first pair has no common beginning."""
    generator = torch.Generator().manual_seed(5)
    rows = list(sequences("dpo", PAIRS))
    rows[0] = (rows[0][0], torch.randint(1, 256, (9,), generator=generator).numpy().astype("uint32") * 2 + 1)
    model = interchange.read(folder).model()
    together = packs_of([rows], len(rows), TEXT.separator)
    alone = [packs_of([[(row[side],)]], 1, TEXT.separator) for side in (0, 1) for row in rows]
    found = answer_log_probs(model, 2 * len(rows), *together)[0]
    expected = torch.cat([answer_log_probs(model, 1, *one)[0] for one in alone])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    read = int((together[3] < 2 * len(rows)).sum())
    assert read < sum(len(one) - 1 for row in rows for one in row), "prompts were read once"


def test_kto(folder: Path, tmp_path: Path) -> None:
    both = with_other_answers([one for (one,) in sequences("kto", THUMBS)], SHAPE.context)
    own, other = (packs_of([[pair[side : side + 1] for pair in both]], 4, TEXT.separator) for side in (0, 1))
    model = interchange.read(folder).model()
    reference = sides(*(answer_log_probs(model, 4, *packs) for packs in (own, other)), count=4).detach()
    good = torch.tensor([[float(row["label"]) for row in THUMBS]])

    def loss(model: Transformer) -> Tensor:
        objective = Thumbs(model, PreferenceRecipe(beta=BETA))
        return objective(*objective.prepared((*own, good, reference, *other)))

    assert_golden(ours(folder, loss), theirs(folder, "KTO", THUMBS, tmp_path, beta=BETA, max_length=64))


def test_grpo(folder: Path, tmp_path: Path) -> None:
    """Two groups of three completions; from the second step on they are not the model's own, and clipping bites."""
    import transformers
    from datasets import Dataset

    generator = torch.Generator().manual_seed(3)
    prompt, written = (torch.randint(1, 256, (6, size), generator=generator) for size in (5, 8))
    lengths = torch.tensor([8, 3, 5, 1, 8, 6])
    counted = torch.arange(8) < lengths[:, None]
    worth = advantages(torch.tensor([[1.0, 0.0, 0.25], [0.0, 0.0, 1.0]])).flatten()
    ids = torch.cat([prompt, written], 1)
    targets = torch.cat([torch.full((6, 4), IGNORED), written.where(counted, IGNORED)], 1)

    def log_probs(model: Transformer) -> Tensor:
        return token_log_probs(model(ids[:, :-1]), model.lm_head.weight, targets)

    before = log_probs(interchange.read(folder).model()).detach()
    mine = ours(folder, lambda m: grpo_loss(log_probs(m), before, worth, targets != IGNORED, tokens=8, clip=0.2))

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=6, num_generations=3, max_completion_length=8, beta=0.0,
        epsilon=0.2, loss_type="dr_grpo", scale_rewards="none", report_to="none", bf16=False, use_cpu=True,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        model, args=arguments, train_dataset=Dataset.from_list([{"prompt": "a"}] * 6), reward_funcs=lambda **_: [0.0],
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    batch = {
        "prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt), "completion_ids": written,
        "completion_mask": counted.long(), "advantages": worth, "old_per_token_logps": before[:, 4:],
    }  # fmt: skip
    found = []
    for _ in range(STEPS):
        loss = trainer._compute_loss(model, batch)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= RATE * parameter.grad
                parameter.grad = None
        found.append(float(loss.detach()))
    assert_golden(mine, found)
