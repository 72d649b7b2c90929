# The two commands of a newcomer are `make demo` and `make test`; both set everything up and cost nothing to repeat.
BIN := .venv/bin
ARGS ?=

.PHONY: help setup demo test check unit bench format clean

help:
	@echo "make demo    the whole road on the texts in examples/, to runs/demo/report.html (ARGS='--input FILE' for your own)"
	@echo "make test    set up, then format, lint, types, import rules and all tests"
	@echo "make check   format, lint, types and import rules only"
	@echo "make bench   time and memory of each stage of the demo, to benchmarks/results/"
	@echo "make format  rewrite the sources in the house's format"

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
	@$(BIN)/python -m pytest $(ARGS)

test: check unit

bench: setup
	@$(BIN)/python -m benchmarks.demo_stages $(ARGS)

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
