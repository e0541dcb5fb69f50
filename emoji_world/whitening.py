"""Give every latent channel mean 0 and a deviation of our choice by rewriting the VAE's own weights, so that one scalar
`scaling_factor` (1) is right for all of them.  The reconstruction stays what it was:

    encode'(x) = (encode(x) - mean) / deviation        decode'(z) = decode(z · deviation + mean)

but for the frame's rim, where the decoder pads with zeros, which now stand for the mean (0.006 dB of the trained VAE).

Which deviation: were it 1 in every channel, the loss of what denoises them would be as much about channels that hardly
show as about those that all is made of; in the trained VAE an error of 1 costs 300 times as many pixels in one as in
another.  So channels are as large as they matter, half-way in decibels between that and even: deviation ∝ ⁴√cost.
What is coarse is then decided before what is fine, too, as in pictures themselves.
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

SHAKE = 0.3
"""Deviation of the noise by which a channel's cost is measured."""


@torch.no_grad()
def whiten(vae: AutoencoderKLCogVideoX, mean: Tensor, deviation: Tensor) -> None:
    """mean, deviation: [latent channel], as measured on the posterior mode.  Changes `vae` in place."""
    channels = len(mean)
    last = vae.encoder.conv_out.conv  # gives mean and log variance of the posterior, one after the other
    last.bias[:channels].sub_(mean)
    last.bias[:channels].div_(deviation)
    last.weight[:channels].div_(deviation.view(-1, 1, 1, 1, 1))
    last.bias[channels:].sub_(2 * deviation.log())
    readers = [vae.decoder.conv_in.conv]
    readers += [
        module.conv for name, module in vae.decoder.named_modules() if name.endswith(("conv_y", "conv_b"))
    ]  # the spatial norms read the latent too
    for convolution in readers:
        weight = convolution.weight
        convolution.bias.add_((weight * mean.view(1, -1, 1, 1, 1)).sum((1, 2, 3, 4)))
        weight.mul_(deviation.view(1, -1, 1, 1, 1))


@torch.no_grad()
def measure_costs(vae: AutoencoderKLCogVideoX, latents: Tensor, random: torch.Generator) -> Tensor:
    """[latent channel]: the mean squared error of pixels (-1..1) for one of 1 in that channel.

    latents: [clip, latent channel, frames, rows, columns]."""
    plain = vae.decode(latents).sample
    costs = []
    for channel in range(latents.shape[1]):
        shaken = latents.clone()
        shaken[:, channel] += SHAKE * torch.randn(shaken[:, channel].shape, generator=random).to(latents)
        costs.append((vae.decode(shaken).sample - plain).square().mean() / SHAKE**2)
    return torch.stack(costs)


def weigh_channels(costs: Tensor) -> Tensor:
    """costs: of whitened latents -> [latent channel], mean square 1, the deviation that each is to have."""
    deviation = costs**0.25
    return deviation / deviation.square().mean().sqrt()
