"""Run a command on a GPU of its own: `RENDER_GPUS=4,5 python -m deploy.container.claim_gpu COMMAND …`.

Replicas of one container all get the same environment, so they cannot be told different GPUs.  Each takes the first
one of RENDER_GPUS that no other has, by a lock on a file in a folder they share, and becomes the command.  The lock
belongs to the process: the kernel releases it at the end, whatever the end is.
"""

import fcntl
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CLAIMS: Final = Path("/run/gpus")


class NoneFree(Exception):
    pass


def claim(devices: Sequence[str], folder: Path) -> tuple[str, int]:
    """The first device nobody has, and the descriptor that holds it.  Raises NoneFree."""
    for device in devices:
        descriptor = os.open(folder / re.sub(r"[^\w-]", "_", device), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return device, descriptor
    raise NoneFree(f"all {len(devices)} GPUs of RENDER_GPUS have a worker: RENDER_WORKERS should not be more")


def main(command: list[str]) -> None:
    """Does not return, unless no GPU is free."""
    devices = [device.strip() for device in os.environ["RENDER_GPUS"].split(",") if device.strip()]
    try:
        device, descriptor = claim(devices, CLAIMS)
    except NoneFree as error:
        sys.exit(str(error))
    os.set_inheritable(descriptor, True)
    # By default CUDA counts the fastest GPU first; nvidia-smi, and so whoever filled RENDER_GPUS, counts by bus.
    os.environ |= {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    os.execvp(command[0], command)  # noqa: S606  (the container's own command line)


if __name__ == "__main__":
    main(sys.argv[1:])
