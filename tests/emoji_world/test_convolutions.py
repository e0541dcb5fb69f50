"""Convolutions in time as sums of convolutions in space: the same numbers, and faster where it matters."""

from copy import deepcopy

import torch

from emoji_world.convolutions import split_convolutions
from emoji_world.networks import WEIGHTS
from emoji_world.training.vae import load_vae


def test_split_convolutions_encode_and_decode_the_same() -> None:
    stock = load_vae(WEIGHTS / "vae")
    split = deepcopy(stock)
    split_convolutions(split)
    video = torch.rand(1, 3, 9, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = [vae.encode(video).latent_dist.mode() for vae in (stock, split)]
        decoded = [vae.decode(latents[0]).sample for vae in (stock, split)]
    assert latents[0].std() > 0.1
    assert torch.allclose(*latents, atol=1e-4)
    assert torch.allclose(*decoded, atol=1e-4)


def test_split_convolutions_have_the_stock_gradients() -> None:
    stock = load_vae(WEIGHTS / "vae")
    split = deepcopy(stock)
    split_convolutions(split)
    latents = torch.randn(1, 8, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    for vae in (stock, split):
        vae.decode(latents).sample.square().mean().backward()
    for (name, one), other in zip(stock.decoder.named_parameters(), split.decoder.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-5 * float(one.grad.abs().max()) + 1e-7), name
