# `make help` lists what there is. Everything runs from `.venv`, which is made on first use and kept up to requirements/.

PYTHON ?= python3
VENV := .venv/bin/python
LOCK = $(VENV) -m uv pip compile --quiet --generate-hashes --python-version 3.11 --universal $(LOCK_OPTIONS) \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help run test lint types check ci bench chaos strain messages lock clean reset local tools

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

run: local ## start everything: PORT=8000 make run
	@exec $(VENV) -m config.stack

test: tools ## the whole suite, on servers of its own; ARGS="-k inbox" for a part of it
	@exec $(VENV) -m tests $(ARGS)

lint: tools ## style, format and the order of imports between the rooms
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	.venv/bin/lint-imports

types: tools ## mypy, strict
	$(VENV) -m mypy

check: tools ## settings as in production, migrations complete and fit for an empty database
	env $$(grep -v '^#' deploy/check.env) $(VENV) -W error manage.py check --deploy --fail-level WARNING
	$(VENV) -m config.stack.with_servers \
		sh -ec '$(VENV) manage.py makemigrations --check --dry-run; $(VENV) manage.py migrate --no-input'

ci: lint types check ## exactly what CI runs
	$(VENV) -m tests --cov --cov-report=term $(ARGS)

bench: local ## the benchmark: a table here, figures in bench/results/
	@exec $(VENV) -m bench $(ARGS)

chaos: tools ## kill every part in mid-load and count what is lost or doubled: a table here and in docs/reliability.md
	@exec $(VENV) -m tests.acceptance.chaos $(ARGS)

strain: tools ## hang providers, flood, slow the database, and measure what others feel: a table here and in docs/reliability.md
	@exec $(VENV) -m tests.acceptance.strain $(ARGS)

messages: local ## compile the translations of recipients' pages
	.venv/bin/pybabel compile --domain django --directory preferences/locale

lock: tools ## compile requirements/*.in; LOCK_OPTIONS=--upgrade for newer versions
	echo uv | $(LOCK) - -o requirements/uv.txt
	$(LOCK) requirements/base.in -o requirements/base.txt
	$(LOCK) requirements/local.in -c requirements/base.txt -o requirements/local.txt
	$(LOCK) requirements/test.in -c requirements/local.txt -o requirements/test.txt

clean: ## remove what can be made again; the data of local runs stays
	rm -rf .venv staticfiles htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

reset: local ## forget the data of local runs
	@exec $(VENV) -m config.stack.reset

local:
	@$(PYTHON) config/stack/bootstrap.py local

tools:
	@$(PYTHON) config/stack/bootstrap.py test
