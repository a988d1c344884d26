"""Models in and out: `transformers` computes what we compute, and what is not exactly ours is refused by name."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from client.fake_supervisor import FakeSupervisor
from tenth.trainer import interchange, tokenizer
from tenth.trainer.errors import CheckpointError
from tenth.trainer.generate import generate
from tenth.trainer.model import Shape, Transformer
from tenth.trainer.pretrain import pretrain

TEXT = tokenizer.train_bpe(["def main(): def other(): return main é€ " * 50], 300)
SHAPE = Shape(
    vocabulary=TEXT.vocabulary, layers=2, width=32, heads=4, kv_heads=4, head_width=8, mlp_width=48, context=64
)
SHAPES = [SHAPE, replace(SHAPE, kv_heads=2, head_width=24, tied=True, rope_base=777.0)]
ABOUT = {"run": "poet-7f3a9c21", "gate": "3"}


def folder_of(shape: Shape, folder: Path) -> Path:
    """As a checkpoint has it: config, weights, tokenizer."""
    made, generator = Transformer(shape), torch.Generator().manual_seed(0)
    made.initialise(generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    folder.mkdir()
    save_file({name: p.detach() for name, p in made.named_parameters()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(shape.hugging_face_config(TEXT.separator)))
    (folder / "tokenizer.json").write_text(TEXT.to_json())
    return folder


def change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return folder_of(SHAPE, tmp_path / "ours")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 20_000])
def test_transformers_computes_what_we_compute(
    shape: Shape, shard_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(interchange, "SHARD_BYTES", shard_bytes)
    source = interchange.convert(folder_of(shape, tmp_path / "ours"), tmp_path / "theirs", ABOUT)
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists() == (shard_bytes < 5_000_000_000)
    ours = source.model()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32).eval()
    ids = torch.randint(0, shape.vocabulary, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours(ids)), theirs(ids).logits, rtol=0, atol=1e-4)
        written = theirs.generate(ids[:1, :7], max_new_tokens=20, do_sample=False)[0, 7:].tolist()
    mine = generate(ours, [ids[0, :7].tolist()], 20, stop=source.ends)[0]
    assert mine == [token for token in written if token != TEXT.separator]
    assert interchange.read(tmp_path / "theirs").shape == shape


def test_transformers_tokenizes_as_we_do(ours: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    interchange.convert(ours, tmp_path / "theirs", ABOUT)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("def main():\n    return é€ 😀", "", "  two  spaces \n\n", "x<|endoftext|>y"):
        ids = TEXT.encode([text])[0]
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text
    assert theirs.eos_token_id == TEXT.separator


def test_what_transformers_saves_is_read_exactly(ours: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(ours, dtype=torch.bfloat16)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="40KB")
    shutil.copyfile(ours / "tokenizer.json", tmp_path / "theirs" / "tokenizer.json")
    back, before = interchange.read(tmp_path / "theirs"), load_file(ours / "model.safetensors")
    assert back.shape == SHAPE
    assert back.weights.keys() == before.keys()
    assert all(torch.equal(back.weights[name], before[name].bfloat16().float()) for name in before)


def test_there_and_back_changes_no_bit(ours: Path, tmp_path: Path) -> None:
    interchange.convert(ours, tmp_path / "there", ABOUT)
    interchange.convert(tmp_path / "there", tmp_path / "back", {})
    assert interchange.digest(tmp_path / "there") == interchange.digest(tmp_path / "back")
    assert "poet-7f3a9c21" in (tmp_path / "there" / "README.md").read_text()
    assert "Not known" in (tmp_path / "back" / "README.md").read_text()
    with pytest.raises(CheckpointError, match="exists"):
        interchange.convert(ours, tmp_path / "there", ABOUT)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_type": "llama"}, "model_type"), ({"model_type": "qwen3_moe"}, "model_type"),
        ({"attention_bias": True}, "attention_bias"), ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rms_norm_eps": 1e-5}, "rms_norm_eps"), ({"use_sliding_window": True}, "use_sliding_window"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, "rope_parameters"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"), ({"hidden_size": "32"}, "hidden_size"),
        ({"num_key_value_heads": 3}, "sizes"), ({"vocab_size": 200}, "tokenizer.json has"),
        ({"intermediate_size": 64}, "mlp.down_proj"),
    ],
)  # fmt: skip
def test_what_is_not_our_transformer_is_refused_by_name(ours: Path, fields: dict[str, Any], named: str) -> None:
    change(ours, **fields)
    with pytest.raises(CheckpointError) as caught:
        interchange.read(ours)
    assert named in caught.value.found
    assert caught.value.do


def damaged(folder: Path, how: str) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    if how == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "garbage":
        path.write_bytes(b"\x80\x04not safetensors")
    elif how == "pickled":
        path.rename(folder / "pytorch_model.bin")
    elif how == "outside":
        path.unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../ours/x"}}))
    else:
        if how == "missing":
            del weights["model.norm.weight"]
        elif how == "extra":
            weights["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
        elif how == "infinite":
            weights["model.norm.weight"][3] = torch.inf
        elif how == "quantised":
            weights["model.norm.weight"] = torch.zeros(32, dtype=torch.int8)
        save_file(weights, path)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("torn", "model.safetensors"), ("garbage", "model.safetensors"), ("pickled", "would run the code"),
        ("outside", "outside its folder"), ("missing", "model.norm.weight is missing"), ("extra", "q_proj.bias"),
        ("infinite", "not finite"), ("quantised", "int8"),
    ],
)  # fmt: skip
def test_damaged_weights_are_refused(ours: Path, how: str, named: str) -> None:
    damaged(ours, how)
    with pytest.raises(CheckpointError, match=named):
        interchange.read(ours)


def test_nothing_is_left_of_a_conversion_that_was_refused(ours: Path, tmp_path: Path) -> None:
    damaged(ours, "missing")
    with pytest.raises(CheckpointError):
        interchange.convert(ours, tmp_path / "out", ABOUT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "other", [replace(SHAPE, layers=1), replace(SHAPE, context=128), replace(SHAPE, rope_base=5.0)]
)
def test_a_fresh_model_begins_only_from_its_own_shape(ours: Path, other: Shape) -> None:
    with pytest.raises(CheckpointError) as caught:
        interchange.begin(Transformer(other), interchange.read(ours), ours / "tokenizer.json")
    key = next(key for key, value in asdict(SHAPE).items() if value != asdict(other)[key])
    assert f"{key} {asdict(SHAPE)[key]} there" in caught.value.found
    assert "depth = 2, width = 32" in caught.value.do


def test_a_shorter_context_may_be_trained(ours: Path) -> None:
    made = Transformer(replace(SHAPE, context=16))
    interchange.begin(made, interchange.read(ours), ours / "tokenizer.json", interchange.digest(ours))
    assert torch.equal(made.model.norm.weight, load_file(ours / "model.safetensors")["model.norm.weight"])


def test_other_weights_or_another_tokenizer_than_agreed_are_refused(ours: Path, tmp_path: Path) -> None:
    source = interchange.read(ours)
    with pytest.raises(CheckpointError, match=interchange.digest(ours)):
        interchange.begin(Transformer(SHAPE), source, ours / "tokenizer.json", "0" * 64)
    (tmp_path / "other.json").write_text(tokenizer.byte_tokenizer().to_json())
    with pytest.raises(CheckpointError, match="another tokenizer"):
        interchange.begin(Transformer(SHAPE), source, tmp_path / "other.json")


RECIPE = """
[model]
depth = 2
width = 32
heads = 4
head_width = 8
mlp_width = 48
context = 32
init = "base"
init_sha256 = "{digest}"
[data]
tokenizer = "base/tokenizer.json"
held_out = 0.1
[train]
batch = 4
threads = 1
precision = "float32"
"""


@pytest.mark.parametrize("padding", [0, 7])
def test_training_goes_on_from_imported_weights(
    supervise: Callable[..., FakeSupervisor], corpus: Path, padding: int
) -> None:
    # Padding: more entries in the model than in its tokenizer, as many published models have.
    base = folder_of(replace(SHAPE, vocabulary=SHAPE.vocabulary + padding), corpus / "base")
    supervisor = supervise("imported", recipe=RECIPE.format(digest=interchange.digest(base)), of=2)
    first = supervisor.in_this_process(lambda run: pretrain(run, time.monotonic()))
    made = interchange.read(base).model()
    with (corpus / "data" / "00.txt").open() as file:
        ids = torch.tensor(TEXT.encode([file.read()]))[:, :33]
    with torch.no_grad():
        near = torch.nn.functional.cross_entropy(made.logits(made(ids[:, :-1]))[0], ids[0, 1:]).item()
    assert first.of("progress")[0]["loss"] == pytest.approx(near, rel=0.15)  # far from ln V, which a fresh model has
    shutil.rmtree(base)  # later leases go on from the sealed checkpoint alone
    second = supervisor.in_this_process(lambda run: pretrain(run, time.monotonic()))
    assert second.of("done")
    assert supervisor.resume is not None
    assert interchange.read(supervisor.resume).shape.vocabulary == SHAPE.vocabulary + padding
