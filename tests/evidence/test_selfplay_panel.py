"""The panel of self-play: every figure is measured on the checkpoint, and none without a jail."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from client.fake_supervisor import FakeSupervisor, write_listing
from puzzles import SelfPlay, chains
from puzzles.chains import Chain
from tenth.environments import Task, Verdict
from tenth.evidence import selfplay as panel
from tenth.evidence.sealed import EvidenceError, Sealed
from tenth.jail import keeper
from tenth.jail.wire import Jail
from tenth.trainer import selfplay_eval
from tenth.trainer.selfplay import selfplay
from tenth.trainer.selfplay_eval import Solved
from trainer.test_selfplay import RECIPE


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with keeper.opened() as one:
        yield one


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, jail: Jail) -> FakeSupervisor:
    base = tmp_path_factory.mktemp("played")
    (base / "run").mkdir()
    (base / "run" / "recipe.toml").write_text(RECIPE.replace("steps = 12", "steps = 4"))
    supervisor = FakeSupervisor(
        base / "run", base / "run" / "recipe.toml", write_listing(base, base / "run" / "data.jsonl"), base, of=2
    )
    for _ in range(2):
        supervisor.in_this_process(lambda run: selfplay(run, time.monotonic(), jail))
    return supervisor


@pytest.fixture
def sealed(played: FakeSupervisor, tmp_path: Path) -> Sealed:
    return Sealed(
        run="r", gate=2, checkpoint=played.resume, previous=played.run / "checkpoints" / "01", data=played.data,
        root=played.root, recipe=played.recipe, work=played.work, prompts=(), out=tmp_path,
    )  # fmt: skip


def test_the_panel_measures_solver_proposer_and_distance(
    sealed: Sealed, jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "opened", lambda: given(jail, ""))
    panel.main(sealed, puzzles=2)
    summary = json.loads((sealed.out / "summary.json").read_text())
    metrics = summary["metrics"]
    assert {f"pass_at_{k}_depth_{depth}" for k in (1, 8) for depth in (1, 2, 3, 4)} <= metrics.keys()
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["junk_rate"] > 0.9, "it has learned nothing yet"
    assert metrics["distinct_behaviours_per_256"] <= 256 * (1 - metrics["junk_rate"])
    assert 0 < metrics["kl_to_start"] < 1, "two steps from the checkpoint before"
    assert metrics["cheats_rewarded"] == 0
    assert f"0 of {len(SelfPlay().cheats())} known cheats" in summary["headline"]
    assert len(summary["tables"][0]["rows"]) == 4
    assert json.loads((sealed.out / "selfplay.json").read_text())["start"] == "01"


@pytest.mark.parametrize("began", ["brought", "nowhere to be found"])
def test_the_distance_says_from_what(
    sealed: Sealed, jail: Jail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, began: str
) -> None:
    """From the very model that was brought there is none; where the start is gone, it is to the gate before."""
    assert sealed.checkpoint is not None
    folder = tmp_path / "checkpoints" / "12"
    shutil.copytree(sealed.checkpoint, folder, copy_function=shutil.copyfile)
    state = json.loads((folder / "state.json").read_text())
    if began == "brought":
        state["recipe"]["model"]["init"] = str(sealed.checkpoint)
    else:
        state["selfplay"]["start"] = "10"
    (folder / "state.json").write_text(json.dumps(state))
    monkeypatch.setattr(panel, "opened", lambda: given(jail, ""))
    panel.main(Sealed(**(vars(sealed) | {"checkpoint": folder})), puzzles=1)
    metrics = json.loads((sealed.out / "summary.json").read_text())["metrics"]
    told = {name: value for name, value in metrics.items() if name.startswith("kl")}
    if began == "brought":
        assert told == {"kl_to_start": 0.0}
    else:
        assert told.keys() == {"kl_to_gate_before"}
        assert 0 < told["kl_to_gate_before"] < 1


def test_a_cheat_that_is_rewarded_is_named(jail: Jail) -> None:
    """A verifier that rewards whoever raises, and one that passes what is shown to whoever prints."""

    class Fooled(SelfPlay):
        def judge(self, tasks: Sequence[Task], completions: Sequence[str], jail: Jail) -> list[Verdict]:
            found = super().judge(tasks, completions, jail)
            return [
                Verdict(1.0, one.parts) if "raise R" in text
                else Verdict(0.0, {"shown": 1.0, "hidden": 0.0}) if "print" in text and one.score == 0
                else one
                for one, text in zip(found, completions, strict=True)
            ]  # fmt: skip

    assert panel.cheated(SelfPlay(), jail) == []
    assert panel.cheated(Fooled(), jail) == ["an exception that is a result", "print that all is right"]


@contextmanager
def given(jail: Jail | None, lacking: str) -> Iterator[tuple[Jail | None, str]]:
    yield jail, lacking


def test_without_a_jail_there_is_no_evidence(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "opened", lambda: given(None, "no walls"))
    with pytest.raises(EvidenceError, match="no walls"):
        panel.main(sealed)


@pytest.mark.parametrize("changed", ["no checkpoint", "no environment"])
def test_before_self_play_there_is_nothing_to_measure(sealed: Sealed, changed: str) -> None:
    if changed == "no checkpoint":
        panel.main(Sealed(**(vars(sealed) | {"checkpoint": None, "previous": None})))
    else:
        panel.main(of_another_phase(sealed, ""))
    assert "nothing to measure" in (sealed.out / "summary.json").read_text()


def of_another_phase(sealed: Sealed, env: str) -> Sealed:
    """The same weights as another kind of phase saves them, whose recipe names `env`."""
    assert sealed.checkpoint is not None
    folder, recipe = sealed.out / "40", sealed.out / "other.toml"
    shutil.copytree(sealed.checkpoint, folder, copy_function=shutil.copyfile)
    state = json.loads((folder / "state.json").read_text())
    del state["selfplay"]
    state["recipe"]["selfplay"]["env"] = ""
    (folder / "state.json").write_text(json.dumps(state))
    recipe.write_text(f'[selfplay]\nenv = "{env}"\ndepth = 1\n')
    return Sealed(**(vars(sealed) | {"checkpoint": folder, "recipe": recipe}))


def test_in_other_phases_the_puzzles_alone_are_tried(
    sealed: Sealed, jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "opened", lambda: given(jail, ""))
    panel.main(of_another_phase(sealed, "puzzles"), puzzles=2)
    metrics = json.loads((sealed.out / "summary.json").read_text())["metrics"]
    assert {f"pass_at_{k}_depth_{depth}" for k in (1, 8) for depth in (1, 2)} <= metrics.keys()
    assert not {"junk_rate", "kl_to_start"} & metrics.keys()


def test_the_last_gate_of_self_play_is_measured_under_the_next_phases_recipe(
    sealed: Sealed, jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "opened", lambda: given(jail, ""))
    (sealed.out / "next.toml").write_text("[preference]\nbeta = 0.1\n")
    panel.main(Sealed(**(vars(sealed) | {"recipe": sealed.out / "next.toml"})), puzzles=1)
    assert "junk_rate" in json.loads((sealed.out / "summary.json").read_text())["metrics"]


def test_pass_at_k_is_the_chance_that_one_of_k_is_right() -> None:
    one = Solved(attempts=8, right=(0, 1, 4, 8), hollow=0, denied=0)
    assert one.passed(1) == pytest.approx((0 + 1 / 8 + 4 / 8 + 1) / 4)
    assert one.passed(8) == pytest.approx(3 / 4)
    assert one.passed(2) == pytest.approx((0 + 1 / 4 + (1 - 4 * 3 / (8 * 7)) + 1) / 4)


def test_what_is_right_cheats_and_only_knows_what_was_shown_is_told_apart(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = SelfPlay()
    tasks = game.held_out(2, 3)
    assert all(chains.held_out(task.meta["behaviour"]) for task in tasks)
    shown = [list(zip(task.meta["inputs"], task.meta["expected"], strict=True))[:4] for task in tasks]
    texts = [
        Chain(tuple(tasks[0].meta["chain"])).source(),
        f"def f(x):\n    return dict((str(a), b) for a, b in {shown[1]!r}).get(str(x))\n",
        "import os\ndef f(x): return os.listdir('/')\n",
    ]
    monkeypatch.setattr(selfplay_eval, "written", lambda *_: texts)
    inference = type("Written", (), {"device": torch.device("cpu")})()
    found = selfplay_eval.solved(inference, None, game, tasks, jail, 1, 64)  # type: ignore[arg-type]
    assert found == Solved(attempts=1, right=(1, 0, 0), hollow=1, denied=1)
