"""Device and dtype of a network."""

import os

import torch

from generator_service.settings import WorkerSettings
from shared.errors import RenderingFailed

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(settings: WorkerSettings) -> torch.device:
    """Raises RenderingFailed for a device that this machine lacks, or that the other settings do not suit."""
    try:
        device = torch.device(settings.device if settings.device != "auto" else _best_device())
    except RuntimeError as error:
        raise RenderingFailed(f"'{settings.device}' is no device: {error}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RenderingFailed(f"'{settings.device}' was asked for, but there is no CUDA device on this machine")
    if device.type == "cpu" and settings.offload != "none":
        raise RenderingFailed(f"offload '{settings.offload}' was asked for, but a CPU has no GPU memory to save")
    if device.type == "cuda":
        # cuBLAS repeats its results only with a fixed workspace, and reads this once, at its first product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return device


def resolve_dtype(settings: WorkerSettings, device: torch.device, on_gpu: torch.dtype) -> torch.dtype:
    """on_gpu: where none is asked for."""
    if settings.dtype != "auto":
        return DTYPES[settings.dtype]
    return torch.float32 if device.type == "cpu" else on_gpu


def device_name(device: torch.device) -> str:
    """For the manifest: "cpu", or "cuda (NVIDIA H200)"."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
