"""Run a command on GPUs of its own: `RENDER_GPUS=4,5 python -m deploy.container.claim_gpu COMMAND …`.

Replicas of one container all get the same environment, so they cannot be told different GPUs.  Each takes the first
ones of RENDER_GPUS that no other has, as many as are to share a video, by locks on files in a folder they share, and
becomes the command.  The locks belong to the process: the kernel releases them at the end, whatever the end is.
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


def claim(devices: Sequence[str], folder: Path, count: int = 1) -> dict[str, int]:
    """The first devices nobody has, so many, each with the descriptor that holds it.  Raises NoneFree."""
    claimed: dict[str, int] = {}
    for device in devices:
        descriptor = os.open(folder / re.sub(r"[^\w-]", "_", device), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            claimed[device] = descriptor
        if len(claimed) == count:
            return claimed
    for descriptor in claimed.values():
        os.close(descriptor)
    raise NoneFree(
        f"of the {len(devices)} GPUs of RENDER_GPUS {len(claimed)} have no worker, and one takes {count}: "
        "RENDER_WORKERS should not be more than there are GPUs for"
    )


def main(command: list[str]) -> None:
    """Does not return, unless too few GPUs are free."""
    devices = [device.strip() for device in os.environ["RENDER_GPUS"].split(",") if device.strip()]
    try:
        claimed = claim(devices, CLAIMS, int(os.environ.get("GENERATOR_RENDER_CONTEXT_PARALLEL") or 1))
    except NoneFree as error:
        sys.exit(str(error))
    for descriptor in claimed.values():
        os.set_inheritable(descriptor, True)
    # By default CUDA counts the fastest GPU first; nvidia-smi, and so whoever filled RENDER_GPUS, counts by bus.
    os.environ |= {"CUDA_VISIBLE_DEVICES": ",".join(claimed), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    os.execvp(command[0], command)  # noqa: S606  (the container's own command line)


if __name__ == "__main__":
    main(sys.argv[1:])
