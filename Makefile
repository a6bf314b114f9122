# agentclock. `make` or `make help` lists what can be made.
.DEFAULT_GOAL := help
SHELL := /bin/bash

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

# Tests start hundreds of processes: what one has compiled, the others need not compile again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo serve test check format unit conformance browser integration sim chaos trouble fuzz bench lock pictures docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.dev ## install everything for development into .venv (once)

demo: .venv/.demo ## see it work: agents, a team and a workflow on schedules, without a key
	$(BIN)/agentclock demo

serve: .venv/.demo ## run the server (settings from AGENTCLOCK_* variables)
	$(BIN)/agentclock serve

test: check ## all checks and all tests that end within minutes
	$(PYTEST) -n 4 --dist loadscope --no-loadscope-reorder -m "not long" --ignore=tests/chaos --ignore=tests/bench --ignore=tests/test_tidy.py

check: setup ## style, types (also of scripts), layers and tidiness
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	tsc -p tools/tsconfig.json
	$(PYTEST) -q tests/test_tidy.py

format: setup ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: setup ## tests of pure code
	$(PYTEST) tests/unit

conformance: setup ## one suite for both stores, SQLite and PostgreSQL
	$(PYTEST) tests/conformance

browser: setup ## the dashboard in a real Chromium
	$(PYTEST) tests/browser

integration: setup ## servers, processes and agno together
	$(PYTEST) tests/integration

sim: setup ## simulated weeks with failures on both stores: SEEDS=500, SEED=7, STORE=sqlite, PLAN=plan.toml
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100)) \
		$(if $(STORE),--store $(STORE)) $(if $(PLAN),--plan $(PLAN)) $(if $(WORKERS),--workers $(WORKERS))

chaos: setup ## real processes, kill -9, cut connections, then a checker: MINUTES=10, WORKERS=3, SEED=7
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),5) --workers $(or $(WORKERS),3) $(if $(SEED),--seed $(SEED))

trouble: setup ## single failures of real processes, and several AgentOS workers, as tests (slow)
	$(PYTEST) tests/chaos

fuzz: setup ## requests made out of the OpenAPI document: REQUESTS=20000, STORE=sqlite, SEED=7
	$(BIN)/python -m tests.fuzz --requests $(or $(REQUESTS),5000) $(if $(STORE),--store $(STORE)) \
		$(if $(SEED),--seed $(SEED))

bench: setup ## the figures of the README, as ratios measured here (BENCH_QUICK=1: a small round)
	@set -e; for script in tests/bench/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

lock: setup ## recompile requirements/*.txt with the newest versions allowed
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt
	$(COMPILE) --extra agno -c requirements/dev.txt pyproject.toml requirements/build.in -o requirements/demo.txt
	$(COMPILE) --extra postgres --extra otel -c requirements/dev.txt pyproject.toml -o requirements/server.txt
	$(COMPILE) -c requirements/dev.txt requirements/build.in -o requirements/build.txt

pictures: setup ## take the pictures of the README anew
	PICTURES=docs/pictures $(PYTEST) tests/browser/test_pictures.py

docs: setup ## rewrite docs/reference from the code
	$(BIN)/python tools/reference

clean: ## remove .venv, caches and build results
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

INSTALLERS := requirements/uv.txt pyproject.toml tools/install tools/browser

.venv/.dev: requirements/dev.txt $(INSTALLERS)
	@tools/install dev
	@tools/browser
	@touch .venv/.dev .venv/.demo

.venv/.demo: requirements/demo.txt $(INSTALLERS)
	@tools/install demo
	@touch .venv/.demo
