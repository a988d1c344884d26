"""One step of writing, made cheap: weights arranged once, keys and values laid out once, few operations a token.

At batch 1 a small model's step is spent on starting operations, at batch 32 on matrix products and on reading keys and
values. So the projections that read the same input are one matrix, a query group is read as several queries of one head
instead of repeating keys, and matrix products run in the weights' own precision while norms, rotations and the residual
stream stay in float32. On a CPU attention is float32, too, for a few rows: the stock bfloat16 kernel for a single query
is slower there. For many it is two products in bfloat16: half the bytes to read.
Letters as in model.py: B sequences, T tokens, D width, H heads, K key-value heads, E head width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .model import NORM_EPSILON, Block, Transformer, rotary_table
from .precision import fast_bfloat16

FUSED_BYTES = 512 << 20  # of weights: above that the copy costs memory, and a product outlasts its start by far
MANY_ROWS = 4  # from so many on, reading keys and values costs more than starting a few operations instead of one
ROOM = 32  # tokens that keys and values have room for are a multiple of it where products read them all


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
    head_norms: Tensor  # (H + K, E): the query norm for each head, over sqrt(E) as scores want it, then the key norm


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
        norms = attention.q_norm.weight / math.sqrt(self.shape.head_width), attention.k_norm.weight
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
        self._many = (
            device.type == "cpu" and inference.dtype == torch.bfloat16 and len(lengths) >= MANY_ROWS and fast_bfloat16()
        )
        kept = torch.float32 if device.type == "cpu" and not self._many else inference.dtype
        longest = max(lengths)
        # Products copy what does not lie in one piece, so there they get all of it, and it grows by and by.
        room = -(-longest // ROOM) * ROOM if self._many else capacity
        size = (2, len(lengths), shape.kv_heads, room, shape.head_width)
        self._memory = [torch.zeros(size, dtype=kept, device=device) for _ in range(shape.layers)]
        cos, sin = rotary_table(shape.head_width, shape.rope_base, capacity)
        half = shape.head_width // 2
        self._cos, self._sin = cos.to(device), torch.cat((-sin[:, :half], sin[:, half:]), dim=1).to(device)
        self.length = 0
        self._missing = torch.tensor([longest - length for length in lengths], device=device)
        self._mask: Tensor | None = None  # (B, 1, 1, capacity), True where a row has a token
        if min(lengths) < longest:
            self._mask = (torch.arange(capacity, device=device) >= self._missing[:, None])[:, None, None]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone, in this order."""
        chosen = torch.tensor(rows, device=self._missing.device)
        self._memory = [memory[:, chosen] for memory in self._memory]
        self._missing = self._missing[chosen]
        self._mask = None if self._mask is None else self._mask[chosen]

    @torch.inference_mode()
    def read(self, tokens: Tensor) -> Tensor:
        """Read (B, T) ids, the prompts (missing ones in front may be anything) or one more each; logits (B, V).

        T is 1 after the first call. A token that stands further out than the context sees the last `context` only.
        """
        model = self._inference
        cos, sin = self._angles(tokens.shape[1])
        mask = self._visible(tokens.shape[1])
        x = F.embedding(tokens, model.embedding).float()
        norms = [layer.attention_norm for layer in model.layers[1:]] + [model.norm]
        ready = _norm(x, model.layers[0].attention_norm)
        for number, (layer, next_norm) in enumerate(zip(model.layers, norms, strict=True)):
            mixed = self._attention(number, layer.qkv(ready), cos, sin, mask)
            x, ready = _join(x, layer.out(mixed), layer.mlp_norm)
            x, ready = _join(x, layer.down(_gate(layer.gate_up(ready))), next_norm)
        self.length += tokens.shape[1]
        return model.head(ready[:, -1]).float()

    def _attention(self, number: int, projected: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, (H + 2K) E) queries, keys and values to (B, T, H E) mixed values."""
        shape, (batch, new, _) = self._inference.shape, projected.shape
        heads, groups = shape.heads, shape.kv_heads
        parts = projected.view(batch, new, heads + 2 * groups, shape.head_width)
        memory = self._memory[number]
        turned, fresh = _turn(parts, cos, sin, self._inference.layers[number].head_norms, memory.dtype)
        queries, end = turned[:, :, :heads], self.length + new
        if end > memory.shape[3]:
            memory = self._memory[number] = F.pad(memory, (0, 0, 0, ROOM))
        keys, values = memory.unbind()
        keys[:, :, self.length : end] = turned[:, :, heads:].transpose(1, 2)
        values[:, :, self.length : end] = fresh.transpose(1, 2)
        if new > 1:
            mixed = _mix_prompts(queries, keys[:, :, :end], values[:, :, :end], mask)
            return mixed.reshape(batch, new, -1)
        # The queries of a group stand as so many queries of its one head: nothing is repeated.
        queries = queries.view(batch, groups, heads // groups, shape.head_width)
        if self._many:
            return _mix_many(queries, keys, values, mask).reshape(batch, new, -1)
        start = max(0, end - shape.context)
        return _mix(queries, keys[:, :, start:end], values[:, :, start:end], mask).reshape(batch, new, -1)

    def _angles(self, new: int) -> tuple[Tensor, Tensor]:
        """cos and signed sin of the new tokens' positions, to be broadcast over (B, T, heads, E)."""
        if self._mask is None:
            place = slice(self.length, self.length + new)
            return self._cos[place, None], self._sin[place, None]
        columns = torch.arange(self.length, self.length + new, device=self._cos.device)
        places = (columns - self._missing[:, None]).clamp_(min=0)
        return self._cos[places][:, :, None], self._sin[places][:, :, None]

    def _visible(self, new: int) -> Tensor | None:
        end = self.length + new
        start = max(0, end - self._inference.shape.context)
        if new == 1 and self._many:
            columns = torch.arange(-(-end // ROOM) * ROOM)
            return (columns < end) & (columns >= self._missing[:, None, None, None].clamp(min=start))
        if self._mask is None:
            return None
        if new == 1:
            return self._mask[..., start:end]
        causal = torch.ones(new, new, dtype=torch.bool, device=self._mask.device).tril()
        itself = torch.eye(
            new, dtype=torch.bool, device=self._mask.device
        )  # what is missing sees itself: no row is empty
        return (self._mask[..., :new] & causal) | itself


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm over the last dimension. On a CPU the stock one is eight operations, and starting them is most of it."""
    size = x.shape[-1]
    if x.device.type != "cpu":
        return F.rms_norm(x, (size,), None, NORM_EPSILON).mul_(weight)
    length = torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), _floor(size))
    return (x / length.mul_(1 / math.sqrt(size))).mul_(weight)


@cache
def _floor(size: int) -> Tensor:
    """What NORM_EPSILON adds to the length of a vector, as one side of a right angle."""
    return torch.tensor(math.sqrt(NORM_EPSILON * size))


def _join(x: Tensor, more: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The residual stream with what a layer adds, and its norm, ready for the next product."""
    x = x + more
    return x, _norm(x, weight).to(more.dtype)


def _gate(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def _turn(parts: Tensor, cos: Tensor, sin: Tensor, head_norms: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(B, T, H + 2K, E) to queries and keys, normed and turned, and values."""
    both = head_norms.shape[0]
    turned = _norm(parts[:, :, :both].float(), head_norms)
    left, right = turned.chunk(2, dim=-1)
    turned = torch.addcmul(turned * cos, torch.cat((right, left), dim=-1), sin)
    return turned.to(dtype), parts[:, :, both:]


def _mix_prompts(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """(B, T, H, E) queries over (B, K, T, E) keys and values, to (B, T, H, E)."""
    return F.scaled_dot_product_attention(
        queries.transpose(1, 2), keys, values, attn_mask=mask, is_causal=mask is None, scale=1.0,
        enable_gqa=keys.shape[1] < queries.shape[2],
    ).transpose(1, 2)  # fmt: skip


def _mix(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """(B, K, H / K, E) queries of one token over (B, K, all, E) keys and values, to the queries' shape."""
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)


def _mix_many(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """The same by two products, for keys and values that lie in one piece each."""
    scores = queries @ keys.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill_(~mask, -math.inf)
    return scores.softmax(-1, dtype=torch.float32).to(values.dtype) @ values
