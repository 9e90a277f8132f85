# Every word a developer needs. CI calls `make test` and nothing else.
#   make demo   build an optimised binary with the console in it and watch this machine's sensors
#   make install  put that binary on the PATH (PREFIX=~/.local)
#   make test   all checks and tests        make check  format, lints, tidy
#   make parity batch = stream = restored   make bless  rewrite golden files
#   make parity-spark  the same cases on a real Spark 4 (Java and Python 3.11)
#   make crash KILLS=50                      make bench  figures into docs/benchmarks.md
#   make sim SEEDS=5000  log, groups and transactions on a simulated disk, clock and net
#   make run ARGS="dev examples/sensors"     make docs   references made from code

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/watershed/target
export CARGO_TERM_COLOR ?= always
# DataFusion plans recursively; debug builds need deep stacks.
export RUST_MIN_STACK ?= 16777216
export CARGO_INCREMENTAL ?= 1

DEMO = $(CARGO_TARGET_DIR)/demo/watershed
DEBUG = $(CARGO_TARGET_DIR)/debug/watershed
KILLS ?= 50
SEEDS ?= 2000
PORT ?= 4680
PREFIX ?= $(HOME)/.local
CONSOLE_SOURCES = $(shell find console/src console/index.html console/package-lock.json \
  console/vite.config.* console/public -type f 2>/dev/null)

.PHONY: demo install binary test test-crates test-console check parity bless crash sim bench bench-spine bench-log bench-nexmark bench-build clients external parity-spark docs run build console deny tools clean-demo

demo: binary
	@echo "the binary is $(DEMO); make install puts it into $(PREFIX)/bin"
	$(DEMO) dev examples/sensors $(ARGS)

install: binary
	install -D -m 755 $(DEMO) $(DESTDIR)$(PREFIX)/bin/watershed
	@echo "installed $(PREFIX)/bin/watershed"

binary: console tools-build
	@echo "building watershed (the first time takes a while: it compiles the query engine)"
	CARGO_INCREMENTAL=0 cargo build --locked --profile demo -p watershed

run: build
	$(DEBUG) $(ARGS)

# With the features of the tests: another selection of packages would build the dependencies anew.
build: console
	cargo test --locked -q --workspace --test main --no-run

console: console/dist/index.html

console/node_modules/.package-lock.json: console/package-lock.json
	@command -v npm >/dev/null || { echo "Node.js 20 or newer is needed: install nodejs and npm"; exit 2; }
	cd console && npm ci --no-audit --no-fund
	@touch $@

console/dist/index.html: console/node_modules/.package-lock.json $(CONSOLE_SOURCES)
	cd console && npm run build
	@touch $@

tools-build:
	@dev/need cargo cc make

check:
	cargo fmt --all -- --check
	cargo run --locked -q -p xtask -- tidy
	cargo clippy --locked -q --workspace --all-targets -- -D warnings

# Most tests wait (for a page, a commit, a restart): two lines of them side by side take both cores.
test: dev-tools console
	$(MAKE) check
	cargo test --locked -q --workspace --no-run
	$(MAKE) --jobs 2 --output-sync=line test-crates test-console
	@dev/left-out

test-crates:
	cargo test --locked --workspace

test-console:
	cd console && npm test
	WATERSHED_BIN=$(DEBUG) dev/console-test
	cargo run --locked -q -p xtask -- crash --kills 5 --binary $(DEBUG)

dev-tools:
	@dev/setup

parity:
	cargo test --locked -q --workspace --test platform parity -- --nocapture

bless:
	BLESS=1 cargo test --locked --workspace --test main golden
	BLESS=1 cargo test --locked --workspace --test platform parity

crash: build
	cargo run --locked -q -p xtask -- crash --kills $(KILLS) --binary $(DEBUG)

sim:
	SEEDS=$(SEEDS) cargo test --locked -q --workspace --test log sim -- --nocapture

bench: bench-spine bench-log

bench-spine: console
	CARGO_INCREMENTAL=0 cargo build --locked --profile demo -p watershed
	cargo build --locked -p xtask
	$(CARGO_TARGET_DIR)/debug/xtask bench-spine --binary $(DEMO)

# What a build takes, on a quiet machine: make bench-build ARGS="--cold --tests"
bench-build: console
	cargo run --locked -q -p xtask -- bench-build $(ARGS)

# Each query of Nexmark as a view over JSON events: make bench-nexmark ARGS="--events 1000000"
bench-nexmark: console
	CARGO_INCREMENTAL=0 cargo build --locked --profile demo -p watershed
	cargo build --locked -p xtask
	$(CARGO_TARGET_DIR)/debug/xtask bench-nexmark --binary $(DEMO) $(ARGS)

# Needs librdkafka-dev, java and mvn; fetches Kafka 4 once.
bench-log: console
	CARGO_INCREMENTAL=0 cargo build --locked --profile demo -p watershed
	cargo build --locked -p xtask
	$(CARGO_TARGET_DIR)/debug/xtask bench-log --binary $(DEMO) $(ARGS)

docs:
	cargo run --locked -q -p xtask -- docs

# Real Kafka clients against a broker: make clients ARGS="127.0.0.1:9092 kcat" or ARGS=--kafka
clients:
	dev/clients/run $(ARGS)

# The cases of tests/sql on a real Spark 4: make parity-spark ARGS=joins/
parity-spark:
	dev/parity-spark/run $(ARGS)

# Topics in a real Kafka 4: the tests that need one.
external: console
	dev/external-kafka $(ARGS)

deny:
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --offline check licenses bans sources
