# make run, make test: each sets up all it needs in .venv and then does what it says.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test demo-data bench bench-app check format clean

run: $(VENV)/.run demo-data
	@$(BIN)/python app.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest

demo-data: $(VENV)/.run
	@$(BIN)/python -m diffing.demo --missing

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

bench-app: $(VENV)/.dev
	$(BIN)/python -m benchmarks.app

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) data/demo store .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.run: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
