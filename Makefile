# Every target works in .venv, which is made when it is needed. `make PYTHON=/path/to/python3 …` chooses its Python.

PYTHON ?= python3.13 python3.12 python3.11 python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# What pip collects and installs, on one line that it writes anew, or line by line where that is no terminal. Errors of
# pip's are on stderr, and its status is that of the pipe.
INSTALL_SHOWN = terminal=; [ ! -t 1 ] || terminal=1; \
  { $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(1); echo "status $$?"; } | { \
    while IFS= read -r line; do case $$line in \
      "status "*) status=$${line\#status } ;; \
      Collecting*|Building*|Installing*|Successfully*) \
        if [ "$$terminal" ]; then printf '\r\033[K  %.76s' "$$line"; else printf '  %s\n' "$$line"; fi ;; \
    esac; done; [ -z "$$terminal" ] || printf '\r\033[K'; exit "$$status"; }
PROTOS := $(shell find protos -name '*.proto')
# Tests and benchmarks start Python some hundred times: each start would compile the whole program anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-unit test-envoy test-prometheus test-engines test-compiled test-collector test-picking-chaos test-rolling test-crds test-kubernetes test-overload test-rollouts test-pipeline test-benchmarks test-clients test-mlserver check fmt protos istioctl helm envoy-gateway jaeger h2spec attack docs screenshots bench bench-core bench-budget bench-mesh bench-startup bench-cold bench-breaking bench-collector bench-picking bench-picking-live bench-steady soak fuzz mutants dist clean

help:  ## what can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/gateway  ## a real Envoy, three model servers and traffic through them, on this machine
	@$(BIN)/extproc demo

test: $(VENV)/dev  ## every test, those with the real Envoy too
	@$(BIN)/python -m pytest -n 3 --dist loadfile

test-unit: $(VENV)/dev  ## the tests of single modules: seconds
	@$(BIN)/python -m pytest tests/unit

test-envoy: $(VENV)/dev  ## only the tests with the real Envoy
	@$(BIN)/python -m pytest -m envoy

test-prometheus: $(VENV)/dev  ## rules and dashboard in a real Prometheus and its promtool (apt-get install prometheus)
	@$(BIN)/python -m pytest tests/prometheus

test-engines: $(VENV)/dev  ## the server's and Envoy's tests on the other engine, grpcio's asyncio API
	@EXTPROC_TEST_ENGINE=aio $(BIN)/python -m pytest tests/grpc tests/unit/serve tests/envoy

test-compiled:  ## every test, on a copy of this tree with its modules compiled as in a wheel: needs a C compiler and Python's headers
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$$scratch" && \
	  $(MAKE) --no-print-directory -C "$$scratch" $(VENV)/dev && cd "$$scratch" && \
	  $(BIN)/python setup.py --quiet build_ext --inplace --force && EXTPROC_TEST_COMPILED=1 $(BIN)/python -m pytest -n 3 --dist loadfile

test-collector: $(VENV)/dev  ## what reads endpoints' loads, killed and among bad pages, endpoints that come and go, and the example of picking: a minute
	@EXTPROC_TEST_COLLECTOR=1 $(BIN)/python -m pytest tests/grpc/test_endpoint_loads.py tests/page/test_endpoints_on_page.py tests/envoy/test_shared_loads.py tests/examples/test_picking_example.py

test-picking-chaos: $(VENV)/dev  ## endpoints that come and go ten times a second under load, by a fake and a real API server: seven minutes
	@EXTPROC_TEST_CHAOS=180 $(BIN)/python -m pytest tests/envoy/test_picking_chaos.py -s
	@EXTPROC_TEST_CHAOS=180 $(BIN)/python -m tests.kubernetes tests/kubernetes/test_pods_that_come_and_go.py -s

test-rolling: $(VENV)/dev  ## twenty rolling restarts of two workers under load: minutes
	@EXTPROC_TEST_ROUNDS=20 $(BIN)/python -m pytest tests/envoy/test_workers.py -k rolling

test-overload: $(VENV)/dev  ## answers of 200 MB and 200 streams past an observer that can't keep up
	@EXTPROC_TEST_MEGABYTES=200 EXTPROC_TEST_STREAMS=200 $(BIN)/python -m pytest tests/envoy/test_observer.py -s

test-rollouts: $(VENV)/dev  ## rollouts by the dozen, drivers killed in every state, forty real ones at once, and the tables of docs/rollouts.md: two hours
	@EXTPROC_TEST_ROLLOUTS=20 $(BIN)/python -m pytest tests/envoy/test_rollouts.py tests/unit/serve/test_rollout_driver.py tests/benchmarks/test_rollout_simulation.py --timeout 1200
	@$(BIN)/python -m benchmarks.rollouts
	@$(BIN)/python -m benchmarks.rollouts_by_user
	@$(BIN)/python -m benchmarks.live_rollouts

test-pipeline: $(VENV)/dev  ## the pipeline's demo, its traces on the page, and every query of its dashboard in a real Prometheus: a minute
	@EXTPROC_TEST_PIPELINE=1 $(BIN)/python -m pytest tests/demo/test_pipeline_with_envoy.py tests/page/test_traces_on_page.py tests/prometheus/test_stages_scraped.py tests/unit/demo/pipeline

test-benchmarks: $(VENV)/dev  ## the benchmarks' own tests, those too that start everything they measure: a minute
	@EXTPROC_TEST_BENCHMARKS=1 $(BIN)/python -m pytest tests/benchmarks

test-clients: $(VENV)/dev .venv-clients/made .npm-clients/made  ## what official SDKs make of answers and errors (docs/clients.md), and where their later requests go: minutes the first time
	@$(BIN)/python -m tests.clients .venv-clients/bin/python .npm-clients
	@$(BIN)/python -m tests.clients.npm_paths .npm-clients
	@$(BIN)/python -m tests.clients.follow_ups .venv-clients/bin/python

test-mlserver: $(VENV)/dev .venv-clients/made .venv-mlserver/made  ## real MLServers with REST and gRPC on two ports under one policy: minutes the first time
	@$(BIN)/python -m tests.clients.mlserver .venv-mlserver/bin/python .venv-clients/bin/python

test-crds:  ## our CRDs by Kubernetes' own validation: needs Go and its module proxy, and minutes the first time
	@command -v go >/dev/null || { echo "No Go on the PATH: https://go.dev/dl. The tests hold the CRDs without it." >&2; exit 1; }
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && cp tests/istio/crdcheck/main.go "$$scratch" && \
	  cd "$$scratch" && { go mod init crdcheck && go get k8s.io/apiextensions-apiserver@v0.34.1; } 2>"$$scratch/log" || \
	  { cat "$$scratch/log" >&2; exit 1; }; go run . "$(CURDIR)/istio/crds.yaml"

check: $(VENV)/dev  ## lint, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

fmt: $(VENV)/dev  ## format, and fix what the linter can
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

test-kubernetes: $(VENV)/dev  ## on a real API server and istiod; builds them with Go where they are not cached: half an hour
	@$(BIN)/python -m tests.kubernetes

istioctl: $(VENV)/dev  ## istioctl's own word on every Istio manifest; builds it where it is not there: ten minutes
	@$(BIN)/python -m tests.istioctl

helm: $(VENV)/dev  ## helm for the chart's tests, which are skipped without one; builds it with Go where it is not there: some minutes
	@$(BIN)/python -m tests.charts

jaeger: $(VENV)/dev  ## Jaeger for the pipeline's demo, which uses one where it is; builds it with Go where it is not there: half an hour
	@$(BIN)/python -m tests.jaeger

envoy-gateway: $(VENV)/dev  ## a canary through a real Envoy Gateway; builds it with Go where it is not there: half an hour
	@$(BIN)/python -m tests.envoy_gateway

h2spec: $(VENV)/dev  ## the engine against h2spec, HTTP/2's conformance test: needs Go and its module proxy to build it
	@$(BIN)/python -m tests.h2spec

attack: $(VENV)/dev  ## floods of hostile clients against the engine on loopback, and what they cost an Envoy: five minutes; h2load (nghttp2-client) if there
	@$(BIN)/python -m tests.attack

protos: $(VENV)/dev  ## extproc/_pb from protos/
	@$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. $(PROTOS)
	@echo "Made extproc/_pb from $(PROTOS)"

docs: $(VENV)/dev  ## what is made from others: the tables of docs/apis.md, the linters' and the doctor's pages, istio/rendered, the chart's kinds
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m tests.istio.rendered
	@cp istio/crds.yaml charts/aimesh/crds/
	@cp istio/admission.yaml charts/aimesh/templates/

screenshots: $(VENV)/dev  ## docs/images: the page in light and dark and on a phone; needs Chromium, takes two minutes
	@$(BIN)/python -W ignore::ResourceWarning -m tests.page docs/images

bench: bench-core bench-mesh bench-steady  ## every benchmark: RESULTS=folder for JSON, tables and charts; an hour

bench-core: $(VENV)/dev  ## what the core costs per request, bytes in, bytes out: two minutes
	@$(BIN)/python -m benchmarks

bench-budget: $(VENV)/dev  ## what CPU a request adds in Envoy and processor, beside others: RESULTS=folder, QUICK=1 (15 minutes, else 45)
	@$(BIN)/python -m benchmarks.mesh.budget $(if $(QUICK),--quick) $(if $(RESULTS),--out $(RESULTS))

bench-mesh: bench-budget  ## that, and times and rates behind a real Envoy by connections and sizes: RESULTS=folder, an hour
	@$(BIN)/python -m benchmarks.mesh $(if $(RESULTS),--out $(RESULTS))

bench-startup: $(VENV)/dev  ## from exec to the answer of the first stream, beside a Go processor: a minute
	@$(BIN)/python -m benchmarks.startup

bench-cold: $(VENV)/dev  ## what a request fetches and computes where caches are cold, by valgrind's simulated ones: two minutes
	@$(BIN)/python -m benchmarks.cold

bench-breaking: $(VENV)/dev  ## a server that loses nine tenths of its strength, with and without adaptive circuit breakers: RESULTS=folder, eleven minutes
	@$(BIN)/python -m benchmarks.breaking $(if $(RESULTS),--out $(RESULTS))

bench-picking: $(VENV)/dev  ## simulated model servers, by each way to pick one of them: RESULTS=folder, half an hour
	@$(BIN)/python -m benchmarks.picking $(if $(RESULTS),--out $(RESULTS))

bench-picking-live: $(VENV)/dev  ## the same loads in real time, through a real Envoy to 16 little servers: RESULTS=folder, 45 minutes
	@$(BIN)/python -m benchmarks.picking.live $(if $(RESULTS),--out $(RESULTS))

bench-collector: $(VENV)/dev  ## what reading the load of 100 and 1,000 endpoints costs: RESULTS=folder, two minutes
	@$(BIN)/python -m benchmarks.collector $(if $(RESULTS),--out $(RESULTS))

bench-steady: $(VENV)/dev  ## what shows only in time: start-up, stalls, memory, idle streams, many policies: half an hour
	@$(BIN)/python -m benchmarks.steady

soak: $(VENV)/dev  ## ten minutes at half of saturation: no error, flat memory, no stream left
	@$(BIN)/python -m benchmarks.steady soak

fuzz: $(VENV)/dev  ## FUZZ_SECONDS (600) of fuzzing what reads requests and HTTP/2; better with atheris installed
	@$(BIN)/python -m tests.fuzz

mutants: $(VENV)/dev  ## do tests notice mistakes planted in what they test: MUTANTS (150), SEED (1), ONLY=module; minutes
	@EXTPROC_TEST_EXAMPLES=100 $(BIN)/python -m tests.mutants --sample $(or $(MUTANTS),150) --seed $(or $(SEED),1) $(if $(ONLY),--only $(ONLY))

dist: $(VENV)/dev  ## an sdist, and a wheel by each Python that is here, tried in a new environment: minutes
	@$(BIN)/python -m tests.dist

clean:  ## remove whatever was made here, .venv too
	@rm -rf $(VENV) .venv-clients .npm-clients .venv-mlserver build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .fuzz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps. What dev installs holds all of gateway.

$(VENV)/dev: pyproject.toml | $(BIN)/python
	@echo "Installing the project with its tools for development into $(VENV) …"
	@$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/gateway $@

.venv-clients/made: tests/clients/requirements.txt | $(BIN)/python
	@echo "Installing official SDKs into .venv-clients …"
	@$(BIN)/python -m venv .venv-clients && .venv-clients/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.npm-clients/made: tests/clients/package.json
	@command -v npm >/dev/null || { echo "No npm on the PATH: official SDKs from npm are left out."; exit 0; }; \
	  echo "Installing official SDKs from npm into .npm-clients …" && mkdir -p .npm-clients && cp $< .npm-clients && \
	  npm install --prefix .npm-clients --silent && touch $@

.venv-mlserver/made: tests/clients/mlserver.txt | $(BIN)/python
	@echo "Installing MLServer into .venv-mlserver …"
	@$(BIN)/python -m venv .venv-mlserver && .venv-mlserver/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/gateway: pyproject.toml | $(BIN)/python
	@echo "Installing the project with Envoy into $(VENV) …"
	@$(call INSTALL_SHOWN,--editable '.[gateway]')
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found=$$python && break; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer is needed, and none of these is: $(PYTHON)." >&2; \
	  echo "Install one, or name yours: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip' 2>/dev/null; then \
	  echo "$$found can't make virtual environments. On Debian and Ubuntu:" >&2; \
	  echo "  sudo apt-get install $$(basename "$$found")-venv" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version) …"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
