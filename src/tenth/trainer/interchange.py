"""Models in and out in Hugging Face's layout: what is written loads in `transformers`, what is read is ours exactly.

Read is Qwen3's dense decoder and nothing that only looks like it: a field of config.json that would change a logit, and
that this transformer has no room for, is refused by its name. Pickled weights are never opened: unpickling runs code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import tokenizer
from .errors import CheckpointError
from .model import NORM_EPSILON, Shape, Transformer
from .tokenizer import Text

SHARD_BYTES = 5_000_000_000
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
KEPT = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja")
"""Taken over from the source where it has them."""
NOT_KNOWN = "Not known: it was converted from a folder that no log speaks of.\n"

# What a Qwen3 config may say beyond its sizes: the values that mean "nothing of the kind".
PLAIN: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",), "attention_bias": (False, None), "mlp_bias": (False, None),
    "rms_norm_eps": (NORM_EPSILON,), "use_sliding_window": (False, None), "rope_scaling": (None,),
    "quantization_config": (None,),
    "partial_rotary_factor": (1, 1.0, None),
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A folder that was read."""

    folder: Path
    shape: Shape
    weights: dict[str, Tensor]  # float32, under Hugging Face's names, a tied head left out
    text: Text
    ends: tuple[int, ...]  # tokens at which writing ends

    def model(self) -> Transformer:
        made = Transformer(self.shape)
        fill(made, self.weights, str(self.folder))
        return made.eval()


def read(folder: Path) -> Source:
    """A checkpoint of ours or a Hugging Face folder. Raises CheckpointError for what cannot be read exactly."""
    config = _json(folder / "config.json")
    shape = shape_of(config, folder)
    text = tokenizer.from_file(folder / "tokenizer.json")
    if text.vocabulary > shape.vocabulary:
        raise _refused(
            f"{folder}: tokenizer.json has {text.vocabulary} entries, the model {shape.vocabulary}",
            "use the tokenizer that the model was trained with",
        )
    weights = read_weights(folder)
    if shape.tied:
        weights.pop("lm_head.weight", None)
    check(shape, weights, folder)
    said = _json(folder / "generation_config.json") if (folder / "generation_config.json").exists() else {}
    ends = said.get("eos_token_id", config.get("eos_token_id"))
    listed = ends if isinstance(ends, list) else [ends]
    return Source(folder, shape, weights, text, tuple({*(n for n in listed if isinstance(n, int)), text.separator}))


def shape_of(config: Mapping[str, Any], folder: Path) -> Shape:
    """The shape that config.json describes, if it is one of ours in every respect."""
    if config.get("model_type") != "qwen3":
        raise _refused(
            f"{folder}: model_type is {config.get('model_type')!r}",
            'only "qwen3" (dense) is the same transformer; train others with their own code and tenth.attach()',
        )
    rope = config.get("rope_parameters") or {}
    for key, allowed in PLAIN.items():
        if config.get(key, allowed[0]) not in allowed and not _plain_rope(key, config[key]):
            raise _unsupported(folder, key, config[key])
    if not _plain_rope("rope_scaling", rope):
        raise _unsupported(folder, "rope_parameters", rope)
    if any(kind != "full_attention" for kind in config.get("layer_types") or ()):
        raise _unsupported(folder, "layer_types", "not full_attention in every layer")
    theta = rope.get("rope_theta", config.get("rope_theta", 10_000.0))
    try:
        shape = Shape.from_hugging_face_config({"tie_word_embeddings": False, **config, "rope_theta": theta})
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(f"{folder}/config.json: {error}", "give the config.json that belongs to the weights") from error
    sizes = (shape.vocabulary, shape.layers, shape.width, shape.heads, shape.kv_heads, shape.mlp_width, shape.context)
    if min(sizes) < 1 or shape.heads % shape.kv_heads or shape.head_width % 2 or shape.head_width < 2:
        raise _refused(f"{folder}/config.json: sizes that fit no model: {shape}", "give the right config.json")
    return shape


def _plain_rope(key: str, value: object) -> bool:
    """Newer configs name the ordinary rotary positions "default" instead of leaving them out."""
    if key != "rope_scaling" or not isinstance(value, Mapping):
        return False
    kind = value.get("rope_type", value.get("type", "default"))
    return kind == "default" and set(value) <= {"rope_type", "type", "rope_theta"}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor in float32, from one file or from several with an index."""
    tensors: dict[str, Tensor] = {}
    for name, wanted in _files(folder):
        found = read_file(folder / name)
        if missing := sorted(wanted - found.keys()):
            raise _refused(f"{folder / name} has no {missing[0]}, which the index names", "fetch all parts again")
        tensors |= found
    return tensors


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of one file in float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _refused(f"{path}: {error}", "fetch the file again, or go back to an earlier one") from error
    for key, tensor in found.items():
        if not tensor.is_floating_point():
            raise _refused(f"{path}: {key} holds {tensor.dtype}", "give weights that are not quantised")
    return {key: tensor.float() for key, tensor in found.items()}


def _files(folder: Path) -> Iterator[tuple[str, set[str]]]:
    """Names of the weight files, each with the tensors that the index promises in it."""
    if (folder / WEIGHTS).exists():
        yield WEIGHTS, set()
        return
    if not (folder / INDEX).exists():
        pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt"))
        found = f"{pickled[0]} is pickled: opening it would run the code in it" if pickled else f"there is no {WEIGHTS}"
        raise _refused(f"{folder}: {found}", "have the weights saved as safetensors")
    places = _json(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise _refused(f"{folder / INDEX} has no weight_map", "fetch the index again")
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise _refused(f"{folder / INDEX} names {name!r}, outside its folder", "do not trust this folder")
        yield name, {key for key, place in places.items() if place == name}


def check(shape: Shape, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Raise CheckpointError naming the first tensor that is missing, too many, of another shape, or not finite."""
    wanted = sizes(shape)
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights:
            raise _refused(f"{folder}: {name} is missing", "fetch the weights again: the folder is not whole")
        if name not in wanted:
            raise _refused(f"{folder}: {name} is no part of this transformer", "only plain Qwen3 models can be read")
        if tuple(weights[name].shape) != wanted[name]:
            raise _refused(
                f"{folder}: {name} is {tuple(weights[name].shape)}, and config.json says {wanted[name]}",
                "give the config.json that belongs to the weights",
            )
        if not bool(weights[name].isfinite().all()):
            raise _refused(f"{folder}: {name} has values that are not finite", "go back to an earlier checkpoint")


def sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and size of every tensor, a tied head left out."""
    width, inner, kv_inner = shape.width, shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    block = {
        "input_layernorm": (width,), "post_attention_layernorm": (width,),
        "self_attn.q_proj": (inner, width), "self_attn.k_proj": (kv_inner, width),
        "self_attn.v_proj": (kv_inner, width), "self_attn.o_proj": (width, inner),
        "self_attn.q_norm": (shape.head_width,), "self_attn.k_norm": (shape.head_width,),
        "mlp.gate_proj": (shape.mlp_width, width), "mlp.up_proj": (shape.mlp_width, width),
        "mlp.down_proj": (width, shape.mlp_width),
    }  # fmt: skip
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocabulary, width)}
    found |= {f"model.layers.{n}.{name}.weight": size for n in range(shape.layers) for name, size in block.items()}
    found["model.norm.weight"] = (width,)
    return found if shape.tied else found | {"lm_head.weight": (shape.vocabulary, width)}


@torch.no_grad()
def fill(model: Transformer, weights: Mapping[str, Tensor], where: str) -> None:
    """Copy weights into a model of the same shape."""
    check(model.shape, weights, Path(where))
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


def begin(model: Transformer, source: Source, tokens: Path, wanted: str = "") -> None:
    """Fill a fresh model from `source`. Raises CheckpointError unless shape, tokenizer and weights are the ones wanted.

    The context alone may be shorter than there. `tokens`: the tokenizer.json that the corpus was made with; `wanted`:
    the digest of the weights, or "".
    """
    theirs, ours = vars(source.shape), vars(model.shape)
    differ = [key for key in ours if ours[key] != theirs[key] and not (key == "context" and ours[key] < theirs[key])]
    if differ:
        said = ", ".join(f"{key} {theirs[key]} there and {ours[key]} in the recipe" for key in differ)
        names = {"layers": "depth"}
        table = ", ".join(f"{names.get(key, key)} = {str(value).lower()}" for key, value in theirs.items())
        raise _refused(f"{source.folder} is of another shape: {said}", f"write in [model]: {table.partition(', ')[2]}")
    if tokenizer.from_file(tokens).to_json() != source.text.to_json():
        raise _refused(
            f"{source.folder} was trained with another tokenizer than the recipe names",
            "give the path of its tokenizer.json as tokenizer in [data]",
        )
    found = digest(source.folder)
    if wanted and wanted != found:
        raise _refused(f"the weights in {source.folder} have the digest {found}", "look who changed them; do not train")
    print(f"begins from {source.folder.name}, weights {found}", flush=True)
    fill(model, source.weights, str(source.folder))


def digest(folder: Path) -> str:
    """SHA-256 over name and SHA-256 of every weight file: which weights these are."""
    whole = hashlib.sha256()
    for name, _ in _files(folder):
        with (folder / name).open("rb") as file:
            whole.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


# --- out -------------------------------------------------------------------------------------------------------------


def convert(source: Path, target: Path, about: Mapping[str, str]) -> Source:
    """Write `source` at `target` as `transformers` reads it, in float32. `about`: what the model card says of it."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise _refused(f"{target} exists", "name a folder that does not exist yet")
    found = read(source)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _write_weights(partial, found.weights)
    _write_texts(partial, found, about)
    for file in partial.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    if target.exists():
        target.rmdir()
    os.rename(partial, target)
    return found


def _write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    parts: list[dict[str, Tensor]] = [{}]
    for name, tensor in weights.items():
        if parts[-1] and sum(t.nbytes for t in parts[-1].values()) + tensor.nbytes > SHARD_BYTES:
            parts.append({})
        parts[-1][name] = tensor.contiguous()
    if len(parts) == 1:
        save_file(parts[0], folder / WEIGHTS, metadata={"format": "pt"})
        return
    names = [f"model-{n + 1:05d}-of-{len(parts):05d}.safetensors" for n in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name, metadata={"format": "pt"})
    places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    _write_json(folder / INDEX, {
        "metadata": {"total_size": sum(t.nbytes for t in weights.values())}, "weight_map": places,
    })  # fmt: skip


def _write_texts(folder: Path, found: Source, about: Mapping[str, str]) -> None:
    end = found.text.separator
    spelled = mark(found.text)
    (folder / "tokenizer.json").write_text(found.text.to_json(), "utf-8")
    config = found.shape.hugging_face_config(end)
    config["eos_token_id"] = sorted(found.ends) if len(found.ends) > 1 else end
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {
        "bos_token_id": end, "eos_token_id": config["eos_token_id"], "pad_token_id": end, "do_sample": False,
    })  # fmt: skip
    _write_json(folder / "special_tokens_map.json", {"bos_token": spelled, "eos_token": spelled, "pad_token": spelled})
    _write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": spelled, "eos_token": spelled, "pad_token": spelled,
        "model_max_length": found.shape.context, "clean_up_tokenization_spaces": False, "add_bos_token": False,
    })  # fmt: skip
    for name in KEPT:
        if (found.folder / name).is_file():
            shutil.copyfile(found.folder / name, folder / name)
    (folder / "README.md").write_text(card(found.shape, about), "utf-8")


def mark(text: Text) -> str:
    """How the separator is spelled."""
    return next(str(t["content"]) for t in json.loads(text.to_json())["added_tokens"] if t["id"] == text.separator)


def card(shape: Shape, about: Mapping[str, str]) -> str:
    """A model card: what it is, and where it came from."""
    count = sum(_product(size) for size in sizes(shape).values())
    facts = "".join(f"- {key}: `{value}`\n" for key, value in about.items())
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [tenth]\n---\n\n# A model from tenth\n\n"
        f"A decoder-only transformer in the Qwen3 layout: {count:,} parameters in float32, {shape.layers} layers "
        f"of width {shape.width}, {shape.heads} heads ({shape.kv_heads} for keys and values), "
        f"vocabulary {shape.vocabulary:,}, context {shape.context:,}.\n\n"
        f"## Where it came from\n\n{facts or NOT_KNOWN}\n"
        "A run is checked with `tenth verify RUN`; nothing in this folder proves by itself where it came from.\n"
    )


def _product(size: tuple[int, ...]) -> int:
    return size[0] if len(size) == 1 else size[0] * size[1]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(f"{path}: {error}", "name a checkpoint or a folder in Hugging Face's layout") from error
    if not isinstance(value, dict):
        raise _refused(f"{path} holds no object", "name a checkpoint or a folder in Hugging Face's layout")
    return value


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n", "utf-8")


def _unsupported(folder: Path, key: str, value: object) -> CheckpointError:
    return _refused(f"{folder}: {key} is {value!r}", "this transformer cannot compute that: train it with its own code")


def _refused(found: str, do: str) -> CheckpointError:
    return CheckpointError("The model was refused.", found, do)
