"""How fast does tenth train GPT-2's smallest size on one GPU, beside Hugging Face `Trainer`, in the same call?

    python benchmarks/peers/gpu.py            # 124M parameters, bfloat16, compiled; refuses where there is no GPU
    python benchmarks/peers/gpu.py --smoke    # the same code on a processor with a tiny model: no figure, no record

MFU is given against the device's published dense bfloat16 peak, where it is known here, and against the measured one.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from record import Record, spread  # noqa: E402

from peers import contenders, data, figures  # noqa: E402
from peers.peak import peak  # noqa: E402
from peers.recipe import from_preset, recipe  # noqa: E402
from peers.run import PLACE, SPEED, Bench, Legs  # noqa: E402

PUBLISHED = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312.0e12}
"""Dense bfloat16 FLOP/s by NVIDIA's data sheets (SXM), by what the device's name contains."""
LEAST_MFU = 0.5
TINY: dict[str, dict[str, Any]] = {
    "model": {"depth": 1, "width": 64, "head_width": 32, "heads": 2, "kv_heads": 2, "mlp_width": 64, "context": 32},
    "data": {"tokenizer": "bytes", "held_out": 0.1},
    "train": {"batch": 2, "compile": False, "precision": "float32", "threads": 1},
}


def published(name: str) -> float | None:
    """FLOP/s that the maker gives for a device; None: not known here."""
    return next((peak for part, peak in PUBLISHED.items() if part in name), None)


def device_name(smoke: bool) -> str:
    """The device that will be used. Refuses where there is no GPU, unless this is a smoke test."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if smoke:
        return "processor (smoke test)"
    raise SystemExit(
        "The GPU benchmark was refused. Found no CUDA device. Run it on a machine with a GPU and PyTorch's CUDA build, "
        "or give --smoke to try its code on this processor."
    )


def tell(record: Record, bench: Bench, name: str) -> None:
    """tokens/s, MFU by both measures, memory, and the ratio."""
    speed = bench.legs.found[SPEED]
    paper = published(name)
    for who, legs in speed.items():
        title, rows = contenders.ALL[who].title, list(legs.values())
        rates = [row["tokens_per_second"] for row in rows]
        record.figure(f"tokens/s, {title}, {name}", "", spread(rates, 0))
        record.figure(f"MFU against the measured peak, {title}", "", spread([row["mfu"] for row in rows]))
        if paper:
            shares = spread([rate * bench.flop_per_token / paper for rate in rates])
            must = {"p50": (">=", LEAST_MFU)} if who == "tenth" else None
            record.figure(f"MFU against the published peak, {title}", "", shares, must)
        record.figure(f"peak memory of the GPU, {title}", "MiB", spread([row["gpu_mib"] or 0.0 for row in rows], 0))
    if found := figures.ratios(speed, "tenth", "trainer"):
        record.figure(f"tokens/s, tenth / {contenders.ALL['trainer'].title}, {name}", "", spread(found))


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--preset", default="gpt2", help="tenth's preset (default gpt2: 124M parameters)")
    parser.add_argument("--batch", type=int, default=16, help="sequences of 1,024 tokens a step (default 16)")
    parser.add_argument("--rounds", type=int, default=2, help="legs of each contender (default 2)")
    parser.add_argument("--steps", type=int, default=60, help="steps of a leg (default 60)")
    parser.add_argument("--smoke", action="store_true", help="on the processor, with a tiny model; no record")
    parser.add_argument("--source", type=Path, help="folder of text (default: the standard library)")
    parser.add_argument("--place", type=Path, default=PLACE / "gpu", help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    chosen.wait, chosen.passive = 0, False
    chosen.recipe = TINY if chosen.smoke else from_preset(chosen.preset, chosen.batch)
    if chosen.smoke:
        chosen.rounds, chosen.steps = 1, min(chosen.steps, 6)
    return chosen


def main(words: list[str] | None = None) -> dict[str, dict[int, Any]]:
    chosen = parse(words)
    name = device_name(chosen.smoke)
    source = chosen.source or data.standard_library(PLACE / "source")
    shared = data.prepare(chosen.place / "data", source, recipe(chosen.recipe))
    measured = partial(peak, "cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(chosen.place, shared, chosen, Legs(chosen.place / "kept", resume=False), measured)
    record = None if chosen.smoke else Record("peers/gpu", (__doc__ or "").partition("\n")[0], without_paths(chosen))
    for number in range(1, chosen.rounds + 1):
        for who in ("tenth", "trainer-plain" if chosen.smoke else "trainer"):
            bench.leg(contenders.ALL[who], SPEED, number, chosen.steps)
    if record:
        tell(record, bench, name)
        record.detail(device=name, torch=torch.__version__, corpus=shared.facts, failed=bench.failed)
        record.finish()
    if bench.failed:
        raise SystemExit(f"not everyone could be measured: {bench.failed}")
    return bench.legs.found[SPEED]


def without_paths(chosen: argparse.Namespace) -> argparse.Namespace:
    kept = {key: value for key, value in vars(chosen).items() if key not in ("place", "source")}
    return argparse.Namespace(**kept)


if __name__ == "__main__":
    main()
