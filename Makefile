# One command a task; `make help` lists them. Everything is installed into .venv and built in
# build/; stamps in .venv/.stamps make a second run cheap.
VENV ?= .venv
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60
KILLS ?= 1000
COMMITS ?= 10000
PYTEST_ARGS ?=
BENCH_ARGS ?=
LIVE_ARGS ?= --write
WAL_ARGS ?= --write
BUS_ARGS ?=
BUS_TESTS ?= [bus-endurance]
BENCH_BUS := build/bench/bench_bus
BENCH_PEER := build/iceoryx2
# What scripts/bootstrap has to find or bring before anything else.
TIER ?= build

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet install
STAMPS := $(VENV)/.stamps
# cmake, ninja, ruff and mypy are those of the virtual environment.
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS)
CONFIGURE := $(RUN) cmake --log-level=NOTICE -DPython_EXECUTABLE="$(CURDIR)/$(PY)"
BUILD := $(RUN) cmake --build
# The wheel is built in a kept directory and with the tools of the virtual environment, so that
# only what changed is compiled again.
WHEEL := --no-build-isolation -C cmake.define.KLINEAGG_WERROR=ON

SOURCES := $(shell find CMakeLists.txt pyproject.toml README.md LICENSE cmake scripts/backend \
	cpp/include cpp/src cpp/bindings python -type f -not -name '*.pyc' -not -path '*/.*')

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all kills commits endurance endurance-cpp endurance-python bench build-bench-bus lint tidy \
	format clean distclean bootstrap package test-cpp test-python test-asan test-asan-python test-tsan fuzz FORCE

help: ## this list
	@echo "klineagg:"
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

demo: package ## build, install into .venv and show the main job on real trades
	@$(PY) -m klineagg.demo

test: TIER = test
test: bootstrap test-cpp test-python ## the default tests, from scratch, on a fresh machine

test-all: TIER = test-all
test-all: bootstrap test-cpp test-asan test-tsan test-asan-python fuzz tidy package $(STAMPS)/group-test ## also sanitizers, fuzzing, clang-tidy, long properties
	@echo "== Python tests: slow ones and long properties"
	@HYPOTHESIS_PROFILE=long KLINEAGG_TEST_LIMIT_S=7200 $(RUN) $(CURDIR)/$(PY) -m pytest -m "" \
		-o faulthandler_timeout=7200 $(PYTEST_ARGS)

kills: package $(STAMPS)/group-test ## KILLS (1000) kill -9 of runs, workers and the lake's writers; half as many of engines and logs
	@KLINEAGG_KILLS=$(KILLS) KLINEAGG_TEST_LIMIT_S=86400 $(RUN) $(CURDIR)/$(PY) -m pytest -m slow -k "kill and many" \
		-o faulthandler_timeout=86400 tests/runtime tests/lake tests/engine tests/wal $(PYTEST_ARGS)

commits: package $(STAMPS)/group-test ## COMMITS (10,000) one-second commits at full speed, beside maintenance and a reader
	@KLINEAGG_COMMITS=$(COMMITS) KLINEAGG_TEST_LIMIT_S=86400 $(RUN) $(CURDIR)/$(PY) -m pytest -s -m slow -k many_commits \
		-o faulthandler_timeout=86400 tests/lake $(PYTEST_ARGS)

endurance: endurance-cpp endurance-python ## the bus's long runs: kills, 10^9 messages, 1,000 subscribers

endurance-cpp: TIER = test
endurance-cpp: bootstrap $(STAMPS)/group-build $(STAMPS)/group-test ## those of C++ alone; BUS_TESTS picks some
	@echo "== the bus's long runs: C++ (1,000 kills each, 10^9 messages)"
	@$(CONFIGURE) --preset dev
	@$(BUILD) --preset dev --target klineagg_tests
	@$(RUN) build/dev/klineagg_tests '$(BUS_TESTS)' --durations yes

endurance-python: TIER = test
endurance-python: package $(STAMPS)/group-test ## those of Python alone; PYTEST_ARGS picks some
	@echo "== the bus's long runs: Python (1,000 kills each, 1,000 processes, 200 resumed)"
	@KLINEAGG_TEST_LIMIT_S=7200 $(RUN) $(CURDIR)/$(PY) -m pytest -v -s -m slow \
		-o faulthandler_timeout=7200 tests/bus $(PYTEST_ARGS)

bench: package $(STAMPS)/group-bench build-bench-bus ## speed beside the peers, of the live engine, its log and lake, and of the bus
	@$(RUN) $(CURDIR)/$(PY) -m benchmarks $(BENCH_ARGS)
	@$(RUN) $(CURDIR)/$(PY) -m benchmarks.live $(LIVE_ARGS)
	@$(RUN) $(CURDIR)/$(PY) -m benchmarks.wal $(WAL_ARGS)
	@$(RUN) $(CURDIR)/$(PY) -m benchmarks.bus --program $(BENCH_BUS) --peer $(BENCH_PEER)/release/bench_iceoryx2 $(BUS_ARGS)

build-bench-bus: bootstrap $(STAMPS)/group-build # the native programs of the bus's benchmark
	@echo "== building bench_bus"
	@$(CONFIGURE) -S . -B build/bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DKLINEAGG_BENCH=ON
	@$(BUILD) build/bench --target bench_bus
	@if command -v cargo >/dev/null; then echo "== building native iceoryx2's"; \
		cargo build --quiet --release --manifest-path cpp/bench/iceoryx2/Cargo.toml --target-dir $(BENCH_PEER) || \
		echo "native iceoryx2 is left out: cargo cannot build it here"; \
		else echo "native iceoryx2 is left out: there is no cargo"; fi

lint: TIER = test
lint: package $(STAMPS)/group-lint $(STAMPS)/group-test ## ruff, mypy, and g++ with warnings as errors
	@echo "== ruff"
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --quiet --check .
	@echo "== mypy"
	@$(RUN) mypy --no-error-summary
	@echo "== C++ with warnings as errors"
	@$(CONFIGURE) --preset dev
	@$(BUILD) --preset dev
	@echo "lint: clean"

format: $(STAMPS)/group-lint ## ruff's and clang-format's layout
	@$(RUN) ruff check --quiet --fix . ; $(RUN) ruff format .
	@tool=$$(scripts/find-clang clang-format) || { echo "no clang-format here: C++ left as it is"; exit 0; }; \
		find cpp -name '*.?pp' | xargs "$$tool" -i

test-cpp: TIER = test
test-cpp: bootstrap $(STAMPS)/group-build $(STAMPS)/group-test ## the C++ tests
	@echo "== C++ tests"
	@$(CONFIGURE) --preset dev
	@$(BUILD) --preset dev
	@$(RUN) ctest --preset dev

test-python: package $(STAMPS)/group-test ## the default Python tests
	@echo "== Python tests"
	@$(RUN) $(CURDIR)/$(PY) -m pytest $(PYTEST_ARGS)

test-asan: TIER = test-all
test-asan: bootstrap $(STAMPS)/group-build $(STAMPS)/group-test ## the C++ tests with ASan and UBSan
	@echo "== C++ tests with ASan and UBSan"
	@$(CONFIGURE) --preset asan
	@$(BUILD) --preset asan
	@$(RUN) ctest --preset asan

test-tsan: TIER = test-all
test-tsan: bootstrap $(STAMPS)/group-build $(STAMPS)/group-test ## the C++ tests with TSan
	@echo "== C++ tests with TSan"
	@$(CONFIGURE) --preset tsan
	@$(RUN) scripts/without-aslr cmake --build --preset tsan
	@$(RUN) scripts/without-aslr ctest --preset tsan

test-asan-python: TIER = test-all
test-asan-python: package $(STAMPS)/group-test ## the Python tests with ASan and UBSan
	@echo "== Python tests with ASan and UBSan"
	@$(RUN) $(CURDIR)/$(PIP) $(WHEEL) --no-deps --upgrade --target build/asan-site \
		-C build-dir=build/asan-wheel -C cmake.build-type=Debug -C install.strip=false \
		-C cmake.define.KLINEAGG_SANITIZE=address,undefined .
	@$(RUN) PYTHONPATH="$(CURDIR)/build/asan-site" KLINEAGG_TEST_LIMIT_S=1800 scripts/with-asan \
		$(CURDIR)/$(PY) -m pytest -o faulthandler_timeout=1800 \
		--ignore=tests/codebase --ignore=tests/packaging $(PYTEST_ARGS)

fuzz: TIER = test-all
fuzz: bootstrap $(STAMPS)/group-build ## each fuzzer for FUZZ_SECONDS (60)
	@echo "== fuzzers, $(FUZZ_SECONDS) s each"
	@$(CONFIGURE) --preset fuzz -DCMAKE_CXX_COMPILER="$$(scripts/find-clang clang++)"
	@$(BUILD) --preset fuzz
	@scripts/fuzz build/fuzz $(FUZZ_SECONDS)

tidy: TIER = test-all
tidy: bootstrap $(STAMPS)/group-build ## clang-tidy over the core and the bindings
	@echo "== clang-tidy"
	@$(CONFIGURE) --preset tidy -DCMAKE_CXX_COMPILER="$$(scripts/find-clang clang++)" \
		-DKLINEAGG_CLANG_TIDY="$$(scripts/find-clang clang-tidy)"
	@$(BUILD) --preset tidy -- -k 0

package: $(STAMPS)/package ## install klineagg with all extras into .venv

bootstrap:
	@scripts/bootstrap $(TIER)

# A virtual environment that was moved, or whose Python is gone, is made anew.
ifneq ($(wildcard $(STAMPS)/venv),)
ifneq ($(shell $(PY) -c '' && cat $(STAMPS)/venv),$(abspath $(VENV)))
$(shell rm -f $(STAMPS)/venv)
endif
endif

$(STAMPS)/venv: | bootstrap
	@echo "== making $(VENV)"
	@rm -rf $(VENV)
	@"$$(scripts/find-python)" -m venv $(VENV)
	@$(PIP) --upgrade "pip>=25.1"
	@mkdir -p $(STAMPS) && echo "$(abspath $(VENV))" > $@

$(STAMPS)/group-%: pyproject.toml $(STAMPS)/venv
	@echo "== installing what is needed to $*"
	@$(PIP) --group $*
	@touch $@

# Changes when a file comes or goes, which the files that are there cannot tell.
$(STAMPS)/sources: FORCE | $(STAMPS)/venv
	@printf '%s\n' $(sort $(SOURCES)) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(STAMPS)/package: $(SOURCES) $(STAMPS)/sources $(STAMPS)/group-build
	@echo "== building and installing klineagg"
	@$(RUN) $(CURDIR)/$(PIP) $(WHEEL) -C build-dir=build/wheel ".[all]"
	@touch $@

clean: ## remove build/
	rm -rf build

distclean: clean ## remove build/ and .venv
	rm -rf $(VENV)
