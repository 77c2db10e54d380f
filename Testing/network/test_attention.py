"""The two ways of attention on a processor, against float32."""

import pytest
import torch
from SAM2_3dMedLib.network import attention
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def _error(ours: Tensor, exact: Tensor) -> float:
    return float((ours.float() - exact).norm() / exact.norm())


@pytest.fixture(params=["products", "fused"])
def way(request, monkeypatch) -> str:
    monkeypatch.setattr(attention, "multiplies_bfloat16", lambda: request.param == "products")
    return request.param


@pytest.mark.parametrize(
    ("batch", "queries", "tokens", "width"),
    [((1, 1), 1024, 7195, 192), ((2, 1), 1024, 7195, 16), ((6, 2), 16, 64, 48), ((1, 4), 33, 1, 16)],
)
def test_bfloat16_says_what_float32_says(way: str, batch: tuple[int, ...], queries: int, tokens: int, width: int):
    torch.manual_seed(0)
    query = torch.randn(*batch, queries, width, dtype=torch.bfloat16)
    keys, values = torch.randn(2, *batch, tokens, width, dtype=torch.bfloat16)
    kept = query.clone()
    ours = attention.attend(query, keys, values)
    exact = F.scaled_dot_product_attention(query.float(), keys.float(), values.float())
    assert ours.dtype == torch.bfloat16
    assert ours.shape == exact.shape
    assert _error(ours, exact) < 8e-3
    assert torch.equal(query, kept), "what it was given is the caller's"


@pytest.mark.parametrize("spread", [2, 8])
def test_peaked_attention_stays_within_the_rounding_of_its_scores(way: str, spread: float):
    """Scores of bfloat16 differ by up to 1/256 of themselves; the fused kernel keeps them in float32."""
    torch.manual_seed(0)
    query = (spread * torch.randn(1, 1, 256, 48)).bfloat16()
    keys, values = torch.randn(2, 1, 1, 2048, 48, dtype=torch.bfloat16)
    exact = F.scaled_dot_product_attention(query.float(), keys.float(), values.float())
    assert _error(attention.attend(query, keys, values), exact) < (0.03 if way == "products" else 8e-3)


def test_queries_are_cut_where_their_scores_would_fill_the_memory(monkeypatch):
    monkeypatch.setattr(attention, "multiplies_bfloat16", lambda: True)
    torch.manual_seed(0)
    query, keys, values = torch.randn(3, 2, 3, 70, 8, dtype=torch.bfloat16)
    whole = attention.attend(query, keys, values)
    held: list[int] = []
    softmax = attention._softmax

    def watched(scores: Tensor) -> Tensor:
        held.append(scores.nbytes)
        return softmax(scores)

    monkeypatch.setattr(attention, "_LARGE_SCORES", 5_000)
    monkeypatch.setattr(attention, "_MOST_SCORES", 5_000)
    monkeypatch.setattr(attention, "_softmax", watched)
    torch.testing.assert_close(attention.attend(query, keys, values), whole)
    assert len(held) > 6, "each of the six heads, and more than once"
    assert max(held) <= 5_000
    held.clear()
    monkeypatch.setattr(attention, "_LARGE_SCORES", 2**20)
    monkeypatch.setattr(attention, "_MOST_SCORES", 20_000)
    torch.testing.assert_close(attention.attend(query, keys, values), whole)
    assert len(held) > 1, "small heads, all at once"
    assert max(held) <= 20_000


@pytest.mark.parametrize("tokens", [64, 2048])
def test_gradients_pass_as_through_the_fused_kernel(way: str, tokens: int):
    torch.manual_seed(0)
    query = torch.randn(1, 2, 512, 16, dtype=torch.bfloat16)
    keys, values = torch.randn(2, 1, 2, tokens, 16, dtype=torch.bfloat16)
    gradients = []
    for attend in (attention.attend, F.scaled_dot_product_attention):
        given = [entry.clone().requires_grad_() for entry in (query, keys, values)]
        (attend(*given).float() ** 2).sum().backward()
        gradients.append([entry.grad.float() for entry in given])
    for ours, exact in zip(*gradients, strict=True):
        assert _error(ours, exact) < 0.03


def test_large_scores_do_not_overflow(way: str):
    query = torch.full((1, 1, 4, 16), 300.0, dtype=torch.bfloat16)
    keys = torch.cat([query, -query], 2)
    values = torch.ones(1, 1, 8, 16, dtype=torch.bfloat16)
    assert torch.equal(attention.attend(query, keys, values), torch.ones(1, 1, 4, 16, dtype=torch.bfloat16))
