# make run, make test: each sets up all it needs in .venv and then does what it says.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test spark demo-data bench bench-peers bench-scale bench-spark bench-app check format clean

run: $(VENV)/.run demo-data
	@$(BIN)/python app.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest

# Adds Apache Spark to .venv; the tests on it then run too. It needs Java 17 or later.
spark: $(VENV)/.spark

demo-data: $(VENV)/.run
	@$(BIN)/python -m diffing.demo --missing

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

# Installs the peers that pip has, each in an environment of its own; csvdiff and qsv are taken if they are on the PATH.
bench-peers: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run --peers 1000000 10000000

# Growth with the rows, and wide, repeated and very large files; some 10 GB of files are made in benchmarks/data.
bench-scale: $(VENV)/.dev
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.scale --shapes

# Both engines side by side; Spark is added to .venv.
bench-spark: $(VENV)/.dev $(VENV)/.spark
	$(BIN)/python -m benchmarks.spark

bench-app: $(VENV)/.dev
	$(BIN)/python -m benchmarks.app

# Everything in tests/drills, one after the other; it takes its time. One of them: python -m tests.drills.dirty
DRILLS := $(notdir $(basename $(wildcard tests/drills/[a-z]*.py)))
.PHONY: drill
drill: $(VENV)/.dev
	@failed=0; for each in $(DRILLS); do echo "$$each:"; $(BIN)/python -m tests.drills.$$each || failed=1; done; exit $$failed

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.audit

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

$(VENV)/.spark: $(VENV)/.run requirements-spark.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-spark.txt
	@touch $@
