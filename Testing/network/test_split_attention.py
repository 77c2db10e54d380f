"""Attention in parts, and the kernels of a card, against PyTorch's own."""

from types import SimpleNamespace

import pytest
import torch
from sam2.modeling.sam2_utils import LayerNorm2d
from SAM2_3dMedLib.network import fused, split_attention
from SAM2_3dMedLib.network.split_attention import SplitAttention, in_parts
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CUDA = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no card")]
)


def _kernel(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What a card's kernel gives, written out."""
    logits = query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5
    return logits.softmax(-1) @ values, logits.logsumexp(-1)


@pytest.mark.parametrize(("tokens", "parts"), [(64, 2), (64, 8), (67, 4), (63, 8), (9, 8)])
def test_attention_in_parts_is_that_to_the_whole(tokens: int, parts: int) -> None:
    torch.manual_seed(tokens)
    query, keys, values = torch.randn(2, 10, 16), 5 * torch.randn(2, tokens, 16), torch.randn(2, tokens, 16)
    expected = F.scaled_dot_product_attention(query[:, None], keys[:, None], values[:, None])[:, 0]
    torch.testing.assert_close(in_parts(_kernel, query, keys, values, parts), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 28_736), (2, 28_736), (2, 7_211)])
def test_the_attention_that_runs_here_is_pytorchs(device: str, batch: int, tokens: int) -> None:
    torch.manual_seed(0)
    queries, width = (1024, 192) if tokens < 10_000 or device == "cpu" else (4096, 256)
    query = torch.randn(batch, queries, width, device=device, dtype=torch.bfloat16)[
        :, : 4096 if device == "cuda" else 8
    ]
    keys, values = torch.randn(2, batch, tokens, width, device=device, dtype=torch.bfloat16)
    ours = SplitAttention(query.device, query.dtype, width)(query, keys, values).float()
    exact = F.scaled_dot_product_attention(query[:, None].float(), keys[:, None].float(), values[:, None].float())[:, 0]
    assert ours.shape == exact.shape
    assert float((ours - exact).norm() / exact.norm()) < 5e-3


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_and_rotations_are_pytorchs(device: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for channels, side in ((4, 65), (96, 33), (256, 16), (768, 7)):
        layer = nn.Sequential(LayerNorm2d(channels), nn.LayerNorm(channels)).to(device)
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        maps = 3 * torch.randn(2, channels, side, side + 1, device=device, dtype=dtype) + 1
        expected_maps, expected_rows = layer[0](maps.float()), layer[1](maps.permute(0, 2, 3, 1).float())
        fused.use_fused_norms(layer)
        assert isinstance(layer[0], fused.FusedLayerNorm2d)
        if dtype == torch.float32 or maps.is_cuda:  # without a kernel it is SAM2's own, which rounds at each step
            torch.testing.assert_close(layer[0](maps).float(), expected_maps, **tolerance)
        rows = fused.layer_norm(layer[1], maps.permute(0, 2, 3, 1).float(), dtype)
        assert rows.dtype == dtype
        torch.testing.assert_close(rows.float(), expected_rows, **tolerance)
    angles = torch.polar(torch.ones(9, 8, device=device), torch.randn(9, 8, device=device))
    tokens = torch.randn(2, 3, 9, 16, device=device, dtype=dtype)
    turned = torch.view_as_real(torch.view_as_complex(tokens.float().unflatten(-1, (-1, 2))) * angles).flatten(-2)
    torch.testing.assert_close(fused.rotated(tokens, angles, dtype).float(), turned, **tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no card")
def test_a_card_with_triton_uses_it() -> None:
    pytest.importorskip("triton")
    assert fused._kernels(torch.device("cuda", torch.cuda.current_device())) is not None


def test_kernels_that_fail_or_differ_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's own way to fail is an exception of any kind; a wrong result is worse."""
    device = torch.device("cpu")
    fused._kernels.cache_clear()
    assert fused._kernels(device) is None, "no Triton kernel runs on a CPU"
    monkeypatch.setitem(__import__("sys").modules, "SAM2_3dMedLib.network.triton_kernels", nn)
    monkeypatch.setattr(fused, "_difference", lambda kernels, where: float("nan"))
    fused._kernels.cache_clear()
    assert fused._kernels(device) is None
    fused._kernels.cache_clear()


def _kernels_of_pytorch(**wrong) -> SimpleNamespace:
    """What `triton_kernels` offers, by PyTorch's own means; `wrong` ones replace them."""
    right = {
        "normalize_rows": lambda rows, scale, shift, eps, _: F.layer_norm(rows, rows.shape[-1:], scale, shift, eps),
        "normalize_channels": lambda maps, scale, shift, eps: F.layer_norm(
            maps.permute(0, 2, 3, 1), (maps.shape[1],), scale, shift, eps
        ).permute(0, 3, 1, 2),
        "weigh_parts": fused.weighed,
        "rotate_pairs": fused.rotated,
    }
    return SimpleNamespace(**(right | wrong))


@pytest.mark.parametrize("name", ["normalize_rows", "normalize_channels", "weigh_parts", "rotate_pairs"])
def test_a_kernel_that_gives_no_numbers_is_found_whichever_it_is(name: str) -> None:
    device = torch.device("cpu")
    assert fused._difference(_kernels_of_pytorch(), device) < 1e-5
    right = getattr(_kernels_of_pytorch(), name)
    wrong = _kernels_of_pytorch(**{name: lambda *given: right(*given) * float("nan")})
    assert not fused._difference(wrong, device) < 1e-2


@pytest.mark.parametrize("error", [AttributeError, ValueError, TypeError, RuntimeError])
def test_a_torch_without_such_kernels_attends_to_the_whole(error: type[Exception], monkeypatch) -> None:
    def missing(*_) -> None:
        raise error

    monkeypatch.setattr(split_attention, "_cudnn", missing)
    monkeypatch.setattr(split_attention, "_flash", missing)
    assert split_attention._working_kernel(torch.device("cpu"), torch.bfloat16, 64) is None


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_parts_are_weighed_by_their_sums_however_far_apart(device: str) -> None:
    torch.manual_seed(0)
    answers = torch.randn(2, 33, 9, 192, device=device).transpose(1, 2)[:, :3]
    sums = 200 * torch.randn(2, 3, 33, device=device)
    expected = (answers.double() * sums.double().softmax(1)[..., None]).sum(1)
    torch.testing.assert_close(fused.weighed(answers, sums).double(), expected, rtol=1e-4, atol=1e-5)
