"""Curves leave the run's folder whole: every step, every spike, in the order of the run, whatever the trainer wrote."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto.event_pb2 import Event

from tenth.client.record import Record
from tenth.encoding import canonical
from tenth.errors import WrongInput
from tenth.sinks import SINKS, Point, Reader, open_sink
from tenth.sinks.reader import MAX_NAMES, newest, spelled

POINTS = [Point(step, 1, 1.7e9 + step, {"loss": 100.0 if step == 7 else 5.0, "a/b": float(step)}) for step in range(40)]


def write_log(run: Path, *events: tuple[str, dict[str, Any]]) -> None:
    (run / "log").mkdir(parents=True, exist_ok=True)
    with (run / "log" / "entries.jsonl").open("ab") as file:
        for index, (event, body) in enumerate(events):
            entry = {"body": body, "event": event, "index": index, "time": "2026-11-21T09:30:00.123Z"}
            file.write(canonical(entry) + b"\n")


def leased(gate: int, tenth: int, of: int = 2) -> tuple[str, dict[str, Any]]:
    return "leased", {"lease": {"gate": gate, "tenth": tenth, "of": of}}


def reached(gate: int, step: int) -> tuple[str, dict[str, Any]]:
    spent = {"device_seconds": 10.0 * gate, "flop": 0}
    claims = {"step": step, "loss": 1.5, "metrics": {"lr": 0.1}}
    return "reached", {"gate": gate, "position": {"step": step}, "spent": spent, "claims": claims}


def test_steps_count_on_over_epochs_and_what_was_trained_again_counts_as_it_was_trained_last(tmp_path: Path) -> None:
    write_log(tmp_path, leased(1, 1), reached(1, 2), leased(2, 2), reached(2, 3), leased(3, 1))
    (tmp_path / "work").mkdir()
    for gate, step, loss in ((1, 1, 9.0), (1, 2, 8.0), (2, 3, 7.0), (2, 3, 6.0), (3, 1, 5.0)):
        record = Record(tmp_path / "work", gate)
        record.add(step, {"loss": loss})
        record.flush()
    points = newest(Reader(tmp_path).new())
    losses = {point.step: point.values["loss"] for point in points if "loss" in point.values}
    assert losses == {1: 9.0, 2: 8.0, 3: 6.0, 4: 5.0}
    assert [point.step for point in points] == sorted({point.step for point in points})
    assert {point.step: point.values["tenth/device_seconds"] for point in points if "tenth/gate" in point.values} == {
        2: 10.0, 3: 20.0,
    }  # fmt: skip


def test_without_a_file_of_the_trainer_the_log_has_a_claim_every_two_seconds(tmp_path: Path) -> None:
    claims = {"step": 1, "loss": 3.0, "metrics": {"lr": 0.2}}
    spent = {"device_seconds": 4.0, "flop": 0}
    write_log(tmp_path, leased(1, 1), ("metered", {"spent": spent, "claims": claims}), reached(1, 2))
    write_log(tmp_path, ("pulled", {"spent": spent}), ("closed", {"outcome": "released"}))
    reader = Reader(tmp_path)
    points = newest(reader.new())
    assert [(point.step, point.values["loss"], point.values["lr"]) for point in points] == [
        (1, 3.0, 0.2),
        (2, 1.5, 0.1),
    ]
    assert points[-1].values["tenth/halts"] == 1.0
    assert reader.closed
    assert reader.new() == []


def test_a_file_that_grows_is_read_line_by_whole_line(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    path = tmp_path / "work" / "metrics.jsonl"
    row = b'{"gate":1,"step":1,"time":1.0,"values":{"loss":2.0}}'
    path.write_bytes(row[:20])
    reader = Reader(tmp_path)
    assert reader.new() == []
    path.write_bytes(row + b"\n" + row[:9])
    assert [point.values for point in reader.new()] == [{"loss": 2.0}]
    assert reader.new() == []


NAMES = st.sampled_from(["gate", "step", "time", "values", "\x1b[2J"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries({"gate": st.integers() | ANY, "step": st.integers() | ANY, "time": ANY, "values": ANY})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40) | (ANY | ROWS).map(lambda value: json.dumps(value).encode()), max_size=5))
def test_whatever_a_trainer_writes_only_numbers_come_out(lines: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "work").mkdir()
        (Path(folder) / "work" / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        for point in Reader(Path(folder)).new():
            assert point.step >= 0
            for name, value in point.values.items():
                assert name.isascii()
                assert name.isprintable()
                assert isinstance(value, float)


def test_a_link_a_fifo_and_an_endless_line_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"gate":1,"step":1,"time":1.0,"values":{"loss":2.0}}\n')
    for number, make in enumerate((lambda path: path.symlink_to(secret), os.mkfifo, lambda path: path.mkdir())):
        work = tmp_path / str(number) / "work"
        work.mkdir(parents=True)
        make(work / "metrics.jsonl")
        assert Reader(work.parent).new() == []
    work.joinpath("metrics.jsonl").rmdir()
    work.joinpath("metrics.jsonl").write_bytes(b"x" * 200_000 + b"\n" + secret.read_bytes())
    assert len(Reader(work.parent).new()) == 1


def test_names_are_bounded_and_harmless(tmp_path: Path) -> None:
    assert spelled("train/loss") == "train/loss"
    assert spelled("=cmd|x") == "__cmd_x"
    assert spelled("../../etc") == "___/__/etc"
    assert len(spelled("x" * 1000)) == 64
    (tmp_path / "work").mkdir()
    record = Record(tmp_path / "work", 1)
    record.add(1, {f"name{number}": 1.0 for number in range(MAX_NAMES + 50)})
    record.flush()
    assert sum(len(point.values) for point in Reader(tmp_path).new()) == MAX_NAMES


def test_a_record_keeps_every_plain_number_and_survives_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    record = Record(tmp_path, 4, clock=lambda: now[0], wall=lambda: 12.3456)
    record.add(1, {"loss": 2, "text": "x"})
    record.add(2, {"loss": float("nan")})
    record.add(3, {"text": "only"})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1  # at most one write a second
    now[0] = 2.0
    record.add(4, {"loss": 1.0})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0] == {"gate": 4, "step": 1, "time": 12.346, "values": {"loss": 2.0}}
    assert [row["values"] for row in rows[1:]] == [{"nonfinite": 1.0}, {"loss": 1.0}]
    lost = Record(tmp_path / "nowhere", 1)
    lost.add(1, {"loss": 1.0})
    lost.add(2, {"loss": 1.0})
    assert capsys.readouterr().out.count("metrics are not kept any more") == 1


# ------------------------------------------------------------------------------------------------------------- trackers


def write(name: str, folder: Path) -> Any:
    sink = open_sink(name, folder, "poet-1")
    for point in POINTS:
        sink.write(point)
    sink.close()
    return sink


def test_tensorboard_reads_back_every_step(tmp_path: Path) -> None:
    write("tensorboard", tmp_path)
    (path,) = (tmp_path / "poet-1").glob("events.out.tfevents.*")
    data, found = path.read_bytes(), {}
    while data:  # TFRecord: length, checksum, event, checksum
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]
        for value in event.summary.value:
            found[value.tag, event.step] = (value.simple_value, event.wall_time)
    assert len(found) == 80
    assert found["loss", 7] == (100.0, 1.7e9 + 7)
    assert found["a/b", 39][0] == 39.0


def test_csv_and_json_lines_read_back_every_step(tmp_path: Path) -> None:
    for name in ("csv", "jsonl"):
        write(name, tmp_path)
    with (tmp_path / "poet-1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    assert [row["value"] for row in rows if row["name"] == "loss" and row["step"] == "7"] == ["100.0"]
    lines = [json.loads(line) for line in (tmp_path / "poet-1.jsonl").read_text().splitlines()]
    assert lines[7] == {"step": 7, "gate": 1, "time": 1.7e9 + 7, "loss": 100.0, "a/b": 7.0}


@pytest.mark.parametrize(("name", "module"), [("trackio", "trackio"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_library_is_named_with_its_extra(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("TRACKIO_DIR", "x")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with pytest.raises(WrongInput) as caught:
        open_sink(name, tmp_path, "poet-1")
    assert f"tenth[{name}]" in caught.value.parts()["do"]


class Stand:
    """Records calls of a tracker's documented functions."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.url = "nowhere"
        self.info = SimpleNamespace(run_id="r1")

    def __getattr__(self, name: str) -> Any:
        def called(*args: Any, **named: Any) -> Any:
            self.calls.append((name, args, named))
            return None if name == "get_experiment_by_name" else self

        return called

    def of(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, named) for called, args, named in self.calls if called == name]


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """In place of all three libraries; tests below run the real ones where they are installed."""
    stand = Stand()
    for name in ("trackio", "wandb", "mlflow"):
        module = ModuleType(name)
        module.init = stand.init  # type: ignore[attr-defined]
        module.MlflowClient = stand.MlflowClient  # type: ignore[attr-defined]
        module.entities = SimpleNamespace(Metric=lambda *given: given)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("TRACKIO_DIR", "WANDB_MODE", "MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield stand
    os.environ.pop("TRACKIO_DIR", None)
    os.environ.pop("MLFLOW_ALLOW_FILE_STORE", None)


def test_trackers_are_asked_to_stay_on_this_machine_and_given_every_step(stand: Stand, tmp_path: Path) -> None:
    write("trackio", tmp_path)
    assert stand.of("init")[0][1]["embed"] is False
    assert [named["step"] for _, named in stand.of("log")] == list(range(40))
    stand.calls.clear()
    write("wandb", tmp_path)
    assert stand.of("init")[0][1]["mode"] == "offline"
    assert [args[0]["tenth/step"] for args, _ in stand.of("log")] == list(range(40))
    assert len(stand.of("finish")) == 1
    stand.calls.clear()
    write("mlflow", tmp_path)
    assert stand.of("MlflowClient")[0][1]["tracking_uri"].startswith("file:///")
    sent = [metric for _, named in stand.of("log_batch") for metric in named["metrics"]]
    assert ("loss", 100.0, 1_700_000_007_000, 7) in sent
    assert len(sent) == 80


@pytest.mark.parametrize("name", ["trackio", "wandb", "mlflow"])
def test_the_real_library_takes_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped unless the extra is installed: it brings dozens of packages that nothing else here needs."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read when the library is imported
    pytest.importorskip(name)
    write(name, tmp_path)
    if name == "mlflow":
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("tenth").experiment_id])
        history = client.get_metric_history(run.info.run_id, "loss")
        assert {metric.step: metric.value for metric in history}[7] == 100.0
    if name == "trackio":
        import sqlite3

        with sqlite3.connect(tmp_path / "tenth.db") as base:
            rows = base.execute("SELECT step, metrics FROM metrics").fetchall()
        assert {step: json.loads(text)["loss"] for step, text in rows}[7] == 100.0
    if name == "wandb":
        (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
        assert path.stat().st_size > 1000


def test_every_tracker_is_tested() -> None:
    assert set(SINKS) == {"tensorboard", "trackio", "wandb", "mlflow", "csv", "jsonl"}
