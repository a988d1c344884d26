"""Compiled blocks: as good as without, the same to the bit after a resume, and no end where there is no compiler."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from client.fake_supervisor import FakeSupervisor
from tenth.client import Run
from tenth.trainer import compiled
from tenth.trainer.model import Shape, Transformer
from tenth.trainer.pretrain import pretrain
from tenth.trainer.recipe import TrainRecipe
from trainer.tiny import BFLOAT16

COMPILED = BFLOAT16.replace("[train]", "[train]\ncompile = true")
SMALL = Shape(vocabulary=61, layers=2, width=32, heads=4, kv_heads=2, head_width=8, mlp_width=64, context=32)


def here(run: Run) -> None:
    pretrain(run, time.monotonic())


needs_compiler = pytest.mark.skipif(not compiled.has_compiler(torch.device("cpu")), reason="no C++ compiler here")


def transformer() -> Transformer:
    made = Transformer(SMALL)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    return made


@pytest.fixture
def _compiler_here() -> Iterator[None]:
    """For blocks that are compiled in the test's own process: nothing of it stays."""
    with mock.patch.dict(os.environ):
        yield
    torch.compiler.reset()


@needs_compiler
@pytest.mark.usefixtures("_compiler_here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own imports
@pytest.mark.timeout(600)  # a compiler at work, on a machine that may have others at work, too
def test_an_epoch_in_tenths_is_the_epoch_in_one_and_the_compiler_works_once(
    supervise: Callable[..., FakeSupervisor],
) -> None:
    """The first tenth in a process of its own; the last step of the epoch is smaller, and not compiled."""
    parts = supervise("parts", COMPILED, of=2)
    first = parts.one_tenth()
    assert first.status == 0, first.output
    assert "not compiled" not in first.output
    (folder,) = (parts.work / "cache").glob("compiled-*")
    built = {path: path.stat().st_mtime_ns for path in folder.rglob("*.so")}
    assert built
    parts.in_this_process(here)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.so")} == built
    torch.compiler.reset()
    whole = supervise("whole", COMPILED, of=1)
    (whole.work / "cache").mkdir(parents=True)
    folder.rename(whole.work / "cache" / folder.name)
    outcome = whole.in_this_process(here)
    assert parts.resume is not None
    assert whole.resume is not None
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (parts.resume / name).read_bytes() == (whole.resume / name).read_bytes()
    assert json.loads((whole.resume / "state.json").read_text())["compiled"] is True
    plain = supervise("plain", BFLOAT16, of=1).in_this_process(here)
    last, without = (one.of("progress")[-1]["loss"] for one in (outcome, plain))
    assert last == pytest.approx(without, rel=0.02)


def test_without_a_compiler_it_says_so_and_trains(supervise: Callable[..., FakeSupervisor]) -> None:
    supervisor = supervise("run", COMPILED, environment={"CXX": "/nowhere/c++"})
    outcome = supervisor.one_tenth()
    assert outcome.status == 0, outcome.output
    assert "The blocks are not compiled: no C++ compiler was found" in outcome.output
    assert supervisor.resume is not None
    assert json.loads((supervisor.resume / "state.json").read_text())["compiled"] is False


def test_where_the_compiler_fails_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> Tensor:
        raise RuntimeError("no header\nmore of it")

    monkeypatch.setattr(compiled, "use_cache", lambda _: None)  # it sets the process's environment
    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    model = transformer()
    assert not compiled.compile_blocks(model, 2, tmp_path)
    assert model.compiled is None
    assert "(RuntimeError: no header); training goes on" in capsys.readouterr().out


def test_auto_compiles_long_tenths_and_goes_on_as_the_run_began(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(compiled, "compile_blocks", lambda _, sequences, __: asked.append(sequences) or True)
    monkeypatch.setattr(compiled, "has_compiler", lambda _: True)
    model, work = transformer(), Path()

    def decided(recipe: TrainRecipe, steps: float, state: dict[str, bool]) -> bool:
        asked.clear()
        compiled.decide(recipe, model, 8, steps, state, work)
        return asked == [8]

    auto = TrainRecipe(batch=8)
    assert [decided(auto, 10, {}), decided(auto, 1e9, {})] == [False, True]
    assert [decided(auto, 10, {"compiled": True}), decided(auto, 1e9, {"compiled": False})] == [True, False]
    assert [decided(TrainRecipe(batch=8, compile=word), 10, {}) for word in ("true", "false")] == [True, False]
    monkeypatch.setattr(compiled, "has_compiler", lambda _: False)
    assert not decided(auto, 1e9, {})
