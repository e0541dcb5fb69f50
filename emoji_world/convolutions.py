"""The VAE's convolutions in time as sums of convolutions in space, which a CPU computes four to ten times faster.

    conv3d(x, w)[t] = Σ_k conv2d(x[t + k], w[:, :, k])        k: taps in time

Exact but for rounding.  Where the CPU multiplies bfloat16, torch's own 3-D convolution is faster in it.
"""

from types import MethodType

from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d
from torch import Tensor
from torch.nn.functional import conv2d


def split_convolutions(vae: AutoencoderKLCogVideoX) -> None:
    """Compute this VAE's 3-D convolutions so from now on; its weights stay as they are."""
    for module in vae.modules():
        if isinstance(module, CogVideoXSafeConv3d) and module.stride == (1, 1, 1):
            module.forward = MethodType(_convolve, module)


def _convolve(self: CogVideoXSafeConv3d, x: Tensor) -> Tensor:
    """x: [batch, channel, frame, row, column], padded in time already."""
    taps = self.kernel_size[0]
    frames = x.shape[2] - taps + 1
    padding = self.padding if isinstance(self.padding, int) else self.padding[1:]
    images = x.transpose(1, 2)
    first, *others = (images[:, k : k + frames].flatten(0, 1) for k in range(taps))
    summed = conv2d(first, self.weight[:, :, 0], self.bias, padding=padding)
    for k, other in enumerate(others, 1):
        summed = summed + conv2d(other, self.weight[:, :, k], padding=padding)
    result: Tensor = summed.unflatten(0, (-1, frames)).transpose(1, 2)
    return result
