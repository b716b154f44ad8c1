# Everything a person or CI does here. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv installs in seconds what takes pip a minute; where it cannot reach a package index that pip can, pip does it.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WHEELS := ./protos ./services/directory ./services/importer ./services/notifier ./services/scim_gateway ./cli

.PHONY: help install protos demo run test test-processes lint format bench ci ci-long lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/' | expand -t 18

install: $(VENV)/.installed ## make .venv with everything in it; leaves .venv/bin/muster

$(VENV)/.installed: requirements.lock requirements-uv.lock protos/generate.py $(wildcard protos/muster/*/v1/*.proto) $(wildcard */pyproject.toml services/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Muster needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock || $(PIP) --require-hashes -r requirements.lock
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) --no-deps --no-build-isolation $(addprefix -e ,$(WHEELS))
	touch $@

protos: install ## generate the stubs again after a .proto file changed
	$(BIN)/python protos/generate.py

demo: install ## the main job as a story: two nights, reports, a held plan, a full license
	$(BIN)/muster demo

run: install ## everything on this machine, data in ./data, until Ctrl-C
	$(BIN)/muster up

test: install ## unit, contract, integration, end-to-end and fault tests, on containers where an engine answers
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long"

test-processes: install ## the same tests on local processes, as on a machine without an engine
	MUSTER_STACK=processes $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long"

lint: install ## ruff, mypy strict, the rooms and doors, buf lint and breaking
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy services cli protos/muster/runtime protos/generate.py tests bench deploy
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null) && (cd protos && ../$(BIN)/buf breaking --against "../.git#tag=$$tag,subdir=protos") || test -z "$$tag"

format: install ## ruff's formatter and its safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## 100,000 and 1,000,000 rows against raw SQL; SCIM calls beside two servers in memory; the directory's calls a second; mails
	$(BIN)/python -m bench.import_bench
	$(BIN)/python -m bench.import_bench --rows 1000000 --database postgresql
	$(BIN)/python -m bench.scim_bench
	$(BIN)/python -m bench.directory_bench
	$(BIN)/python -m bench.mail_bench --messages 5000 --connections 4

ci: lint test ## what CI runs: lint, then all tests; containers are required where CI=true

ci-long: ci ## the long forms: more hypothesis examples, more faults
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "long or hypothesis" --hypothesis-profile=long

lock: install ## resolve requirements.lock again from the pyproject.toml files
	echo uv | $(BIN)/uv pip compile - --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url -o requirements-uv.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-package muster-protos --group pyproject.toml:dev \
	  protos/pyproject.toml services/*/pyproject.toml cli/pyproject.toml -o requirements.lock

clean: ## remove .venv, generated stubs and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name '*_pb2*.py*' -not -path './$(VENV)/*' -delete
