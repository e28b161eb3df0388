# The developer's commands. `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test prove check fix serve bench pictures lock

# Tests start the program some hundred times: each start would compile it anew where no bytecode may be written.
test prove: export PYTHONDONTWRITEBYTECODE =

demo: .venv/ready ; $(BIN)/digest demo
test: .venv/ready ; $(BIN)/python -m pytest -n auto --dist worksteal
prove: .venv/ready ; $(BIN)/python -m benchmarks.prove
bench: .venv/ready ; $(BIN)/python -m benchmarks
pictures: .venv/ready ; $(BIN)/python -m benchmarks.pictures
serve: .venv/ready ; $(BIN)/digest serve

check: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/python -m pytest -q tests/test_house.py

fix: .venv/ready
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

# Locked with hashes and without addresses: any index that has the files will do.
lock: .venv/ready
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml --group dev -o requirements/dev.txt

.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch .venv/ready
