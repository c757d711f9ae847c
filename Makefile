# Two commands: `make demo` and `make test`. The environment lies in .venv; each step is done again only when it must be.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LITELLM := .venv-litellm
TASK ?= How many prime numbers are there below 1000, and what is their sum?
CODE := src tests scripts $(wildcard benchmarks evaluation examples)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test attacks lint format bench eval docs clean

help: ## Show what there is.
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1 ~\2/p' $(MAKEFILE_LIST) | awk -F~ '{ printf "%-16s %s\n", $$1, $$2 }'

demo: $(VENV)/.installed ## Ask the embedded model a question; its code runs in the sandbox.
	@$(BIN)/actloop fetch-model > /dev/null
	@$(BIN)/actloop "$(TASK)"

test: $(VENV)/.developed $(LITELLM)/.developed ## Everything CI runs: formatting, lint, strict types, tests.
	@$(MAKE) --no-print-directory lint
	@$(BIN)/actloop fetch-model > /dev/null
	@sh scripts/get_browser.sh $(BIN)
	@sh scripts/get_engines.sh
	@sh scripts/run_tests.sh $(BIN)
	$(LITELLM)/bin/pytest -W default::pytest.PytestUnraisableExceptionWarning $(LITELLM_TESTS)

attacks: $(VENV)/.developed ## Try all attacks on every executor that can run here; writes docs/attacks.md.
	@sh scripts/get_engines.sh
	@$(BIN)/python -m tests.attacks.table $(ARGS)

lint: $(VENV)/.developed ## Formatting, lint and strict types.
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/basedpyright

format: $(VENV)/.developed ## Format the code, and repair what can be repaired.
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(VENV)/.developed ## Measure it beside smolagents (fetched into an environment of its own).
	$(BIN)/python -m benchmarks.run $(ARGS)

eval: $(VENV)/.developed ## Solve the evaluation's tasks with the embedded model; ARGS=--peer compares.
	$(BIN)/python -m evaluation.run $(ARGS)

docs: $(VENV)/.documented ## Build the documentation into site/.
	@$(BIN)/python scripts/build_docs.py

clean: ## Remove the environment and what was built; the model stays in the user's cache.
	rm -rf $(VENV) $(LITELLM) build dist site .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each of these stands for an environment with more in it; pip's own words are shown only when it fails.

$(VENV)/.made:
	@sh scripts/make_venv.sh "$(PYTHON)" "$(VENV)"
	@sh scripts/pip_install.sh $(BIN) "a current pip" --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@sh scripts/pip_install.sh $(BIN) "actloop and its embedded model's runtime" -e '.[local]'
	@touch $@

$(VENV)/.developed: $(VENV)/.installed pyproject.toml
	@sh scripts/pip_install.sh $(BIN) "the tools of developers" --group dev
	@touch $@

$(VENV)/.documented: $(VENV)/.developed pyproject.toml
	@sh scripts/pip_install.sh $(BIN) "the tools for documentation" --group docs
	@touch $@

# The older SDK sometimes leaves a socket to the collector, which is its own affair.
LITELLM_TESTS := tests/models/test_litellm.py tests/models/test_openai.py

# LiteLLM needs an older SDK of OpenAI than the rest is tested with, so its tests run beside.

$(LITELLM)/.developed: pyproject.toml
	@sh scripts/make_venv.sh "$(PYTHON)" "$(LITELLM)"
	@sh scripts/pip_install.sh $(LITELLM)/bin "a current pip" --upgrade 'pip>=25.1'
	@sh scripts/pip_install.sh $(LITELLM)/bin "LiteLLM, to test its adapter" -e '.[litellm,openai]' --group test
	@touch $@
