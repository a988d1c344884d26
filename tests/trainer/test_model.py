"""The transformer: causal, the same with a cache as without, counted right, and its head's gradient exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from tenth.trainer import tokenizer
from tenth.trainer.flops import flop_per_token
from tenth.trainer.generate import complete, generate
from tenth.trainer.inference import Inference, Reading
from tenth.trainer.loss import IGNORED, linear_cross_entropy
from tenth.trainer.model import NORM_EPSILON, RMSNorm, Shape, Transformer, causal_attention

SHAPES = [
    Shape(vocabulary=61, layers=2, width=32, heads=4, kv_heads=4, head_width=8, mlp_width=64, context=160),
    Shape(vocabulary=61, layers=2, width=32, heads=4, kv_heads=2, head_width=8, mlp_width=64, context=160, tied=True),
]


def model(shape: Shape) -> Transformer:
    """Random weights everywhere, also where training starts from zero."""
    made = Transformer(shape)
    generator = torch.Generator().manual_seed(0)
    made.initialise(generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return made.eval()


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, 61, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [7, 160])
def test_later_tokens_change_no_earlier_logit(shape: Shape, length: int) -> None:
    made, before = model(shape), tokens(2, length)
    after = before.clone()
    cut = length // 2
    after[:, cut:] = (after[:, cut:] + 1) % 61
    a, b = made.logits(made(before)), made.logits(made(after))
    assert torch.equal(a[:, :cut], b[:, :cut])
    assert not torch.allclose(a[:, cut], b[:, cut])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cache_gives_what_the_full_pass_gives(shape: Shape) -> None:
    made, ids = model(shape), tokens(3, 20)
    full = made(ids)
    reading = Reading(Inference(made), [9] * 3, 20)
    parts = [reading.read(ids[:, :9]), *(reading.read(ids[:, i : i + 1]) for i in range(9, 20))]
    torch.testing.assert_close(torch.stack(parts, dim=1), made.logits(full)[:, 8:], rtol=1e-4, atol=1e-5)


def test_attention_is_softmax_of_the_lower_triangle() -> None:
    q, k, v = (torch.randn(2, 3, 130, 8, generator=torch.Generator().manual_seed(i)) for i in range(3))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(causal_attention(q, k, v), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ignored", [0, 5, 40])
def test_the_fused_loss_is_cross_entropy_with_its_gradient(ignored: int) -> None:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(40, 16, generator=generator).requires_grad_()
    weight = torch.randn(30, 16, generator=generator).requires_grad_()
    targets = torch.randint(0, 30, (40,), generator=generator)
    targets[:ignored] = IGNORED
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    got = (hidden.grad.clone(), weight.grad.clone())
    hidden.grad = weight.grad = None
    expected = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORED, reduction="sum")
    expected = expected / max(1, 40 - ignored)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(got, (hidden.grad, weight.grad), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_by_hand_is_the_stock_one(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    norm, tolerance = RMSNorm(24).to(dtype), 1e-5 if dtype == torch.float32 else 2e-2
    x, grad = (torch.randn(3, 5, 24, generator=generator).to(dtype) for _ in range(2))
    with torch.no_grad():
        norm.weight.normal_(1.0, 0.2, generator=generator)
    found = []
    for function in (norm, lambda x: F.rms_norm(x, (24,), norm.weight, NORM_EPSILON)):
        given = x.transpose(0, 1).detach().requires_grad_()  # maybe not in one piece, as heads are not
        norm.weight.grad = None
        out = function(given)
        out.backward(grad.transpose(0, 1))
        found.append((out, given.grad, norm.weight.grad))
    torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)
    if dtype == torch.float32:
        double = norm.to(torch.float64)
        given = torch.randn(2, 3, 24, dtype=torch.float64, generator=generator).requires_grad_()
        assert torch.autograd.gradcheck(double, (given,))


@pytest.mark.parametrize("shape", SHAPES)
def test_flop_in_closed_form_is_the_tally_of_the_products(shape: Shape) -> None:
    # Full, unblocked attention is what the closed form counts: a causal mask is not deducted.
    ids = tokens(1, 1).expand(1, shape.context)
    made = model(shape)
    made.model.layers.requires_grad_()
    with FlopCounterMode(display=False) as counter:
        made.logits(made(ids)).sum().backward()
    blocks = 0.75  # two query blocks leave out a quarter of attention's products
    attention = 12 * shape.layers * shape.context * shape.heads * shape.head_width
    # The tally has a product in each norm's backward pass, too: a vector's length along its gradient.
    per_layer = 2 * shape.width + (shape.heads + shape.kv_heads) * shape.head_width
    norms = 2 * (shape.layers * per_layer + shape.width)
    expected = (flop_per_token(shape) - attention * (1 - blocks) + norms) * shape.context
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-6)


def test_prompts_of_different_length_are_continued_as_if_alone() -> None:
    made = model(SHAPES[0])
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10]]
    together = generate(made, prompts, 12)
    assert together == [generate(made, [prompt], 12)[0] for prompt in prompts]
    assert all(len(row) == 12 for row in together)


def test_writing_goes_on_past_the_context() -> None:
    made = model(SHAPES[0])
    assert len(generate(made, [[1] * 150], 40)[0]) == 40
    assert len(generate(made, [[1] * 500], 3)[0]) == 3


def test_each_token_is_streamed_and_the_stop_token_ends_a_row() -> None:
    made = model(SHAPES[0])
    seen: list[tuple[int, int]] = []
    (row,) = generate(made, [[1, 2]], 10, on_token=lambda i, token: seen.append((i, token)))
    assert seen == [(0, token) for token in row]
    stopped = generate(made, [[1, 2]], 10, stop=row[4])[0]
    assert stopped == row[: row.index(row[4])]


def test_sampling_repeats_itself_by_its_seed() -> None:
    made = model(SHAPES[0])

    def write(seed: int) -> list[int]:
        return generate(made, [[1]], 20, 1.0, 10, torch.Generator().manual_seed(seed))[0]

    assert write(1) == write(1) != write(2)


def test_the_shape_survives_hugging_face_s_config() -> None:
    for shape in SHAPES:
        assert Shape.from_hugging_face_config(shape.hugging_face_config()) == shape


def test_a_fresh_model_knows_nothing() -> None:
    made = Transformer(SHAPES[0])
    made.initialise(torch.Generator().manual_seed(0))
    assert torch.all(made.logits(made(tokens(1, 5))) == 0)


def test_a_space_at_a_prompt_s_end_belongs_to_the_next_word() -> None:
    text = tokenizer.train_bpe(["def main(): def other(): return main " * 50], 300)
    made = Transformer(replace(SHAPES[0], vocabulary=text.vocabulary))
    made.initialise(torch.Generator().manual_seed(0))
    spaced, plain, indented = complete(made, text, ["def ", "def", "    "], 5, 1.0, seed=3)
    assert not spaced.startswith(" ")
    assert text.opening_with_space()
    assert all(text.decode([n]).startswith(" ") for n in text.opening_with_space())
    assert plain
    assert indented
