"""What Prometheus is told of a render worker's GPU."""

from collections.abc import Iterator

import torch
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class GpuMemory(Collector):
    def __init__(self, device: torch.device) -> None:
        self._device = device

    def collect(self) -> Iterator[GaugeMetricFamily]:
        free, total = torch.cuda.mem_get_info(self._device)
        memory = GaugeMetricFamily("generator_gpu_memory_bytes", "Memory of this worker's GPU.", labels=["state"])
        memory.add_metric(["allocated"], torch.cuda.memory_allocated(self._device))
        memory.add_metric(["reserved"], torch.cuda.memory_reserved(self._device))
        memory.add_metric(["free"], free)
        memory.add_metric(["total"], total)
        yield memory
