"""One step of writing, made cheap: weights arranged once, keys and values laid out once, few operations a token.

At batch 1 a small model's step is spent on starting operations, at batch 32 on matrix products and on reading keys and
values. So the projections that read the same input are one matrix, a query group is read as several queries of one head
instead of repeating keys, and matrix products run in the weights' own precision while norms, rotations and the residual
stream stay in float32. On a CPU attention is float32, too: its bfloat16 kernels for a single query are slower there.
Letters as in model.py: B sequences, T tokens, D width, H heads, K key-value heads, E head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .model import NORM_EPSILON, Block, Transformer, rotary_table

FUSED_BYTES = 512 << 20  # of weights: above that the copy costs memory, and a product outlasts its start by far


class Product:
    """x times one or several matrices, side by side, in the matrices' precision.

    `copied` weights are joined and, on a CPU, laid out once as oneDNN's kernels want them: it else rearranges them at
    every call, and MKL's float32 product has no good way with few rows.
    """

    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype, copied: bool) -> None:
        parts = [weight.detach().to(dtype) for weight in weights]
        self._parts = [torch.cat(parts)] if copied and len(parts) > 1 else parts
        self._dtype = dtype
        ready = copied and parts[0].device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self._parts[0]) if ready else None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) to (..., rows of all matrices)."""
        x = x.to(self._dtype)
        if self._packed is not None:
            mixed: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")
            return mixed
        if len(self._parts) == 1:
            return F.linear(x, self._parts[0])
        return torch.cat([F.linear(x, part) for part in self._parts], dim=-1)


@dataclass(frozen=True)
class Layer:
    """One block's weights."""

    qkv: Product
    out: Product
    gate_up: Product
    down: Product
    attention_norm: Tensor
    mlp_norm: Tensor
    head_norms: Tensor  # (H + K, E): the query norm for each head, then the key norm


class Inference:
    """A model ready to write: read-only, and later changes of the model need not show."""

    def __init__(self, model: Transformer, dtype: torch.dtype | None = None) -> None:
        """`dtype`: of the matrix products; the model's own if None."""
        self.shape = model.shape
        weight = model.lm_head.weight
        self.device, self.dtype = weight.device, dtype or weight.dtype
        self._copied = sum(p.numel() for p in model.parameters()) * self.dtype.itemsize <= FUSED_BYTES
        with torch.inference_mode():
            self.embedding = model.model.embed_tokens.weight.detach()
            self.head = self._product(weight)
            self.norm = model.model.norm.weight.detach().float()
            self.layers = [self._layer(block) for block in model.model.layers]

    def _layer(self, block: torch.nn.Module) -> Layer:
        assert isinstance(block, Block)
        attention, mlp = block.self_attn, block.mlp
        norms = attention.q_norm.weight, attention.k_norm.weight
        counts = self.shape.heads, self.shape.kv_heads
        return Layer(
            qkv=self._product(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight),
            out=self._product(attention.o_proj.weight),
            gate_up=self._product(mlp.gate_proj.weight, mlp.up_proj.weight), down=self._product(mlp.down_proj.weight),
            attention_norm=block.input_layernorm.weight.detach().float(),
            mlp_norm=block.post_attention_layernorm.weight.detach().float(),
            head_norms=torch.cat([w.detach().float().expand(n, -1) for w, n in zip(norms, counts, strict=True)]),
        )  # fmt: skip

    def _product(self, *weights: Tensor) -> Product:
        return Product(weights, self.dtype, self._copied)


class Reading:
    """What a batch has read so far. Rows of different length are aligned at their ends."""

    def __init__(self, inference: Inference, lengths: Sequence[int], capacity: int) -> None:
        """`lengths`: of the prompts; `capacity`: tokens of the longest row, its prompt and what is written after it."""
        shape, device = inference.shape, inference.device
        self._inference = inference
        kept = torch.float32 if device.type == "cpu" else inference.dtype
        longest = max(lengths)
        size = (shape.layers, 2, len(lengths), shape.kv_heads, capacity, shape.head_width)
        self._memory = torch.empty(size, dtype=kept, device=device)
        cos, sin = rotary_table(shape.head_width, shape.rope_base, capacity)
        half = shape.head_width // 2
        self._cos, self._sin = cos.to(device), torch.cat((-sin[:, :half], sin[:, half:]), dim=1).to(device)
        self.length = 0
        self._missing = torch.tensor([longest - length for length in lengths], device=device)
        self._mask: Tensor | None = None  # (B, 1, 1, capacity), True where a row has a token
        if min(lengths) < longest:
            self._mask = (torch.arange(capacity, device=device) >= self._missing[:, None])[:, None, None]

    @torch.inference_mode()
    def read(self, tokens: Tensor) -> Tensor:
        """Read (B, T) ids, the prompts (missing ones in front may be anything) or one more each; logits (B, V).

        T is 1 after the first call. A token that stands further out than the context sees the last `context` only.
        """
        model = self._inference
        cos, sin = self._angles(tokens.shape[1])
        mask = self._visible(tokens.shape[1])
        x = F.embedding(tokens, model.embedding).float()
        for number, layer in enumerate(model.layers):
            x = x + self._attention(number, layer, _norm(x, layer.attention_norm), cos, sin, mask)
            gate, up = layer.gate_up(_norm(x, layer.mlp_norm)).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate).mul_(up))
        self.length += tokens.shape[1]
        return model.head(_norm(x[:, -1], model.norm)).float()

    def _attention(self, number: int, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        shape, (batch, new, _) = self._inference.shape, x.shape
        heads, groups = shape.heads, shape.kv_heads
        parts = layer.qkv(x).view(batch, new, heads + 2 * groups, shape.head_width)
        turned = F.rms_norm(parts[:, :, : heads + groups].float(), (shape.head_width,), None, NORM_EPSILON)
        turned = turned * layer.head_norms
        turned = torch.addcmul(turned * cos, turned.roll(shape.head_width // 2, -1), sin)
        end = self.length + new
        start = max(0, end - shape.context)
        keys, values = self._memory[number, 0], self._memory[number, 1]
        keys[:, :, self.length : end] = turned[:, :, heads:].transpose(1, 2)
        values[:, :, self.length : end] = parts[:, :, heads + groups :].transpose(1, 2)
        keys, values = keys[:, :, start:end], values[:, :, start:end]
        queries = turned[:, :, :heads].to(keys.dtype)
        if new == 1:  # the queries of a group stand as so many queries of its one head: nothing is repeated
            queries = queries.view(batch, groups, heads // groups, shape.head_width)
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        else:
            mixed = F.scaled_dot_product_attention(
                queries.transpose(1, 2), keys, values, attn_mask=mask, is_causal=mask is None,
                enable_gqa=groups < heads,
            ).transpose(1, 2)  # fmt: skip
        return layer.out(mixed.reshape(batch, new, -1))

    def _angles(self, new: int) -> tuple[Tensor, Tensor]:
        """cos and signed sin of the new tokens' positions, to be broadcast over (B, T, heads, E)."""
        if self._mask is None:
            place = slice(self.length, self.length + new)
            return self._cos[place, None], self._sin[place, None]
        columns = torch.arange(self.length, self.length + new, device=self._cos.device)
        places = (columns - self._missing[:, None]).clamp_(min=0)
        return self._cos[places][:, :, None], self._sin[places][:, :, None]

    def _visible(self, new: int) -> Tensor | None:
        if self._mask is None:
            return None
        end = self.length + new
        start = max(0, end - self._inference.shape.context)
        if new == 1:
            return self._mask[..., start:end]
        causal = torch.ones(new, new, dtype=torch.bool, device=self._mask.device).tril()
        itself = torch.eye(
            new, dtype=torch.bool, device=self._mask.device
        )  # what is missing sees itself: no row is empty
        return (self._mask[..., :new] & causal) | itself


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, NORM_EPSILON)
