"""How is a point written? One class for each tracker, by the tracker's own library; two for plain files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tenth.errors import WrongInput

from .reader import Point


class Sink(Protocol):
    """Somewhere that points can be written to."""

    where: str
    """For people: what to open."""

    def write(self, point: Point) -> None:
        """One step."""

    def close(self) -> None:
        """All is said."""


class Jsonl:
    """One object a line: step, gate, time, and the values by name."""

    def __init__(self, folder: Path, run: str) -> None:
        self._file = (folder / f"{run}.jsonl").open("w", encoding="utf-8")
        self.where = self._file.name

    def write(self, point: Point) -> None:
        row = {"step": point.step, "gate": point.gate, "time": point.time, **point.values}
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Csv:
    """One value a row, so that names may come and go: step, gate, time, name, value."""

    def __init__(self, folder: Path, run: str) -> None:
        self._file = (folder / f"{run}.csv").open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(["step", "gate", "time", "name", "value"])
        self.where = self._file.name

    def write(self, point: Point) -> None:
        for name, value in point.values.items():
            self._rows.writerow([point.step, point.gate, f"{point.time:.3f}", name, repr(value)])
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Event files, by tensorboardX: no TensorFlow and no torch."""

    def __init__(self, folder: Path, run: str) -> None:
        self._writer = needed("tensorboardX", "tensorboard").SummaryWriter(str(folder / run))
        self.where = f"tensorboard --logdir {folder}"

    def write(self, point: Point) -> None:
        for name, value in point.values.items():
            self._writer.add_scalar(name, value, point.step, walltime=point.time)

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """A local trackio project; nothing leaves the machine."""

    def __init__(self, folder: Path, run: str) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder))  # read when the library is imported
        self._run = needed("trackio", "trackio").init(
            project="tenth", name=run, embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        self.where = f"TRACKIO_DIR={os.environ['TRACKIO_DIR']} trackio show --project tenth"

    def write(self, point: Point) -> None:
        self._run.log(dict(point.values), step=point.step)

    def close(self) -> None:
        self._run.finish()


class Wandb:
    """Weights & Biases, offline unless WANDB_MODE says otherwise; `wandb sync` sends it later."""

    def __init__(self, folder: Path, run: str) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = needed("wandb", "wandb").init(
            project="tenth", name=run, dir=str(folder), mode=mode, save_code=False,
            settings={"x_disable_stats": True, "x_disable_meta": True, "console": "off"},
        )  # fmt: skip
        # A step that was trained again may come after a later one: the library's own step must rise, this one need not.
        self._run.define_metric("tenth/step")
        self._run.define_metric("*", step_metric="tenth/step")
        self.where = f"wandb sync {folder}/wandb/offline-run-*" if mode == "offline" else str(self._run.url)

    def write(self, point: Point) -> None:
        self._run.log({**point.values, "tenth/step": point.step})

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow: a folder of files unless MLFLOW_TRACKING_URI says otherwise."""

    BATCH = 1000

    def __init__(self, folder: Path, run: str) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # all that the small package can write
        mlflow = needed("mlflow", "mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").as_uri()
        self._metric = mlflow.entities.Metric
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name("tenth")
        experiment = found.experiment_id if found else self._client.create_experiment("tenth")
        self._id = self._client.create_run(experiment, run_name=run).info.run_id
        self._waiting: list[Any] = []
        self.where = f"mlflow ui --backend-store-uri {uri}"

    def write(self, point: Point) -> None:
        for name, value in point.values.items():
            self._waiting.append(self._metric(name, value, int(point.time * 1000), point.step))
        if len(self._waiting) >= self.BATCH:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting[: self.BATCH])
            del self._waiting[: self.BATCH]

    def close(self) -> None:
        self._send()
        self._client.set_terminated(self._id)


SINKS: Mapping[str, Any] = {
    "tensorboard": TensorBoard, "trackio": Trackio, "wandb": Wandb, "mlflow": Mlflow, "csv": Csv, "jsonl": Jsonl,
}  # fmt: skip
"""Name on the command line -> class."""


def open_sink(name: str, folder: Path, run: str) -> Sink:
    """Raises WrongInput when the tracker's library is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    sink: Sink = SINKS[name](folder.resolve(), run)
    return sink


def needed(module: str, extra: str) -> ModuleType:
    """An optional library. Raises WrongInput naming the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise WrongInput(
            f"metrics cannot be written to {extra}", f"{module} cannot be imported: {error}",
            f"pip install 'tenth[{extra}]'",
        ) from None  # fmt: skip
