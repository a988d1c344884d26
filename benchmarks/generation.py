"""How fast is text written beside ``transformers.generate``, with the same weights, in the same process?

6 layers of width 384, vocabulary 4,096, random weights, greedy, no token ends a row. All take turns; figures are ratios
of medians. ``transformers`` writes as it comes and with attention written out, which is faster on a CPU than its
default; its static cache and compiled forward pass are slower than both, and left out. In float32 all must write the
same tokens.

No step can be faster than its matrix products and one reading of the keys and values that it needs: both are measured
alone, with the same weights laid out as we do, and give the ratio that could be had at most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import Record
from safetensors.torch import save_file

from tenth.trainer.generate import generate
from tenth.trainer.inference import Inference
from tenth.trainer.model import Shape, Transformer
from tenth.trainer.precision import fast_bfloat16

SHAPE = Shape(vocabulary=4096, layers=6, width=384, heads=3, kv_heads=3, head_width=128, mlp_width=1024, context=512)
PROMPT = 16
MUST = {1: 2.0, 32: 5.0}

Write = Callable[[torch.Tensor, int], list[list[int]]]  # (B, T) prompts, how many new tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="16 tokens, two turns")
    options = parser.parse_args()
    tokens, turns = (16, 2) if options.short else (256, 5)
    record = Record("generation", (__doc__ or "").partition("\n")[0], options)
    mine = model()
    precisions = [torch.float32, *([torch.bfloat16] if fast_bfloat16() else [])]
    best: dict[int, tuple[list[float], list[float]]] = {batch: ([], []) for batch in MUST}
    most = dict.fromkeys(MUST, 0.0)
    for dtype in precisions:
        inference = Inference(mine, dtype)
        sides = {
            "tenth": plainly(inference), "transformers": peer(mine, dtype, "sdpa"),
            "transformers, written out": peer(mine, dtype, "eager"),
        }  # fmt: skip
        for batch in MUST:
            ids = torch.randint(0, SHAPE.vocabulary, (batch, PROMPT), generator=torch.Generator().manual_seed(batch))
            name = str(dtype).removeprefix("torch.")
            times, same = take_turns(sides, ids, tokens, turns)
            if dtype == torch.float32 and same < 1:
                raise SystemExit(f"batch {batch}: the tokens differ ({same:.1%} alike)")
            rates = {side: batch * tokens / statistics.median(seconds) for side, seconds in times.items()}
            record.figure(
                f"{name}, batch {batch}: tokens/s against transformers as it comes", "",
                {"n": turns, "ratio_of_medians": round(rates["tenth"] / rates["transformers"], 2)},
            )  # fmt: skip
            alone = least(inference, batch, PROMPT + tokens / 2, 4 * turns)
            record.detail(**{f"{name}_{batch}": {"tokens_per_second": rates, "same_tokens": same, "seconds": alone}})
            most[batch] = max(most[batch], batch / sum(alone.values()))
            for side, rate in rates.items():
                best[batch][side.startswith("transformers")].append(rate)
    for batch, (ours, others) in best.items():
        record.figure(
            f"batch {batch}, best against best", "",
            {"n": turns, "ratio_of_medians": round(max(ours) / max(others), 2)},
            {"ratio_of_medians": (">=", MUST[batch])},
        )  # fmt: skip
        record.figure(
            f"batch {batch}, what products and reading alone would leave, against the best of transformers", "",
            {"n": 4 * turns, "ratio_of_medians": round(most[batch] / max(others), 2)},
        )  # fmt: skip
    record.finish()


def model() -> Transformer:
    made, generator = Transformer(SHAPE), torch.Generator().manual_seed(0)
    made.initialise(generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return made.eval()


def plainly(inference: Inference) -> Write:
    return lambda ids, tokens: generate(inference, ids.tolist(), tokens)


def least(inference: Inference, batch: int, length: float, turns: int) -> dict[str, float]:
    """Median seconds of a step's products, and of reading keys and values of `length` tokens a row from memory."""
    inner, width = SHAPE.heads * SHAPE.head_width, SHAPE.width
    x, mixed, up = (torch.randn(batch, size).to(inference.dtype) for size in (width, inner, SHAPE.mlp_width))
    kept = int(2 * SHAPE.layers * batch * SHAPE.kv_heads * length * SHAPE.head_width * inference.dtype.itemsize)
    memory = torch.zeros(1 << 26)  # 256 MiB, more than any cache
    seconds: dict[str, list[float]] = {"products": [], "reading": []}
    with torch.inference_mode():
        for turn in range(turns + 1):
            began = time.perf_counter()
            for layer in inference.layers:
                for product, read in ((layer.qkv, x), (layer.out, mixed), (layer.gate_up, x), (layer.down, up)):
                    product(read)
            inference.head(x)
            multiplied = time.perf_counter()
            memory.sum()
            if turn:
                seconds["products"].append(multiplied - began)
                seconds["reading"].append((time.perf_counter() - multiplied) * kept / memory.nbytes)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peer(mine: Transformer, dtype: torch.dtype, attention: str) -> Write:
    """The same weights in transformers, read from a folder as anybody would."""
    import json

    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        save_file({name: p.detach() for name, p in mine.named_parameters()}, Path(folder) / "model.safetensors")
        (Path(folder) / "config.json").write_text(json.dumps(SHAPE.hugging_face_config()))
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention).eval()

    def write(ids: torch.Tensor, tokens: int) -> list[list[int]]:
        out = theirs.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
        rows: list[list[int]] = out[:, PROMPT:].tolist()
        return rows

    return write


def take_turns(
    sides: dict[str, Write], ids: torch.Tensor, tokens: int, turns: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of each after one turn to warm up, and the smallest share of tokens that are the first side's."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    same = 1.0
    for turn in range(turns + 1):
        written = []
        for side, write in sides.items():
            began = time.perf_counter()
            written.append(torch.tensor(write(ids, tokens)))
            if turn:
                times[side].append(time.perf_counter() - began)
        same = min((other == written[0]).double().mean().item() for other in written)
    return times, same


if __name__ == "__main__":
    main()
