# Two commands on a fresh machine with Python 3.11+, git and make: `make demo` and `make test`.
# `make coverage` runs the tests again, slower, and says which lines none reaches.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo/run

# Threads that wait for each other asleep: on a busy machine, waiting awake takes all the time there is.
demo: export OMP_WAIT_POLICY = passive

.PHONY: demo test coverage docs clean

# The stamp is as new as the last install, so a changed dependency installs again.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "yoloprune needs Python 3.11+: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(DEMO)/hands: | $(VENV)/installed
	rm -rf $(DEMO)/rendered
	$(BIN)/python -m demo.hands --out $(DEMO)/rendered --train 480 --test 160
	$(BIN)/yoloprune data vgg-hand $(DEMO)/rendered --out $@

# One thread: more of them share little of so small a network, and starve the loader of samples.
demo: $(VENV)/installed $(DEMO)/hands
	OMP_NUM_THREADS=1 $(BIN)/yoloprune case-study --preset demo --data $(DEMO)/hands \
		--dense weights/hands.cfg weights/hands.weights --out $(DEMO)/study
	@echo "The report is in $(DEMO)/study/report.html; for data of your own: docs/case-study.md"

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist loadfile

coverage: $(VENV)/installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov --cov-report=
	$(BIN)/coverage report

docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build
	@echo "The documentation is in site/index.html"

clean:
	rm -rf $(VENV) $(DEMO) site .coverage
