"""Find a backbone's weights on this machine, and their revision.  Nothing is downloaded."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open

from generator_service.contract.backbones import BackboneSpec
from shared.errors import WeightsMissing

PACKAGED = "packaged"
CONVERTED = "converted"
INDEX = "model_index.json"
DENOISERS = ("transformer", "unet")
"""How diffusers calls the folder of the denoising network."""


@dataclass(frozen=True)
class Weights:
    """A complete folder in diffusers' format, or a LoRA's file."""

    path: Path
    revision: str
    """The hub's commit, or "sha256:" and the hash of the files."""


def find_weights(spec: BackboneSpec, folder: Path | None) -> Weights:
    """The weights in `folder`, or else those packaged with this software, or else those in the hub's cache.

    Raises WeightsMissing, which says what to type.
    """
    if folder is not None:
        remedy = f"set GENERATOR_RENDER_WEIGHTS to a folder of {spec.name}'s weights in diffusers' format"
        return _local(folder, remedy)
    if spec.weights == PACKAGED:
        package = spec.name.replace("-", "_")
        return _local(Path(str(files(package))) / "weights", f"train them with `make {spec.name}`, or install again")
    if spec.weights == CONVERTED:
        raise WeightsMissing(
            f"{spec.name} is converted from its public checkpoint, with `python -m generator_service convert "
            f"{spec.name} --checkpoint model.ckpt --out DIR`: do that, and set GENERATOR_RENDER_WEIGHTS to DIR"
        )
    remedy = (
        f"download them with `hf download {spec.weights}`, "
        "or set GENERATOR_RENDER_WEIGHTS to a folder that holds them in diffusers' format"
    )
    try:
        snapshot = Path(snapshot_download(spec.weights, local_files_only=True))
    except LocalEntryNotFoundError:
        raise WeightsMissing(f"{spec.weights} is not in the hub's cache: {remedy}") from None
    _check_complete(snapshot, remedy)
    return Weights(snapshot, revision=snapshot.name)


def find_lora(file: Path) -> Weights:
    """Raises WeightsMissing."""
    if file.suffix != ".safetensors" or not file.is_file():
        raise WeightsMissing(f"{file} is no .safetensors file: set GENERATOR_RENDER_LORA to one, or leave it out")
    with file.open("rb") as stream:
        return Weights(file, revision="sha256:" + hashlib.file_digest(stream, "sha256").hexdigest())


def components(folder: Path) -> list[str]:
    """The subfolders that make up the pipeline, in alphabetical order."""
    index = json.loads((folder / INDEX).read_text())
    return sorted(name for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None)


def checkpoint_dtype(folder: Path) -> torch.dtype:
    """The dtype that the denoising network was saved in."""
    first = sorted(file for network in DENOISERS for file in (folder / network).glob("*.safetensors"))[0]
    with safe_open(first, framework="pt") as tensors:
        name = next(iter(tensors.keys()))
        dtype: torch.dtype = tensors.get_tensor(name).dtype
    return dtype


def _local(folder: Path, remedy: str) -> Weights:
    _check_complete(folder, remedy)
    return Weights(folder, revision="sha256:" + _hash(folder))


def _check_complete(folder: Path, remedy: str) -> None:
    """An interrupted download leaves a folder that looks complete, so every needed file is checked."""
    if not (folder / INDEX).is_file():
        raise WeightsMissing(f"{folder} has no {INDEX}: {remedy}")
    for component in components(folder):
        needed = _required_files(folder / component)
        missing = sorted(name for name in needed if not (folder / component / name).is_file())
        if missing:
            raise WeightsMissing(f"{folder / component} lacks {', '.join(missing)}: {remedy}")


def _required_files(component: Path) -> set[str]:
    """The files that a component needs."""
    if component.name == "scheduler":
        return {"scheduler_config.json"}
    if component.name == "image_processor":
        return {"preprocessor_config.json"}
    if component.name == "tokenizer":
        return {
            "tokenizer_config.json",
            "tokenizer.json" if (component / "tokenizer.json").exists() else "spiece.model",
        }
    for index in component.glob("*.safetensors.index.json"):
        return {"config.json", *json.loads(index.read_text())["weight_map"].values()}
    weights = {file.name for file in component.glob("*.safetensors")}
    return {"config.json"} | (weights or {"*.safetensors"})


def _hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of every file of every component: about a second per gigabyte."""
    total = hashlib.sha256()
    for component in components(folder):
        for file in sorted(path for path in (folder / component).rglob("*") if path.is_file()):
            total.update(file.relative_to(folder).as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
