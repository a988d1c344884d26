"""Writing: the fast path gives what the plain forward pass gives, in any batch, and text comes out whole."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tenth.trainer import inference, tokenizer
from tenth.trainer.generate import OnToken, Sampler, Stream, complete, generate
from tenth.trainer.inference import Inference, Reading
from tenth.trainer.model import Shape, Transformer
from tenth.trainer.recipe import SampleRecipe
from tenth.trainer.shown import answers, surprisal, with_surprisal

SHAPE = Shape(vocabulary=61, layers=2, width=32, heads=4, kv_heads=4, head_width=8, mlp_width=64, context=64)
SHAPES = [SHAPE, replace(SHAPE, kv_heads=2, head_width=12, tied=True, rope_base=500.0)]


def model(shape: Shape) -> Transformer:
    """Random weights everywhere, norms included."""
    made, generator = Transformer(shape), torch.Generator().manual_seed(0)
    made.initialise(generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return made.eval()


def plainly(made: Transformer, prompt: list[int], tokens: int) -> list[int]:
    """Greedy writing with nothing kept: the whole text is read again for every token."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            ids.append(int(made.logits(made(torch.tensor([ids]))[:, -1]).argmax()))
    return ids[len(prompt) :]


def until(lengths: list[int]) -> OnToken:
    """Ends each row when it has so many tokens."""
    seen = [0] * len(lengths)

    def take(row: int, token: int) -> bool:
        seen[row] += 1
        return seen[row] >= lengths[row]

    return take


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fused_bytes", [0, 1 << 30])
def test_the_fast_path_writes_what_the_plain_pass_writes(
    shape: Shape, fused_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "FUSED_BYTES", fused_bytes)
    made = model(shape)
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11], list(range(20))]
    assert generate(made, prompts, 30) == [plainly(made, prompt, 30) for prompt in prompts]


def test_rows_that_have_ended_leave_the_batch_and_the_others_do_not_notice() -> None:
    made = model(SHAPE)
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11], list(range(20)), [3], [2, 9]]
    alone = [plainly(made, prompt, 30) for prompt in prompts]
    stop = alone[0][2]
    cut = [row[: row.index(stop)] if stop in row else row for row in alone]
    assert len({len(row) for row in cut}) > 1
    assert generate(made, prompts, 30, stop=stop) == cut
    ended = [4, 1, 18, 9, 30, 2]
    written = generate(made, prompts, 30, on_token=until(ended))
    assert written == [row[:length] for row, length in zip(alone, ended, strict=True)]


def test_a_row_s_temperature_stays_its_own_when_others_have_ended() -> None:
    made = model(SHAPE)
    warmth = [0.0, 2.0, 0.0, 2.0, 0.0]
    ended = [1, 1, 40, 1, 40]
    generator = torch.Generator().manual_seed(3)
    written = generate(made, [[1, 2]] * 5, 40, warmth, generator=generator, on_token=until(ended))
    assert [len(row) for row in written] == ended
    assert written[2] == written[4] == plainly(made, [1, 2], 40)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("missing", [0, 3])
def test_its_logits_are_the_plain_pass_s(shape: Shape, missing: int) -> None:
    made = model(shape)
    ids = torch.randint(0, 61, (2, 20), generator=torch.Generator().manual_seed(1))
    reading = Reading(Inference(made), [12, 12 - missing], 20)
    got = [reading.read(ids[:, :12])] + [reading.read(ids[:, i : i + 1]) for i in range(12, 20)]
    for row, start in ((0, 0), (1, missing)):
        expected = made.logits(made(ids[row : row + 1, start:]))[0, 11 - start :]
        torch.testing.assert_close(torch.stack([g[row] for g in got]), expected, rtol=1e-4, atol=1e-5)


def test_beyond_the_context_a_token_sees_the_last_context_tokens() -> None:
    # One layer: what a token sees is its window and nothing that the window's tokens saw.
    made = model(replace(SHAPE, layers=1, context=16))
    ids = torch.randint(0, 61, (1, 40), generator=torch.Generator().manual_seed(1))
    reading = Reading(Inference(made), [10], 40)
    got = reading.read(ids[:, :10])
    for i in range(10, 40):
        got = reading.read(ids[:, i : i + 1])
    torch.testing.assert_close(got, made.logits(made(ids[:, -16:]))[:, -1], rtol=1e-4, atol=1e-5)


def test_bfloat16_products_stay_near_the_float32_logits() -> None:
    made = model(SHAPE)
    ids = torch.randint(0, 61, (2, 20), generator=torch.Generator().manual_seed(1))
    expected = made.logits(made(ids))[:, -1]
    got = Reading(Inference(made, torch.bfloat16), [20, 20], 20).read(ids)
    assert (got - expected).abs().max() < 0.03 * expected.abs().max()


def test_many_rows_in_bfloat16_stay_near_the_float32_logits() -> None:
    """Step by step, with prompts of different length, past where keys and values move to a larger place."""
    made = model(SHAPES[1])
    ids = torch.randint(0, 61, (5, 60), generator=torch.Generator().manual_seed(1))
    lengths = [20, 20, 13, 1, 7]
    readings = [Reading(Inference(made, dtype), lengths, 60) for dtype in (torch.float32, torch.bfloat16)]
    kept = list(range(5))
    for start, end in [(0, 20), *((at, at + 1) for at in range(20, 60))]:
        if start == 40:
            kept = [1, 3, 4]
            for reading in readings:
                reading.keep(kept)
        expected, got = (reading.read(ids[kept, start:end]) for reading in readings)
        assert (got - expected).abs().max() < 0.04 * expected.abs().max()


def test_many_rows_beyond_the_context_see_the_last_context_tokens() -> None:
    made = model(replace(SHAPE, layers=1, context=16))
    ids = torch.randint(0, 61, (4, 40), generator=torch.Generator().manual_seed(1))
    reading = Reading(Inference(made, torch.bfloat16), [10] * 4, 40)
    got = reading.read(ids[:, :10])
    for i in range(10, 40):
        got = reading.read(ids[:, i : i + 1])
    expected = made.logits(made(ids[:, -16:]))[:, -1]
    assert (got - expected).abs().max() < 0.04 * expected.abs().max()
    assert (got - made.logits(made(ids))[:, -1]).abs().max() > 0.1 * expected.abs().max()


def test_draws_follow_the_softmax_of_what_is_kept() -> None:
    logits = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.06, 0.04]])).expand(20_000, -1)
    for top_k, top_p, expected in (
        (0, 1.0, [0.4, 0.3, 0.2, 0.06, 0.04]), (2, 1.0, [4 / 7, 3 / 7, 0, 0, 0]), (0, 0.65, [4 / 7, 3 / 7, 0, 0, 0]),
        (4, 0.1, [1, 0, 0, 0, 0]),
    ):  # fmt: skip
        drawn = Sampler(1.0, top_k, top_p, torch.Generator().manual_seed(0))(logits)
        shares = drawn.bincount(minlength=5) / len(drawn)
        torch.testing.assert_close(shares, torch.tensor(expected, dtype=torch.float32), rtol=0, atol=0.015)
    warm = Sampler(2.0, generator=torch.Generator().manual_seed(0))(logits).bincount(minlength=5) / 20_000
    torch.testing.assert_close(warm, (logits[0] / 2).softmax(-1), rtol=0, atol=0.015)


def test_each_row_may_have_a_temperature_of_its_own() -> None:
    made = model(SHAPE)
    greedy, drawn = generate(made, [[1, 2], [1, 2]], 20, [0.0, 2.0], 0, torch.Generator().manual_seed(3))
    assert greedy == generate(made, [[1, 2]], 20)[0]
    assert drawn != greedy


def test_writing_leaves_the_global_random_numbers_alone() -> None:
    made, text = model(replace(SHAPE, vocabulary=257)), tokenizer.byte_tokenizer()
    before = torch.get_rng_state()
    complete(made, text, ["a", ""], 5, 1.0, seed=3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_text_comes_in_whole_characters(size: int) -> None:
    text = tokenizer.byte_tokenizer()
    heard: list[str] = []
    stream = Stream(text, on_text=lambda _, piece: heard.append(piece))
    ids = text.encode(["aé€😀"])[0]
    for token in ids:
        assert not stream.take(token)
    assert heard == ["a", "é", "€", "😀"]
    for token in text.encode(["€"])[0][:size]:
        stream.take(token)
    whole = stream.close()
    assert whole.startswith("aé€😀")
    assert whole == "".join(heard)
    assert len(whole) > 4  # a torn character shows as a replacement, not as nothing


def test_an_end_text_ends_the_row_and_is_never_shown() -> None:
    text = tokenizer.byte_tokenizer()
    heard: list[str] = []
    stream = Stream(text, ["\nUser:", "END"], on_text=lambda _, piece: heard.append(piece))
    ids = text.encode(["an \nUse and EN \nUser: more"])[0]
    ended = next(place for place, token in enumerate(ids) if stream.take(token))
    assert ended == len("an \nUse and EN \nUser:") - 1
    assert "".join(heard) == stream.close() == "an \nUse and EN "
    other = Stream(text, ["END"])
    for token in text.encode(["to the EN"])[0]:
        other.take(token)
    assert other.close() == "to the EN"


def test_complete_streams_what_it_returns() -> None:
    text = tokenizer.train_bpe(["def main(): def other(): return main " * 50], 300)
    made = model(replace(SHAPE, vocabulary=text.vocabulary))
    heard = ["", "", ""]

    def hear(row: int, piece: str) -> None:
        heard[row] += piece

    written = complete(made, text, ["def ", "def", "    "], 20, 1.0, seed=3, on_text=hear)
    assert heard == written
    assert all(written)
    ended = complete(made, text, ["def"], 20, 0.0, ends=[complete(made, text, ["def"], 20)[0][5:7]])
    assert complete(made, text, ["def"], 20)[0].startswith(ended[0])
    assert len(ended[0]) <= 5


def test_surprisal_goes_with_every_character_of_a_sample() -> None:
    """What is shown of a token is its probability, worked out alone; lengths come out even, or nothing is said."""
    text = tokenizer.train_bpe(["the quick brown fox, ünd 😀 so on " * 20], 300)
    made = model(replace(SHAPE, vocabulary=text.vocabulary))
    sampling = SampleRecipe(tokens=24, temperature=1.0, top_k=0)
    prompts = ["the quick ", "so", ""]
    for seed in range(4):
        shown = with_surprisal(made, text, prompts, sampling, seed)
        (one, _), (other, _) = told = answers(made, text, text.encode(["the quick"])[0], 2, sampling, seed)
        assert one != other
        for prompt, (one, bits) in zip([*prompts, "", ""], [*shown, *told], strict=True):
            assert not bits or sum(size for size, _ in bits) == len(one), (prompt, one)
            assert all(size > 0 and value >= 0 for size, value in bits)
    prompt, new = [text.separator, 5, 6], [7, 8, 9]
    with torch.no_grad():
        chances = made.logits(made(torch.tensor([[*prompt, *new]])))[0].log_softmax(-1)
    alone = [-float(chances[2 + place, token]) / math.log(2) for place, token in enumerate(new)]
    assert surprisal(made, prompt, new) == pytest.approx(alone, abs=1e-4)
