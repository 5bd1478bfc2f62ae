# The two commands of a newcomer are `make run` and `make test`; each sets up all it needs. `make check` is the part of
# `make test` to run before each commit: without the slow tests, in a few minutes.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BIN := .venv/bin
# Each of the two processes uses one thread, because threads that share a core slow each other down. Compiled modules are
# kept, whatever the environment says, because many tests start Python.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: run wheel docs test check lint types clean

run: .venv/run.stamp
	.dvc/repro
	$(BIN)/mechtag track
	$(BIN)/mechtag report
	@echo
	@echo "Tagged search results: data/work/update/tagged/review.xlsx (tagged.csv: the same as CSV; tagged.ris: for reference managers)"
	@echo "Accuracy report:       reports/report.html (open it in a browser; it needs no network)"
	@echo "Its figures:           reports/metrics.json, reports/accuracy.md, each paper: reports/predictions_vs_table2.csv"
	@echo "Text for the paper:    reports/methods.md (model card: models/trained/README.md)"

test: .venv/test.stamp lint types
	$(PYTEST) -m 'slow or not slow'

# Types are checked while the tests run, and what mypy found is printed after the results of the tests.
check: .venv/test.stamp lint
	@echo "$(BIN)/mypy & $(PYTEST)"
	@$(BIN)/mypy >.venv/types.txt 2>&1 & types=$$!; status=0; \
	$(PYTEST) || status=$$?; \
	wait $$types || status=$$?; \
	cat .venv/types.txt; exit $$status

# The package with the codebook and the model that the pipeline trained.
wheel: .venv/run.stamp
	.dvc/repro texts
	rm -rf build dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@echo "Install it anywhere: pipx install $$(echo dist/mechtag-*.whl)"

# The documentation site, which opens without a server and without a network. Warnings are errors.
docs: .venv/test.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Documentation: site/index.html (open it in a browser; it needs no network)"

lint: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/test.stamp
	$(BIN)/mypy

# A stamp is touched last, so that an interrupted set-up is taken up again.
.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mechtag needs Python 3.11 or newer; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/test.stamp: .venv/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs,fast,test]'
	touch $@

clean:
	rm -rf .venv site data/work models/trained reports
