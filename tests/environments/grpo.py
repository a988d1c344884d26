"""Two steps of TRL's GRPOTrainer with a puzzle's verifier as its reward; prints what was rewarded."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from puzzles import Puzzles
from tenth.environments import Task, Verdict, reward_function, rows
from tenth.jail import keeper
from tenth.jail.wire import Jail

EXAMPLE = Path(__file__).parents[2] / "examples" / "trl_grpo" / "train.py"


class Seen(Puzzles):
    """Says what it was asked to judge."""

    verdicts: list[Verdict]

    def verify(self, task: Task, completion: str, jail: Jail) -> Verdict:
        self.verdicts.append(super().verify(task, completion, jail))
        return self.verdicts[-1]


def main() -> None:
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    tokenizer = example.byte_tokenizer()
    torch.manual_seed(0)
    end = tokenizer.eos_token_id
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, bos_token_id=end, eos_token_id=end, pad_token_id=end,
        )
    )  # fmt: skip
    env = Seen("induce")
    env.verdicts = []
    tasks = env.tasks(random.Random(1), 4)
    with tempfile.TemporaryDirectory() as folder, keeper.opened() as jail:
        arguments = GRPOConfig(
            output_dir=folder, save_strategy="no", max_steps=2, per_device_train_batch_size=4, num_generations=4,
            max_completion_length=8, logging_steps=1, seed=0, report_to="none", disable_tqdm=True, bf16=False,
            activation_checkpointing=False, dataloader_pin_memory=False, beta=0.0,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model, args=arguments, train_dataset=Dataset.from_list(list(rows(tasks))), processing_class=tokenizer,
            reward_funcs=reward_function(env, tasks, jail),
        )  # fmt: skip
        trainer.train()
    means = [row["rewards/seen/mean"] for row in trainer.state.log_history if "rewards/seen/mean" in row]
    json.dump({"means": means, "jail": [one.evidence["jail"] for one in env.verdicts]}, sys.stdout)


if __name__ == "__main__":
    main()
