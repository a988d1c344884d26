"""Tasks of lm-evaluation-harness that lie in a folder, asked of both checkpoints: `tenth-evidence lm-eval --tasks DIR`.

The folder holds YAML tasks as the harness documents them, with data that lies here, too: evidence has no network. The
harness is imported when this command runs. Its `LM` interface asks for three things: how likely a continuation is, how
likely a whole text is, and what is written greedily up to an end text.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenth.evidence.sealed import EvidenceError, Sealed, write

from .answers import Reader
from .capabilities import cells
from .paired import Difference, means, shares

TOKENS = 256  # written at most, where a task does not say
Request = Any
"""The harness's Instance: `args` is what is asked."""


class Answers:
    """One checkpoint behind the three questions of the harness's `LM`."""

    def __init__(self, checkpoint: Path) -> None:
        self._reader = Reader(checkpoint)

    def loglikelihood(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """For (context, continuation): log-probability in nats, and whether it would be written greedily."""
        answers = self._reader.read([request.args for request in requests])
        return [(-answer.nats, answer.greedy) for answer in answers]

    def loglikelihood_rolling(self, requests: Sequence[Request]) -> list[float]:
        """For (text,): log-probability in nats of all of it, in windows of the model's context."""
        text, step = self._reader.text, self._reader.model.shape.context - 1
        windows, owners = [], []
        for number, ids in enumerate(text.encode([request.args[0] for request in requests])):
            row = [text.separator, *ids]
            for at in range(0, len(ids), step):
                windows.append((row[at : at + 1], row[at + 1 : at + 1 + step]))
                owners.append(number)
        nats = [0.0] * len(requests)
        for owner, answer in zip(owners, self._reader.read_tokens(windows), strict=True):
            nats[owner] -= answer.nats
        return nats

    def generate_until(self, requests: Sequence[Request]) -> list[str]:
        """For (context, settings): what is written greedily. Raises EvidenceError where a task wants it drawn."""
        written: dict[int, str] = {}
        wanted: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for number, request in enumerate(requests):
            settings: Mapping[str, Any] = request.args[1]
            if settings.get("do_sample") or float(settings.get("temperature") or 0) > 0:
                raise EvidenceError("No task was run.", "one wants its answers drawn", "give it 'do_sample: false'")
            until = settings.get("until") or []
            ends = (until,) if isinstance(until, str) else tuple(until)
            wanted.setdefault((int(settings.get("max_gen_toks") or TOKENS), ends), []).append(number)
        for (tokens, ends), numbers in wanted.items():
            texts = self._reader.write([requests[number].args[0] for number in numbers], tokens, ends)
            written |= dict(zip(numbers, texts, strict=True))
        return [written[number] for number in range(len(requests))]


def main(sealed: Sealed, tasks: Path) -> None:
    """Raises EvidenceError where the harness or the tasks are missing."""
    if sealed.checkpoint is None:
        write(sealed, "No checkpoint yet: nobody to ask.", {}, {})
        return
    with tempfile.TemporaryDirectory() as scratch:  # of data sets; nothing is fetched
        os.environ |= {"HF_HOME": scratch, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        now = _run(sealed.checkpoint, tasks)
        before = _run(sealed.previous, tasks) if sealed.previous else None
    rows, metrics = [], {}
    for (task, name), values in now.items():
        change = _change(values, before[task, name]) if before else None
        rows.append(
            [task, name, len(values), f"{sum(values) / len(values):.4f}", *cells(change, 1, "{:+.4f}", "↓", "↑")]
        )
        metrics[f"{task}_{name}"] = sum(values) / len(values)
    paired = ["change", "95 % interval", "detectable from", "arrow"] if before else []
    table = {"title": "Tasks", "columns": ["task", "metric", "items", "now", *paired], "rows": rows}
    moved = [str(row[0]) for row in rows if row[-1] in ("↓", "↑")]
    headline = f"{len(rows)} figures of {len({task for task, _ in now})} tasks"
    headline += f"; changed: {', '.join(dict.fromkeys(moved)) or 'none that could be detected'}" if before else ""
    write(
        sealed,
        headline,
        metrics,
        {"values": {f"{task} {name}": values for (task, name), values in now.items()}},
        [table],
    )


def _change(now: Sequence[float], before: Sequence[float]) -> Difference:
    """What is 0 or 1 for each item is a share."""
    if {*now, *before} <= {0.0, 1.0}:
        return shares([value == 1 for value in now], [value == 1 for value in before])
    return means(now, before)


def _run(checkpoint: Path, tasks: Path) -> dict[tuple[str, str], list[float]]:
    """(task, metric): its value for each document, in their order."""
    try:
        import lm_eval
        from lm_eval.api.model import LM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise EvidenceError(
            "No task was run.", f"lm-evaluation-harness is not installed ({error})", "pip install 'lm-eval>=0.4.9'"
        ) from error

    class Model(Answers, LM):  # type: ignore[misc]
        """What the harness takes."""

        def __init__(self) -> None:
            LM.__init__(self)
            Answers.__init__(self, checkpoint)

    known = TaskManager(include_path=str(tasks), include_defaults=False)
    if not known.all_tasks:
        raise EvidenceError("No task was run.", f"{tasks} holds none", "write one: a YAML file with 'task: NAME'")
    said = lm_eval.simple_evaluate(
        Model(), tasks=known.all_tasks, task_manager=known, log_samples=True, bootstrap_iters=0
    )
    found: dict[tuple[str, str], list[float]] = {}
    for task, samples in said["samples"].items():
        for sample in sorted(samples, key=lambda one: one["doc_id"]):
            for name in sample["metrics"]:
                value = sample[name]
                if isinstance(value, int | float) and math.isfinite(value):
                    how = "" if sample["filter"] == "none" else f", {sample['filter']}"
                    found.setdefault((task, name + how), []).append(float(value))
    return found
