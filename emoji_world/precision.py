"""Mixed precision where it is faster."""

import torch


def mixed_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 on hardware that multiplies it; a no-op on a CPU that would emulate it."""
    return torch.autocast(device, torch.bfloat16, enabled=multiplies_bfloat16(device))


def multiplies_bfloat16(device: str) -> bool:
    return device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
