"""Floating-point operations of training, in closed form: 6N + 12LTd per token.

N counts the parameters of the matrix products (embedding table excluded, head included); L layers, T context,
d = heads x head width. Forward and backward of a product cost 2 + 4 operations a parameter; attention's two products
cost 4Td forward and 8Td backward a layer (PaLM, arXiv:2204.02311, appendix B; causal masking is not deducted).
"""

from __future__ import annotations

from .model import Shape


def matrix_parameters(shape: Shape) -> int:
    """N: parameters that take part in a matrix product."""
    inner, kv_inner = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    attention = shape.width * (2 * inner + 2 * kv_inner)
    mlp = 3 * shape.width * shape.mlp_width
    return shape.layers * (attention + mlp) + shape.vocabulary * shape.width


def flop_per_token(shape: Shape, context: int | None = None) -> int:
    """Training FLOP per token at full context."""
    length = shape.context if context is None else context
    return 6 * matrix_parameters(shape) + 12 * shape.layers * length * shape.heads * shape.head_width
