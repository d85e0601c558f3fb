# Everything a person does with Tributary. `make help` lists the targets.
#
# Needed beforehand: Rust (rustup picks the version of rust-toolchain.toml), Python 3.11 or later with venv, make, gcc and g++.
# Whatever a target writes goes into .venv, target, .aws-sam or .local.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
# One stamp for each content of a list: a changed pin installs again, an unchanged one does not.
stamp = $(VENV)/$(1)-$(firstword $(shell cksum $(1).txt))
STAMP := $(call stamp,requirements)
RELEASE_STAMP := $(call stamp,requirements-release)
FUNCTIONS := ingest-s3 ingest-http ingest-kafka transform metrics alerts windows
# Built besides, where the input needs it: `tributary` generates rows and counts the alerts that are due, `kafka-bridge` polls
# topics. Their own dependencies (librdkafka, a Cassandra driver, more of the SDK) are a third of a first build.
INPUT_TOOLS = $(if $(filter-out accidents,$(FEED))$(DATA)$(ROWS),tributary) $(if $(filter kafka all,$(FEED)),kafka-bridge)
# Where cargo puts what it builds for this machine: a link, so that no one need know the name of its target.
BIN := target/bin

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONPYCACHEPREFIX := $(CURDIR)/target/pycache
export SAM_CLI_TELEMETRY := 0

# make demo: which feed, or all; which file, with which configuration, how many rows; AGGREGATE=true for rows that share records of the stream;
# which function to kill in the run (or all), how often.
FEED ?=
AGGREGATE ?=
DATA ?=
CONFIG ?=
ROWS ?=
KILL ?=
KILL_EVERY ?=
KILL_TIMES ?=
ALARM ?=
# make sim: how many seeds, or which one.
SEEDS ?= 200
SEED ?=
# make fuzz: how many seconds for each target, and which ones.
TIME ?= 60
TARGET ?=
# make replay-events: one function or one case only.
CASE ?=
option = $(if $($(1)),$(2) '$($(1))')

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) $(RELEASE_STAMP) ## The Python tools in .venv, with those that check and deploy

# --no-deps: the lists hold the whole set, and requirements.txt says why pip cannot work it out.
define install
	$(VENV)/bin/pip install --quiet --no-deps --no-compile -r $(1).txt
	@rm -f $(VENV)/$(1)-[0-9]* && touch $@
endef

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv --clear $(VENV)

$(STAMP): requirements.txt | $(VENV)/bin/pip
	$(call install,requirements)

$(RELEASE_STAMP): requirements-release.txt $(STAMP)
	$(call install,requirements-release)

$(BIN):
	@mkdir -p target
	@ln -sfn "$$(MAKEFLAGS= rustc --print host-tuple)/debug" $@

# The build for this machine. One cargo run for all binaries keeps every core busy and compiles what they share once;
# `make test` and `make cli` find it there, since profile, target, folder and features are the same everywhere (docs/dependencies.md).
# So does `sam build` in its debug mode, which then puts the functions in place. With cargo itself as the compiler they link
# against this machine's C library: no cross-compiler, and none is wanted, since they run here. The build for AWS is
# `sam build`, which cross-compiles a release with zig into .aws-sam/build; this one stays out of its way in .aws-sam/local,
# and leaves out what no local stack has (`exclude` in samconfig.toml).
.PHONY: build
build: export CARGO_LAMBDA_COMPILER := cargo
build: export SAM_BUILD_MODE := debug
build: ## The functions, built for this machine into .aws-sam/local
	@$(MAKE) --no-print-directory --jobs=2 $(STAMP) binaries
	@sam build --config-env local --build-dir .aws-sam/local >target/sam-build.log 2>&1 || { cat target/sam-build.log; exit 1; }
	@strip .aws-sam/local/*/bootstrap

# Runs beside pip, which leaves cores idle. Without MAKEFLAGS, cargo uses every core instead of make's two jobs.
.PHONY: binaries
binaries: $(BIN) | $(VENV)/bin/pip
	MAKEFLAGS= cargo build --locked $(addprefix --bin ,$(FUNCTIONS) $(INPUT_TOOLS))

.PHONY: cli
cli: $(BIN) ## The tributary command: target/bin/tributary
	cargo build --locked --bin tributary

.PHONY: demo
demo: build ## A feed through the whole pipeline on a local AWS [FEED=accidents|covid|flood|telemetry|kafka|http|all] [DATA=file [CONFIG=dir]] [ROWS=n] [AGGREGATE=true] [KILL=function|all KILL_EVERY=s KILL_TIMES=n] [ALARM=function|none]
	@python -m demo demo $(call option,FEED,--feed) $(if $(filter true,$(AGGREGATE)),--aggregate) $(call option,DATA,--data) $(call option,CONFIG,--config) $(call option,ROWS,--rows) $(call option,KILL,--kill) \
		$(call option,KILL_EVERY,--kill-every) $(call option,KILL_TIMES,--kill-times) $(call option,ALARM,--alarm)

.PHONY: demo-operate
demo-operate: FEED := flood
demo-operate: build ## What an operator does: bad rows mended and replayed, dead letters redriven, the books, on a local AWS
	@python -m demo operate

.PHONY: up
up: build ## The same stack, to play with; says what to try
	@python -m demo up

.PHONY: down
down: $(STAMP) ## Ends the stack of `make up`
	@python -m demo down

.PHONY: watch
watch: $(STAMP) ## The functions from source (cargo lambda watch), on the stack of `make up`
	@exec python -m demo watch

.PHONY: replay-events
replay-events: build ## Every payload of events/ to its function from source, answers compared [CASE=function/case]
	@python -m demo replay-events $(CASE)

# The tests of the command and of the bridge mostly wait for servers and clocks, so they run beside the others. Their output
# goes to target/test-waiting.log and is shown at the end. Not $(MAKE): `make -n test` would run the whole line.
WAITING := tributary-cli tributary-kafka-bridge
.PHONY: test
test: $(STAMP) $(BIN) ## All tests: Rust, and the Python of demo and tools
	cargo test --workspace --locked --no-run
	@make --no-print-directory test-waiting >target/test-waiting.log 2>&1 & beside=$$!; others=0; \
	trap "kill $$beside 2>/dev/null || true" EXIT; \
	cargo test --workspace $(addprefix --exclude ,$(WAITING)) --locked || others=$$?; \
	wait $$beside || others=$$?; cat target/test-waiting.log; exit $$others
	python -m tools.one_build

.PHONY: test-waiting
test-waiting:
	cargo test $(addprefix --package ,$(WAITING)) --locked
	python -m unittest discover --start-directory demo/tests --top-level-directory .
	python -m unittest discover --start-directory tools/tests --top-level-directory .

# The jars of the broker come through Maven, as its settings say, into target/kafka. The filter names a module and cargo is
# given no package: with `-p` it takes other features than `make test`, and compiles the SDK crates once more.
.PHONY: test-kafka
test-kafka: export PYTHON := $(PYTHON)
test-kafka: ## A feed through a real Kafka broker that is killed twice; needs java 17 and mvn, else it says "skipped"
	cargo test --workspace --locked --quiet --test it -- --ignored kafka_through::

# Its jars too, into target/cassandra.
.PHONY: test-cassandra
test-cassandra: export PYTHON := $(PYTHON)
test-cassandra: ## The store of windows on a real Cassandra that is killed; needs java 17 and mvn, else it says "skipped"
	cargo test --workspace --locked --quiet --test it -- --include-ignored cassandra::

.PHONY: sim
sim: ## The whole in memory with everything going wrong that can [SEEDS=n, or SEED=n for one in full]
	@cargo run --release --locked --quiet --package system-tests --bin sim -- $(if $(SEED),--seed '$(SEED)',--seeds '$(SEEDS)')

.PHONY: bench-anomaly
bench-anomaly: ## Precision, recall and F1 of anomaly detection by kind of fault, beside two plain rules
	@cargo run --release --locked --quiet --package tributary-benches --bin bench-anomaly

.PHONY: bench-rules
bench-rules: ## Cost of each shipped condition as a predicate, beside CEL
	@cargo run --release --locked --quiet --package tributary-benches --bin bench-rules

.PHONY: fuzz
fuzz: $(STAMP) ## Inputs that libFuzzer makes up against each target of fuzz/ [TIME=seconds for each] [TARGET=names]
	@python -m tools.fuzz --time '$(TIME)' $(TARGET)

.PHONY: mutants
mutants: $(STAMP) ## Mistakes made on purpose, each of which the simulator must notice
	python -m tools.mutants

.PHONY: check
check: setup ## Formatting, lints, docs, template, fixtures, Python syntax
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
	tools/lint_template.sh
	python fixtures/datasets/accidents/make.py --check
	python events/make_payloads.py --check
	python -W error -m compileall -q demo tools events fixtures

.PHONY: check-kpl
check-kpl: ## The aggregates of fixtures/kpl by a library that is not ours; needs npm
	npm ci --prefix fixtures/kpl --ignore-scripts --no-audit --no-fund --silent
	node fixtures/kpl/make.mjs --check

.PHONY: clean
clean: ## Removes what targets wrote, except .venv
	@if [ -x $(VENV)/bin/python ]; then $(VENV)/bin/python -m demo down; fi
	rm -rf target .aws-sam .local
