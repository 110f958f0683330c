# All that people and CI do with this project, by name. `make` alone explains itself.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

PACKAGES := aws_backup dynamodb_bulk restore_proof recovery_retention backup_flows backup_console_app local_aws
DAILY_FROM ?= $(shell $(PYTHON) -c "import datetime as d; print(d.date.today() - d.timedelta(31))")
DAILY_TO   ?= $(shell $(PYTHON) -c "import datetime as d; print(d.date.today() + d.timedelta(31))")
# The run's own options, for example: make run ARGS="--once"
ARGS ?=
# Test processes side by side.
JOBS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3.11]"
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' \
	  | while IFS="$$(printf '\t')" read -r name text; do printf '  %-15s %s\n' "$$name" "$$text"; done

.PHONY: venv
venv: ## Make the environment (.venv) from the lock; does nothing while the lock is unchanged
	@$(PYTHON) scripts/make_env.py

.PHONY: run
run: venv ## Start the local AWS and Airflow, run the story end to end, show the verdict, stay up until Ctrl-C
	@$(BIN)/python scripts/run_local.py $(ARGS)

.PHONY: test
test: test-unit test-component test-e2e ## Run all tests

.PHONY: test-unit
test-unit: venv ## Run the tests of single modules (seconds)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not e2e and not component" $(ARGS)

.PHONY: test-component
test-component: venv ## Run the tests of whole parts: the local AWS, the flows on it, the DAG files
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "component and not e2e" $(ARGS)

.PHONY: test-e2e
test-e2e: venv data ## Run the tests that start Airflow and the local AWS as processes
	$(BIN)/python -m pytest -m e2e $(ARGS)

.PHONY: bench
bench: venv ## Measure the bulk engine side by side with boto3 (docs/performance.md)
	$(BIN)/python benchmarks/run.py $(ARGS)

.PHONY: lint
lint: venv lint-imports ## Check style, import rules, spelling, the CloudFormation template and the compose file
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/cfn-lint include/cloudformation/*.yaml
	$(BIN)/python scripts/check_compose.py

.PHONY: lint-imports
lint-imports: venv
	PYTHONPATH=plugins:include $(BIN)/lint-imports

.PHONY: type
type: venv ## Check the types of every package and script
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))
	$(BIN)/mypy scripts/*.py
	MYPYPATH=benchmarks:include/data $(BIN)/mypy benchmarks/*.py

.PHONY: data
data: venv ## Make the daily order files around today that runs by date load (existing ones stay)
	@$(BIN)/python include/data/generate_orders.py --daily --from $(DAILY_FROM) --to $(DAILY_TO) \
	  --out-dir include/data/daily

.PHONY: lock
lock: venv ## Pin all requirements anew (requirements*.txt), with hashes
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --strip-extras -q \
	  -o requirements.txt requirements.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --strip-extras -q \
	  -o requirements-dev.txt requirements-dev.in

.PHONY: env
env: ## Make the .env file with drawn secrets that docker-compose.yaml asks for
	@$(PYTHON) scripts/make_dotenv.py

.PHONY: ci
ci: lint type test ## What CI runs

.PHONY: clean
clean: ## Remove all that was made here, the environment included
	rm -rf $(VENV) .airflow .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis include/data/daily \
	  benchmarks/servers/.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
