"""The one transformer: a plain decoder in the Qwen3 layout, with the parameter names that Hugging Face uses.

Pre-norm blocks of grouped-query attention (rotary positions, RMS-normed queries and keys) and a SwiGLU MLP, no biases,
RMSNorm with weights (Qwen3 technical report, arXiv:2505.09388; RoPE, arXiv:2104.09864; SwiGLU, arXiv:2002.05202).
Shapes: B sequences, T tokens, D width, H heads, K key-value heads, E head width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

NORM_EPSILON = 1e-6
QUERY_BLOCKS = 2  # two halves of the queries: the first never looks at the second half of the keys


@dataclass(frozen=True)
class Shape:
    """Everything that decides the parameters' names and sizes."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    context: int
    rope_base: float = 10_000.0
    tied: bool = False

    def hugging_face_config(self, end_of_text: int | None = None) -> dict[str, object]:
        """config.json as `transformers` reads it (Qwen3ForCausalLM)."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.mlp_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_width,
            "max_position_embeddings": self.context,
            "rope_theta": self.rope_base,
            "rms_norm_eps": NORM_EPSILON,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
            "bos_token_id": end_of_text,
            "eos_token_id": end_of_text,
        }

    @classmethod
    def from_hugging_face_config(cls, config: dict[str, object]) -> Shape:
        def integer(key: str) -> int:
            value = config[key]
            if not isinstance(value, int):
                raise TypeError(f"{key} is {value!r}, not an integer")
            return value

        return cls(
            vocabulary=integer("vocab_size"), layers=integer("num_hidden_layers"), width=integer("hidden_size"),
            heads=integer("num_attention_heads"), kv_heads=integer("num_key_value_heads"),
            head_width=integer("head_dim"), mlp_width=integer("intermediate_size"),
            context=integer("max_position_embeddings"), rope_base=float(str(config["rope_theta"])),
            tied=bool(config["tie_word_embeddings"]),
        )  # fmt: skip


class _RMSNorm(torch.autograd.Function):
    """RMSNorm in fewer passes over memory than the stock one takes on a CPU, forward and backward.

    The length of a vector is a float32 sum; in bfloat16 it is then rounded like everything that is multiplied.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact).square_()
        scale = square.div_(x.shape[-1]).add_(NORM_EPSILON).rsqrt_().to(x.dtype)
        normal = x * scale
        ctx.save_for_backward(normal, scale, weight)
        found: Tensor = normal * weight
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        normal, scale, weight = ctx.saved_tensors
        each = grads[0] * normal
        along = (each @ weight.unsqueeze(1)).div_(len(weight))
        grad = torch.addcmul(grads[0] * weight, normal, along, value=-1).mul_(scale)
        return grad, each.reshape(-1, len(weight)).sum(0)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, over the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.rms_norm(x, (x.shape[-1],), self.weight, NORM_EPSILON)
        found: Tensor = _RMSNorm.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return found


def rotary_table(head_width: int, base: float, positions: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each (positions, E), the two halves alike as in Hugging Face's rotate-half convention."""
    frequencies = base ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i+E/2}) of (B, H, T, E) by its position's angle: (T, E), or (B, 1, T, E)."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def causal_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(E)) v, each query seeing the keys up to its own; (B, H, T, E) in and out.

    `mask`, (B, 1, T, T): what is added to the scores instead, as `document_mask` makes it.
    Written out on CPU: the stock bfloat16 kernel takes twice as long forward and backward (benchmarks/trainer_step.py).
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    length = q.shape[2]
    q = q * (1.0 / math.sqrt(q.shape[-1]))
    size = length if length < 64 else -(-length // QUERY_BLOCKS)
    blocks = []
    for start in range(0, length, size):
        stop = min(start + size, length)
        scores = q[:, :, start:stop] @ k[:, :, :stop].transpose(-1, -2)
        if mask is not None:
            scores = scores + mask[:, :, start:stop, :stop]
        elif stop - start > 1:
            scores = scores + _mask(stop - start, stop, scores.dtype)
        blocks.append(scores.softmax(-1) @ v[:, :, :stop])
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def _mask(queries: int, keys: int, dtype: torch.dtype) -> Tensor:
    return torch.full((queries, keys), -math.inf, dtype=dtype).triu(keys - queries + 1)


def document_mask(starts: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, 1, T, T): 0 where a query sees a key, minus infinity elsewhere.

    `starts`, (B, T): at which position of its row the document of each token begins. A query sees its own document up
    to itself, so documents that share a row know nothing of one another (rotary positions are relative).
    Or (B, T, 3): where its document begins, and from which position to before which other its own continuation leaves
    one out that stands between the beginning of both and itself.
    """
    places = torch.arange(starts.shape[1], device=starts.device)
    begin, *gap = starts.unbind(2) if starts.dim() == 3 else (starts,)
    hidden = (places > places[:, None]) | (places < begin[:, :, None])
    if gap:
        hidden |= (places >= gap[0][:, :, None]) & (places < gap[1][:, :, None])
    return torch.zeros(hidden.shape, dtype=dtype, device=starts.device).masked_fill_(hidden, -math.inf)[:, None]


class Attention(nn.Module):
    """Grouped-query attention with RMS-normed, rotated queries and keys."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = shape.heads, shape.kv_heads, shape.head_width
        inner, kv_inner = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.q_proj = nn.Linear(shape.width, inner, bias=False)
        self.k_proj = nn.Linear(shape.width, kv_inner, bias=False)
        self.v_proj = nn.Linear(shape.width, kv_inner, bias=False)
        self.o_proj = nn.Linear(inner, shape.width, bias=False)
        self.q_norm = RMSNorm(shape.head_width)
        self.k_norm = RMSNorm(shape.head_width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(batch, length, self.heads, self.head_width)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, length, self.kv_heads, self.head_width)).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.head_width).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.kv_heads < self.heads:
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        mixed: Tensor = self.o_proj(causal_attention(q, k, v, mask).transpose(1, 2).reshape(batch, length, -1))
        return mixed


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.down_proj = nn.Linear(shape.mlp_width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.width)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.width)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        residual: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return residual


class Decoder(nn.Module):
    """Embedding, blocks and final norm (the part that Hugging Face calls `model`)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width)


class Transformer(nn.Module):
    """Token ids (B, T) to hidden states (B, T, D); `logits` turns those into (B, T, V)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        if shape.tied:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.recompute = False  # forward again in the backward pass, block by block, instead of keeping activations
        self.compiled: Callable[..., Tensor] | None = None  # (block, x, cos, sin) -> x, see compiled.py
        self.compiled_for = (0, 0)  # sequences and tokens of each that it takes
        self._rotary: tuple[Tensor, Tensor] | None = None

    def forward(self, tokens: Tensor, starts: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm. Writing, with what was read kept, is inference.py's.

        `starts`: where the documents begin that share a row, see `document_mask`; None: a row is one.
        """
        x = self.model.embed_tokens(tokens)
        cos, sin = self.angles(tokens.shape[1], x)
        mask = None if starts is None else document_mask(starts, x.dtype)
        if starts is not None and starts.dim() == 3:  # what is left out takes no positions
            places = torch.arange(tokens.shape[1], device=tokens.device) - (starts[..., 2] - starts[..., 1])
            cos, sin = cos[places][:, None], sin[places][:, None]
        # Training steps of one shape are compiled; whatever else is read is not.
        fits = tuple(tokens.shape) == self.compiled_for and torch.is_grad_enabled() and mask is None
        compiled = self.compiled if fits else None
        for block in self.model.layers:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, cos, sin, mask, use_reentrant=False, preserve_rng_state=False)
            else:
                x = compiled(block, x, cos, sin) if compiled else block(x, cos, sin, mask)
        hidden: Tensor = self.model.norm(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        return F.linear(hidden, self.lm_head.weight)

    def angles(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of the first `length` positions, each (length, E), as `like` is."""
        table = self._rotary
        if (
            table is None
            or table[0].shape[0] < length
            or table[0].dtype != like.dtype
            or table[0].device != like.device
        ):
            positions = max(length, self.shape.context)
            cos, sin = rotary_table(self.shape.head_width, self.shape.rope_base, positions)
            table = self._rotary = (cos.to(like.device, like.dtype), sin.to(like.device, like.dtype))
        return table[0][:length], table[1][:length]

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights of deviation 1/sqrt(fan-in); head and output projections start at zero.

        At step 0 every block is the identity and every token equally likely (loss ln V), so early steps cannot blow up.
        A tied head keeps the embedding's small normal weights.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight")) or (name == "lm_head.weight"):
                parameter.zero_()
            elif name == "model.embed_tokens.weight":
                parameter.normal_(0.0, 0.02 if self.shape.tied else 1.0, generator=generator)
            else:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
