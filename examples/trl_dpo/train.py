"""TRL's DPOTrainer under the law: six lines join it, marked with their numbers."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

import tenth  # 1
from tenth.client.huggingface import TenthCallback  # 2


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, and an end of text that also pads."""
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<end>"]
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", bos_token="<end>", pad_token="<end>")


def rows(listing: Path, root: Path) -> Dataset:
    """Every row of every JSONL document in the listing."""
    names = [json.loads(line)["path"] for line in listing.read_text().splitlines()]
    return Dataset.from_list([json.loads(line) for name in names for line in (root / name).read_text().splitlines()])


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
    gate = TenthCallback(run, sample_tokens=8)  # 3
    arguments = DPOConfig(
        output_dir=str(run.work / "trainer"), save_strategy="no",  # 4
        num_train_epochs=run.lease.epochs, per_device_train_batch_size=recipe["batch"],
        learning_rate=recipe["learning_rate"], warmup_steps=recipe["warmup"], lr_scheduler_type="cosine",
        logging_steps=1, seed=0, report_to="none", disable_tqdm=True, bf16=False, activation_checkpointing=False,
        dataloader_pin_memory=torch.cuda.is_available(), max_length=64, beta=0.1,
    )  # fmt: skip
    trainer = DPOTrainer(
        model, args=arguments, train_dataset=rows(run.lease.data, run.lease.root), processing_class=tokenizer,
        callbacks=[gate], ref_model=copy.deepcopy(model),  # as the phase began, in every lease
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=gate.resume_from)  # 5


if __name__ == "__main__":
    with tenth.attach() as run:  # 6
        train(run)
