"""Answers as an evaluation log of Inspect (`.eval`): a zip of JSON files, which Inspect View and its data frames read.

Format: https://inspect.aisi.org.uk/eval-logs.html, version 2 of its schema: `header.json` (the evaluation without its
samples), `samples/ID_epoch_1.json`, `summaries.json`, and the journal that its own recorder begins with. What a model
wrote stands in it as it is; a viewer that renders Markdown will do so.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .asked import Item

VERSION = 2


@dataclass(frozen=True)
class Sample:
    """One item under one checkpoint."""

    item: Item
    said: str
    right: bool
    bits_per_byte: float


def write(path: Path, model: str, began: datetime.datetime, samples: Iterable[Sample]) -> None:
    """`began` has a time zone. The same samples give the same bytes, but for times."""
    known = list(samples)
    start, end = (time.isoformat(timespec="seconds") for time in (began, datetime.datetime.now(datetime.UTC)))
    name = hashlib.sha256(f"{model} {start}".encode()).hexdigest()[:22]
    spec = {
        "eval_id": name, "run_id": name, "task_id": name, "created": start, "task": "tenth/capabilities",
        "task_version": 1, "dataset": {"name": "capabilities", "samples": len(known), "shuffled": False,
                                       "sample_ids": [sample.item.id for sample in known]},
        "model": f"tenth/{model}", "config": {"epochs": 1}, "packages": {},
    }  # fmt: skip
    plan = {"name": "plan", "steps": [{"solver": "greedy", "params": {}}], "config": {}}
    header = {
        "version": VERSION, "status": "success", "eval": spec, "plan": plan, "results": _results(known),
        "stats": {"started_at": start, "completed_at": end, "model_usage": {}},
    }  # fmt: skip
    rows = [_sample(sample, f"tenth/{model}") for sample in known]
    summaries = [
        {**{key: row[key] for key in ("id", "epoch", "input", "target", "metadata", "scores")}, "completed": True}
        for row in rows
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as log:
        _add(log, "_journal/start.json", {"version": VERSION, "eval": spec, "plan": plan})
        for row in rows:
            _add(log, f"samples/{row['id']}_epoch_1.json", row)
        _add(log, "_journal/summaries/1.json", summaries)
        _add(log, "summaries.json", summaries)
        _add(log, "header.json", header)


def _add(log: zipfile.ZipFile, name: str, value: Any) -> None:
    log.writestr(zipfile.ZipInfo(name), json.dumps(value, allow_nan=False), zipfile.ZIP_DEFLATED, 5)


def _sample(sample: Sample, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": sample.said, "source": "generate"}
    return {
        "id": sample.item.id, "epoch": 1, "input": sample.item.prompt, "target": sample.item.answer,
        "messages": [{"role": "user", "content": sample.item.prompt, "source": "input"}, message],
        "output": {"model": model, "choices": [{"message": message, "stop_reason": "stop"}]},
        "scores": {
            "right": {"value": "C" if sample.right else "I", "answer": sample.said},
            "bits_per_byte": {"value": round(sample.bits_per_byte, 6)},
        },
        "metadata": {"family": sample.item.family}, "store": {}, "events": [], "model_usage": {}, "attachments": {},
    }  # fmt: skip


def _results(samples: Sequence[Sample]) -> dict[str, Any]:
    right = [float(sample.right) for sample in samples]
    bits = [sample.bits_per_byte for sample in samples]
    return {
        "total_samples": len(samples), "completed_samples": len(samples),
        "scores": [_score("right", right, samples), _score("bits_per_byte", bits, samples)],
    }  # fmt: skip


def _score(name: str, values: Sequence[float], samples: Sequence[Sample]) -> dict[str, Any]:
    """Mean, standard error and the mean of each family."""
    mean = sum(values) / len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1) / len(values))
    found = {"mean": mean, "stderr": error}
    for family in dict.fromkeys(sample.item.family for sample in samples):
        mine = [value for value, sample in zip(values, samples, strict=True) if sample.item.family == family]
        found[family] = sum(mine) / len(mine)
    scored = {key: {"name": key, "value": value, "params": {}} for key, value in found.items()}
    return {"name": name, "scorer": name, "params": {}, "metrics": scored}
