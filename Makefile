# Every target sets up what it needs: a bare machine with Python 3.11 or newer and make will do.
# `make help` lists them.

PYTHON ?= python3
CORES ?= all
COUNT ?= 3
SEED ?= 0
VENV := .venv
INSTALLED := $(VENV)/.installed
# The rules of the workflow call plain `fedrec`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED) ## an attack ruins a recommender, a defence saves it: two minutes, synthetic data
	@python tools/demo.py config/demo.yaml results/demo/figures/headline.png \
		results/demo/tables/losses.html results/demo/tables/claims.html

demo-full: $(INSTALLED) ## the whole paper in small, on synthetic data: every table and figure, in minutes
	@python tools/demo.py config/miniature.yaml

reproduce: $(INSTALLED) ## the paper: every table and figure (downloads MovieLens-1M and Gowalla)
	snakemake --cores $(CORES) reproduce-all

report: $(INSTALLED) ## what has been made, as pages: results/report.html and report.zip
	snakemake --report results/report.html
	snakemake --report results/report.zip

ablation: $(INSTALLED) ## what each switch between the paper's text and code does
	snakemake --cores $(CORES) ablation

arena: $(INSTALLED) ## attacks and defences beyond the paper, against one another: hours
	snakemake --cores $(CORES) --configfile config/arena.yaml

sweeps: $(INSTALLED) ## losses by the share of malicious clients, and by the server's belief: hours
	snakemake --cores $(CORES) --configfile config/sweeps.yaml

published: $(INSTALLED) ## tables and figures again from the kept records, without training
	snakemake --cores $(CORES) published-figures

verify-published: $(INSTALLED) ## run COUNT=3 published records again, chosen by SEED=0: to the bit?
	fedrec verify --count $(COUNT) --seed $(SEED)

test: $(INSTALLED) ## all tests
	@python -c 'import triton' 2> /dev/null \
		|| pip install --quiet --disable-pip-version-check --no-deps --requirement envs/triton.txt \
		|| echo "no Triton can be had: the tests of its kernels are skipped"
	@pytest --numprocesses logical --maxprocesses 8 --dist worksteal

lint: $(INSTALLED) ## formatter, linter, types, import directions, snakefmt, snakemake --lint
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint

docs: $(INSTALLED) ## the documentation site: build/docs/index.html
	sphinx-build --fail-on-warning --keep-going --quiet --jobs auto -b html docs build/docs

check: lint docs test audit ## everything that must hold before a commit

audit: $(INSTALLED) ## known vulnerabilities of the locked packages (needs pip-audit and the network)
	@python tools/audit.py envs/requirements.lock envs/torch.txt envs/slurm.txt

faults: $(INSTALLED) ## kill the pipeline, damage its files, move its memory about, some hundred times: an hour
	python -m tests.faults

soak: $(INSTALLED) ## many cells in one process: memory, files and disk must not grow
	python -m tests.soak

format: $(INSTALLED) ## format all code
	ruff format .
	ruff check --fix .
	snakefmt Snakefile workflow

bench: $(INSTALLED) ## milliseconds of a round and its parts
	fedrec bench --threads $(shell nproc 2>/dev/null || echo 1)

schema: $(INSTALLED) ## write config/schema.json anew
	fedrec schema > config/schema.json

# Upgrades everything that pyproject.toml allows, PyTorch excepted.
lock: ## write envs/requirements.lock anew
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --requirement envs/torch.txt
	$(VENV)-lock/bin/pip install --quiet "pip>=25.1"
	$(VENV)-lock/bin/pip install --quiet --group dev .
	echo "# Exact versions of everything but PyTorch (torch.txt). Made by \`make lock\`." > envs/requirements.lock
	$(VENV)-lock/bin/pip freeze | grep -Ev '^(torch|fedrec|pip)( |=)' >> envs/requirements.lock
	rm -rf $(VENV)-lock

clean: ## remove what the demos made, and compiled loops
	rm -rf results/demo results/miniature fedrec/kernels/__pycache__

$(INSTALLED): envs/torch.txt envs/requirements.lock envs/byzfl.txt envs/slurm.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| (echo "fedrec needs Python 3.11 or newer; name one: make PYTHON=python3.12 …" && exit 1)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement envs/torch.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement envs/requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement envs/byzfl.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement envs/slurm.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.PHONY: help demo demo-full reproduce report ablation arena sweeps published verify-published test lint docs check audit faults soak format bench schema lock clean
