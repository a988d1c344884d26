"""Phases of fine-tuning, lease by lease: what they begin from, what they learn, and the same bits when interrupted."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from client.fake_supervisor import FakeSupervisor, Outcome, write_listing
from core.live import PYTHON, Live
from tenth.client import Run
from tenth.evidence import bpb, completions
from tenth.evidence.sealed import Sealed, read_sealed
from tenth.trainer import checkpoint, tokenizer
from tenth.trainer.errors import CheckpointError, DivergenceError, RecipeError, TrainerError
from tenth.trainer.generate import complete
from tenth.trainer.held_out import held_out_answers, held_out_texts
from trainer.tiny import TINY, dying

Supervise = Callable[..., FakeSupervisor]
Json = dict[str, Any]

RECIPE = TINY.replace("context = 32", "context = 48").replace("batch = 4", "batch = 2")
PIECES = RECIPE.replace("[train]", "[train]\naccumulate = 2\nprecision = 'bfloat16'")
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ANSWERS = [{"prompt": f"{n}:", "completion": f" {word}."} for n, word in enumerate(NUMBERS * 4)]
PAIRS = [{"prompt": f"{n}:", "chosen": f" {word}.", "rejected": f" {word}s!"}
         for n, word in enumerate(NUMBERS + NUMBERS[:6])]  # fmt: skip
THUMBS = [{"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
          for row in PAIRS[:12] for side in ("chosen", "rejected")]  # fmt: skip
MESSAGES = [{"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": word}]}
            for n, word in enumerate(NUMBERS)]  # fmt: skip
ROWS = {"sft": ANSWERS, "dpo": PAIRS, "kto": THUMBS}


def here(supervisor: FakeSupervisor) -> Outcome:
    """One lease in this process."""
    train = getattr(importlib.import_module(f"tenth.trainer.{supervisor.phase}"), supervisor.phase)
    return supervisor.in_this_process(lambda run: train(run, time.monotonic()))


def write(path: Path, rows: list[Json]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def batch(supervisor: FakeSupervisor, rows: list[Json]) -> str:
    """Seal a batch of feedback; returns its digest."""
    written = write(supervisor.run / "feedback" / "new", rows)
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    written.rename(written.with_name(f"{digest}.jsonl"))
    return digest


def only(supervisor: FakeSupervisor, listing: Path, name: str) -> None:
    """List the files whose name holds `name`."""
    write_listing(supervisor.root, listing)
    listing.write_text("".join(line for line in listing.read_text().splitlines(True) if name in line))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a phase of pretraining."""
    root, run = (tmp_path_factory.mktemp(name) for name in ("root", "run"))
    (root / "a.txt").write_text("".join(f"{n}: {word}\n" for n, word in enumerate(NUMBERS * 9)))
    (run / "recipe.toml").write_text(RECIPE)
    listing = write_listing(root, run / "data.jsonl")
    supervisor = FakeSupervisor(run, run / "recipe.toml", listing, root, of=1)
    here(supervisor)
    assert supervisor.resume is not None
    return supervisor.resume


@pytest.fixture
def begin(tmp_path: Path, base: Path) -> Callable[..., FakeSupervisor]:
    """A run that has come to the first tenth of a phase: `begin("sft", "a", of=3, rows=..., recipe=...)`."""

    def make(phase: str, name: str = "a", of: int = 3, recipe: str = RECIPE, **more: Any) -> FakeSupervisor:
        run, root = tmp_path / name, tmp_path / "root"
        run.mkdir()
        rows = more.pop("rows", ROWS.get(phase))
        if rows:
            write(root / "rows.jsonl", rows)
        root.mkdir(exist_ok=True)
        (run / "tuning.toml").write_text(recipe)
        listing = write_listing(root, run / f"data.{phase}.jsonl")
        return FakeSupervisor(run, run / "tuning.toml", listing, root, of=of, phase=phase, resume=base, **more)

    return make


def weights(supervisor: FakeSupervisor) -> bytes:
    assert supervisor.resume is not None
    return b"".join((supervisor.resume / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer"))


@pytest.mark.parametrize(("phase", "recipe"), [("sft", PIECES), ("dpo", PIECES), ("kto", RECIPE), ("kto", PIECES)])
def test_an_epoch_in_tenths_is_the_epoch_in_one(begin: Any, phase: str, recipe: str) -> None:
    whole, parts = begin(phase, "whole", of=1, recipe=recipe), begin(phase, "parts", recipe=recipe)
    outcome = here(whole)
    for _ in range(3):
        torch.rand(3)  # whatever else the process did
        here(parts)
    assert weights(whole) == weights(parts)
    losses = [frame["loss"] for frame in outcome.of("progress") if frame["loss"] is not None]
    assert losses[-1] < losses[0]
    assert not list(whole.work.rglob("*.safetensors"))  # no weights lie about after a tenth


@pytest.mark.parametrize("phase", ["sft", "dpo", "kto"])
def test_cut_off_in_the_middle_of_a_tenth_it_ends_the_same(
    begin: Any, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, cut = begin(phase, "quiet", of=2), begin(phase, "cut", of=2)
    for supervisor in (quiet, quiet, cut):
        here(supervisor)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "report", dying(Run.report, after=1))
        with pytest.raises(RuntimeError, match="cut off"):
            here(cut)
    here(cut)
    assert weights(quiet) == weights(cut)


def test_the_reference_reads_a_pair_once_for_all_epochs(begin: Any) -> None:
    """Interrupted or not, and whichever batches it stands in later."""
    whole, parts = begin("dpo", "whole", of=1, epochs=2), begin("dpo", "parts", epochs=2)
    epochs = [[here(one) for _ in range(count)] for one, count in ((whole, 1), (parts, 3), (whole, 1), (parts, 3))]
    assert weights(whole) == weights(parts)
    read = [any("reference" in frame["metrics"] for one in epoch for frame in one.of("progress")) for epoch in epochs]
    assert read == [True, True, False, False]
    first, last = (tenths[0].of("progress")[-1] for tenths in (epochs[0], epochs[2]))
    assert first["flop"] == pytest.approx(last["flop"] * 4 / 3, rel=0.2), "no more is claimed than was done"


def test_an_answer_is_learned_and_ended(begin: Any, base: Path) -> None:
    supervisor = begin("sft", of=1, epochs=6)
    for _ in range(6):
        here(supervisor)
    assert supervisor.resume is not None
    text = tokenizer.from_file(supervisor.resume / "tokenizer.json")
    before, after = (complete(checkpoint.load_model(one), text, ["7:"], 12)[0] for one in (base, supervisor.resume))
    assert after == " eight."
    assert before != after


def test_the_chosen_answer_becomes_likelier(begin: Any) -> None:
    supervisor = begin("dpo", of=1, recipe=RECIPE + "[optim]\nscale = 0.5\n")
    metrics = here(supervisor).of("progress")[-1]["metrics"]
    assert metrics["margin"] > 0
    assert {"preferred", "grad_norm", "mfu"} <= metrics.keys()


@pytest.mark.parametrize("phase", ["sft", "dpo", "kto"])
def test_feedback_enters_at_a_gate_and_what_was_read_stays_read(begin: Any, phase: str) -> None:
    rows = ROWS[phase]
    supervisor = begin(phase, rows=rows[:8])
    here(supervisor)
    digest = batch(supervisor, rows[8:])
    supervisor.recipe.write_text(RECIPE + f"[feedback]\nbatches = ['{digest}']\n")
    for _ in range(2):
        outcome = here(supervisor)
    seen = checkpoint.load(supervisor.resume).state
    assert {one for one, _ in seen["rows"]["files"]} > {digest}
    assert seen["rows"]["report"]["rows"] == len(rows)
    assert outcome.of("done")[0]["position"]["step"] == seen["steps_per_epoch"]
    assert (supervisor.resume / "order.bin").stat().st_size == 0  # every row was read once
    if phase != "sft":
        assert seen["steps_per_epoch"] == -(-len(rows) // 2)


def test_a_file_that_is_gone_is_read_no_more(begin: Any) -> None:
    supervisor = begin("dpo", rows=PAIRS[:10])
    write(supervisor.root / "other.jsonl", PAIRS[10:])
    supervisor.data = write_listing(supervisor.root, supervisor.run / "both.jsonl")
    here(supervisor)
    (supervisor.root / "other.jsonl").unlink()
    shutil.rmtree(supervisor.work / "cache")
    supervisor.data = write_listing(supervisor.root, supervisor.run / "one.jsonl")
    here(supervisor)
    end = here(supervisor)
    assert 5 <= end.of("done")[0]["position"]["step"] < 9


def test_an_empty_file_holds_the_place_of_judgements_to_come(begin: Any, tmp_path: Path) -> None:
    write(tmp_path / "root" / "pairs.jsonl", [])
    supervisor = begin("dpo", of=1, rows=None)
    with pytest.raises(TrainerError, match="neither data nor feedback"):
        here(supervisor)
    supervisor.recipe.write_text(RECIPE + f"[feedback]\nbatches = ['{batch(supervisor, PAIRS[:6])}']\n")
    assert here(supervisor).of("done")[0]["position"]["step"] == 3


def test_feedback_that_is_not_what_was_agreed_is_refused(begin: Any) -> None:
    supervisor = begin("dpo")
    digest = batch(supervisor, PAIRS[:5])
    supervisor.recipe.write_text(RECIPE + f"[feedback]\nbatches = ['{digest}']\n")
    write(supervisor.run / "feedback" / f"{digest}.jsonl", PAIRS[:4])
    with pytest.raises(TrainerError, match=f"{digest} was agreed"):
        here(supervisor)
    (supervisor.run / "feedback" / f"{digest}.jsonl").unlink()
    with pytest.raises(TrainerError, match="No such file"):
        here(supervisor)


@pytest.mark.parametrize("rows", [ANSWERS, MESSAGES], ids=["answers", "messages"])
@pytest.mark.parametrize("form", ["jsonl.gz", "parquet", "arrow"])
def test_every_form_of_rows_is_read_alike(begin: Any, form: str, rows: list[Json]) -> None:
    plain, other = begin("sft", "plain", of=1, rows=rows), begin("sft", "other", of=1, rows=rows)
    path = other.root / f"rows.{form}"
    if form == "jsonl.gz":
        path.write_bytes(gzip.compress((other.root / "rows.jsonl").read_bytes()))
    else:
        pa = pytest.importorskip("pyarrow")
        table = pa.Table.from_pylist(rows)
        if form == "parquet":
            importlib.import_module("pyarrow.parquet").write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table)
    here(plain)
    (other.root / "rows.jsonl").unlink()
    other.data = write_listing(other.root, other.run / "data.jsonl")
    here(other)
    assert weights(plain) == weights(other)


def test_messages_train_what_the_assistant_says_and_make_a_model_one_can_talk_with(begin: Any) -> None:
    supervisor = begin("sft", of=2, rows=MESSAGES)
    here(supervisor), here(supervisor)
    state = checkpoint.load(supervisor.resume).state
    assert state["rows"]["report"]["conversations"] == len(NUMBERS)
    assert "assistant" in (supervisor.resume / "chat_template.jinja").read_text()


def test_phases_follow_one_another_and_a_model_may_be_brought(begin: Any, base: Path) -> None:
    supervisor = begin("sft", of=1)
    here(supervisor)
    tuned = load_file(supervisor.resume / "model.safetensors")
    write(supervisor.root / "pairs.jsonl", PAIRS)
    listing = supervisor.run / "data.dpo.jsonl"
    only(supervisor, listing, "pairs")
    supervisor.go_on_to("dpo", supervisor.recipe, listing)
    here(supervisor)
    reference = load_file(supervisor.resume / "reference.safetensors")
    assert all(torch.equal(tuned[name], reference[name]) for name in tuned)
    (supervisor.root / "a.txt").write_text("more text to read\n" * 40)
    only(supervisor, listing, "a.txt")
    supervisor.go_on_to("pretrain", supervisor.recipe, listing)
    assert here(supervisor).of("done")[0]["position"]["step"] > 0
    shutil.copytree(base, supervisor.root / "brought")
    other = begin("dpo", "other", of=1, recipe=RECIPE.replace("[model]", "[model]\ninit = 'brought'"))
    other.resume = None
    only(other, other.data, "pairs")
    here(other)
    assert (other.resume / "reference.safetensors").exists()


@pytest.mark.parametrize(
    ("phase", "recipe", "rows", "said"),
    [
        ("sft", RECIPE, [{"prompt": "a", "answer": "b"}], "its columns are prompt, answer"),
        ("dpo", RECIPE, ANSWERS, "for dpo give prompt, chosen, rejected"),
        ("kto", RECIPE, ANSWERS, "for kto give prompt, completion, label"),
        ("sft", RECIPE, [{"prompt": "a", "completion": " "}], "rows.jsonl#1: completion is empty"),
        ("dpo", RECIPE, [*PAIRS, {"prompt": "a", "chosen": "b", "rejected": ""}], "rows.jsonl#19: rejected is empty"),
        ("sft", RECIPE, [{"prompt": "a" * 60, "completion": "b"}], "fills the 48 tokens of the context"),
        ("sft", RECIPE, [{"prompt": 3, "completion": "b"}], "prompt and completion are int and str"),
        ("sft", RECIPE, [{"messages": [{"role": "user", "content": "a"}]}], "no message is by the assistant"),
        ("sft", RECIPE, [{"messages": "a"}], "no list of role and content"),
        ("dpo", RECIPE, [{**PAIRS[0], "share": float("nan")}], "share is nan"),
        ("dpo", RECIPE, [{**PAIRS[0], "share": 2}], "share is 2"),
        ("dpo", RECIPE, [{**PAIRS[0], "share": 0.5}], "has none"),
        ("kto", RECIPE, [{"prompt": "a", "completion": "b", "label": 1}], "label is 1"),
        ("kto", RECIPE.replace("batch = 2", "batch = 1"), THUMBS, "answers of one batch"),
        ("sft", RECIPE, [], "neither data nor feedback"),
        ("dpo", RECIPE.replace("[train]", "[train]\nranks = 2"), PAIRS, "2 ranks in a phase that one process trains"),
        ("sft", RECIPE.replace('"bytes"', '"other.json"'), ANSWERS, "the model has another"),
        ("sft", RECIPE.replace("width = 32", "width = 48"), ANSWERS, "width 32 there and 48 in the recipe"),
        ("pretrain", RECIPE + f"[feedback]\nbatches = ['{'0' * 64}']\n", ANSWERS, "in a phase of pretraining"),
        ("sft", RECIPE + "[feedback]\nbatches = ['../x']\n", ANSWERS, "feedback.batches"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused_in_three_parts(
    begin: Any, phase: str, recipe: str, rows: list[Json], said: str
) -> None:
    supervisor = begin(phase, recipe=recipe, rows=rows)
    other = tokenizer.train_bpe(["another tokenizer " * 20], 300)
    (supervisor.root / "other.json").write_text(other.to_json())
    with pytest.raises(TrainerError) as caught:
        here(supervisor)
    assert said in str(caught.value)
    assert caught.value.refused
    assert caught.value.do
    assert not list(supervisor.work.glob("cache/*.partial"))


def test_no_phase_of_rows_begins_from_nothing(begin: Any) -> None:
    supervisor = begin("sft")
    supervisor.resume = None
    with pytest.raises(RecipeError, match="no model that sft could go on from"):
        here(supervisor)


def test_weights_that_are_no_numbers_are_refused_and_so_is_a_loss_that_is_none(
    begin: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    supervisor = begin("dpo", of=1, recipe=RECIPE.replace("[train]", "[train]\nskip_nonfinite = 3"))
    supervisor.resume = shutil.copytree(base, tmp_path / "broken")
    broken = load_file(base / "model.safetensors")
    broken["model.norm.weight"][0] = torch.nan
    save_file(broken, supervisor.resume / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        here(supervisor)
    supervisor.resume = base
    monkeypatch.setattr("tenth.trainer.dpo.dpo_losses", lambda chances, *_: chances.sum(1) * torch.nan)
    with pytest.raises(DivergenceError, match="3 steps in a row"):
        here(supervisor)


def test_a_cache_that_was_damaged_is_built_again(begin: Any) -> None:
    whole, parts = begin("sft", "whole", of=1), begin("sft", "parts", of=2)
    here(whole), here(parts)
    (cache,) = parts.work.glob("cache/rows-*")
    (cache / "tokens.bin").write_bytes(b"\0" * (cache / "tokens.bin").stat().st_size)
    here(parts)
    assert weights(whole) == weights(parts)


@pytest.mark.parametrize(("phase", "wished"), [("sft", ("1",)), ("sft", ()), ("dpo", ()), ("kto", ("1",))])
def test_two_answers_to_a_prompt_of_its_own_are_shown(begin: Any, phase: str, wished: tuple[str, ...]) -> None:
    """Held out if there is such a row; what is trained is the same bits as when nobody watches."""
    watched, alone = begin(phase, "watched", of=1, samples_per_minute=1e6, prompts=wished), begin(phase, of=1)
    shown = here(watched).of("sample")
    here(alone)
    assert weights(watched) == weights(alone)
    own = [frame for frame in shown if frame["prompt"] not in wished]
    assert [frame["prompt"] for frame in own[::2]] == [frame["prompt"] for frame in own[1::2]]
    assert len(own) >= 4
    assert len(shown) == len(own) + len(own) // 2 * len(wished)
    held_out = held_out_texts(watched.resume, watched.data, watched.root, (), 99, 99) if phase == "sft" else []
    prompts = {row["prompt"] for row in ROWS[phase]}
    assert {frame["prompt"] for frame in own} <= ({text.split(":")[0] + ":" for _, text in held_out} or prompts)


def test_held_out_rows_are_evidence(begin: Any) -> None:
    rows = [{"prompt": f"{n}:", "completion": f" {n * 7}"} for n in range(60)]
    supervisor = begin("sft", of=1, rows=rows, recipe=RECIPE.replace("held_out = 0.1", "held_out = 0.3"))
    here(supervisor)
    found = held_out_texts(supervisor.resume, supervisor.data, supervisor.root, ("rows.jsonl#1",), 5, 100)
    names = [document.path for document, _ in found]
    assert 5 < len(found) < 30
    assert "rows.jsonl#1" not in names
    assert all(text == (row["prompt"] + row["completion"])[:5] for name, (_, text) in zip(names, found, strict=True)
               for row in [rows[int(name.partition("#")[2]) - 1]])  # fmt: skip
    assert held_out_texts(supervisor.resume, supervisor.data, supervisor.root, ("*",), 5, 100) == []


@pytest.mark.parametrize("form", ["completion", "messages"])
def test_evidence_of_held_out_rows_is_of_their_answers(begin: Any, base: Path, tmp_path: Path, form: str) -> None:
    """Prompts are read, through the template too, and what carries loss counts; completions answer whole prompts."""
    rows = ANSWERS if form == "completion" else [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]},
                      {"role": "user", "content": "?"}, {"role": "assistant", "content": "no"}]} for row in ANSWERS
    ]  # fmt: skip
    supervisor = begin("sft", of=1, rows=rows, recipe=RECIPE.replace("held_out = 0.1", "held_out = 0.3"))
    here(supervisor)
    sealed = Sealed(
        run="r", gate=1, checkpoint=supervisor.resume, previous=base, data=supervisor.data, root=supervisor.root,
        recipe=supervisor.recipe, work=supervisor.work, prompts=("1",), out=tmp_path / "out",
    )  # fmt: skip
    sealed.out.mkdir()
    held_out = held_out_answers(supervisor.resume, supervisor.data, supervisor.root, (), 5)
    model = checkpoint.load_model(supervisor.resume)
    for (document, marked), got in zip(held_out, bpb.score(supervisor.resume, held_out), strict=True):
        ids = torch.from_numpy((marked >> 1).astype("int64"))
        logits = model.logits(model(ids[None, :-1]))[0]
        nats = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none").detach()
        assert got.nats == pytest.approx(float(nats[(marked[1:] & 1).astype(bool)].sum()), rel=0.02)
        row = ANSWERS[int(document.path.partition("#")[2]) - 1]
        assert got.bytes == len(row["completion"] + ("no" if form == "messages" else ""))
    bpb.main(sealed)
    said = json.loads((sealed.out / "summary.json").read_text())
    assert "held-out answers (-" in said["headline"], "what was learned is likelier than before the phase"
    completions.main(sealed)
    first, *found = json.loads((sealed.out / "completions.json").read_text())
    assert (first["prompt"], first["truth"], len(found)) == ("1", "", 4)
    asked = {f"{row['prompt']}{row['completion']}" for row in ANSWERS}
    plain = [one["prompt"].removeprefix("user\n").replace("assistant\n", "") + one["truth"] for one in found]
    assert all(one in asked for one in plain), plain


def test_at_a_phase_s_last_gate_evidence_reads_the_listing_of_that_phase(base: Path, tmp_path: Path) -> None:
    for name in ("data.pretrain.jsonl", "data.pretrain.2.jsonl", "data.pretrain.10.jsonl", "data.sft.jsonl"):
        (tmp_path / name).touch()
    facts = {"run": "x", "gate": 10, "checkpoint": str(base), "previous": None, "prompts": [],
             "data": str(tmp_path / "data.sft.jsonl"), "root": "", "recipe": "", "work": ""}  # fmt: skip
    (tmp_path / "sealed.json").write_text(json.dumps(facts))
    sealed = read_sealed({"TENTH_SEALED": str(tmp_path / "sealed.json"), "TENTH_OUT": str(tmp_path)})
    assert sealed.data.name == "data.pretrain.10.jsonl"


def test_packs_are_shared_among_ranks(begin: Any) -> None:
    recipe = RECIPE.replace("[train]", "[train]\nprecision = 'float32'")
    alone, both = begin("sft", "alone", of=4, recipe=recipe), begin("sft", "both", of=4)
    both.recipe.write_text(recipe.replace("[train]", "[train]\nranks = 2"))
    losses = []
    for supervisor in (alone, both):
        outcome = supervisor.one_tenth()
        assert outcome.status == 0, outcome.output
        losses.append([frame["loss"] for frame in outcome.of("progress")])
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-3, atol=1e-3)


def test_under_the_law_feedback_joins_at_a_gate_and_evidence_stands(live: Callable[..., Live], base: Path) -> None:
    panels = [(name, [PYTHON, "-m", "tenth.evidence", name]) for name in ("bpb", "diff")]
    run = live(
        command=[PYTHON, "-m", "tenth.trainer", "dpo", "recipe.toml"], evidence=panels, env={"OMP_NUM_THREADS": "1"}
    )
    run.recipe = RECIPE.replace("[model]", "[model]\ninit = 'brought'")
    run.documents = {"pairs.jsonl": "".join(json.dumps(row) + "\n" for row in PAIRS)}
    shutil.copytree(base, run.root / "brought")
    run.start()
    run.until("GATE", seconds=100)
    run.consent()
    run.until("GATE", gate=1, seconds=100)
    rows = "".join(json.dumps({**row, "share": 0.75}) + "\n" for row in PAIRS).encode()
    digest = hashlib.sha256(rows).hexdigest()
    (run.path / "feedback").mkdir(exist_ok=True)
    (run.path / "feedback" / f"{digest}.jsonl").write_bytes(rows)
    run.say("adjusted", "ada", patch={"recipe": {"feedback.batches": [digest]}})
    run.until("GATE", seconds=100)
    run.consent()
    run.until("GATE", gate=2, seconds=100)
    state = json.loads((run.path / "checkpoints" / "02" / "state.json").read_text())
    assert state["rows"]["report"]["rows"] == 2 * len(PAIRS)
