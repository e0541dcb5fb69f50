"""Give every latent channel mean 0 and deviation 1 by rewriting the VAE's own weights, so that one scalar
`scaling_factor` (1) is right for all of them.  The reconstruction stays what it was:

    encode'(x) = (encode(x) - mean) / deviation        decode'(z) = decode(z · deviation + mean)

but for the frame's rim, where the decoder pads with zeros, which now stand for the mean (0.006 dB of the trained VAE).
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor


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
