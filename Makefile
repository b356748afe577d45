# Everything a contributor types. Needs Python 3.11 or newer; the rest is installed into .venv.
.DEFAULT_GOAL := help
.PHONY: help demo test cover bench bench-quick lint types docs check lock clean
BIN := .venv/bin

help: ## list these targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/run.stamp ## build the bundled project and show its metrics
	@$(BIN)/tally demo

test: .venv/dev.stamp ## run every test (pass pytest options in ARGS)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

cover: .venv/dev.stamp ## run every test and tell which lines none of them reaches (half as long again)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term:skip-covered $(ARGS)

bench: .venv/dev.stamp ## run all benchmarks, with contenders in environments of their own (an hour)
	@$(BIN)/python -m bench

bench-quick: .venv/dev.stamp ## run small versions of all benchmarks (about a minute)
	@$(BIN)/python -m bench --quick

lint: .venv/dev.stamp ## check style, formatting and the import contract
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

types: .venv/dev.stamp ## check types, strictly
	@$(BIN)/mypy

docs: .venv/dev.stamp ## write the generated parts of the documentation
	@$(BIN)/python scripts/generate_docs.py

check: lint types test ## all of the above checks, as CI does

lock: ## pin dependencies again after a change in pyproject.toml (needs uv)
	@sh scripts/lock.sh

clean: ## remove the environment and everything that tools left behind
	rm -rf .venv build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.stamp: requirements/run.txt pyproject.toml
	@sh scripts/install.sh run
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml
	@sh scripts/install.sh dev
	@touch $@ .venv/run.stamp
