"""A Hugging Face Trainer under the law: six lines join it, marked with their numbers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

import tenth  # 1
from tenth.client.huggingface import TenthCallback  # 2


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, and an end of text that also pads."""
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<end>"]
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", bos_token="<end>", pad_token="<end>")


def chunks(listing: Path, root: Path, tokenizer: PreTrainedTokenizerFast, context: int) -> list[dict[str, Any]]:
    """The documents of the listing, cut into pieces of `context` tokens."""
    names = [json.loads(line)["path"] for line in listing.read_text().splitlines()]
    ids = [number for name in names for number in tokenizer((root / name).read_text())["input_ids"]]
    pieces = torch.tensor(ids[: len(ids) // context * context]).view(-1, context)
    return [{"input_ids": piece, "labels": piece} for piece in pieces]


def train(run: tenth.Run) -> None:
    recipe = tomllib.loads(run.lease.recipe.read_text())
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    width = recipe["width"]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, attention_dropout=recipe["dropout"],
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    gate = TenthCallback(run)  # 3
    arguments = TrainingArguments(
        output_dir=run.work / "trainer", save_strategy="no",  # 4
        num_train_epochs=run.lease.epochs, per_device_train_batch_size=recipe["batch"],
        learning_rate=recipe["learning_rate"], warmup_steps=recipe["warmup"], lr_scheduler_type="cosine",
        logging_steps=1, include_num_input_tokens_seen="all", seed=0, report_to="none", disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, data_collator=default_data_collator, processing_class=tokenizer, callbacks=[gate],
        train_dataset=chunks(run.lease.data, run.lease.root, tokenizer, recipe["context"]),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=gate.resume_from)  # 5


if __name__ == "__main__":
    with tenth.attach() as run:  # 6
        train(run)
