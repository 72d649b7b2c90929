# The two commands of a newcomer are `make demo` and `make test`; both set everything up and cost nothing to repeat.
BIN := .venv/bin
ARGS ?=

.PHONY: help setup demo test check unit drill bench format clean

help:
	@echo "make demo    the whole road on the texts in examples/, to runs/demo/report.html (ARGS='--input FILE' for your own)"
	@echo "make test    set up, then format, lint, types, import rules and all tests"
	@echo "make setup   .venv alone, with mglm in it (make demo and make test begin with it)"
	@echo "make check   format, lint, types and import rules only"
	@echo "make unit    tests only (ARGS='-n 0 tests/FILE.py' for some of them, in one process)"
	@echo "make drill   what tests do not do: browsers, kills, load (ARGS=NAME for one; see drills/)"
	@echo "make bench   speed and memory beside peers, to docs/benchmarks.md (ARGS=NAME for one; see benchmarks/)"
	@echo "make format  rewrite the sources in the house's format"
	@echo "make clean   remove .venv, runs/ and caches"

setup:
	@./set_up.sh

demo: setup
	@$(BIN)/mglm demo $(ARGS)

check: setup
	@echo "format, lint, types, import rules" >&2
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test: check unit

drill: setup
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --requirement drills/requirements.txt
	@$(BIN)/python -m drills $(ARGS)

# Peers live in an environment of their own: what they need must not decide what we run with.
bench: setup
	@test -x .venv-peers/bin/python || $(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/peers.txt
	@$(BIN)/python -m benchmarks $(ARGS)

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-peers build runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
