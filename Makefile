# make help says what there is.

BUILD   ?= build
NAME    ?= logscan
CLI_DIR ?= /usr/local/lib/docker/cli-plugins
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOARCH  ?= $(shell go env GOARCH)
# Where the newest Engine is built, and the Engines that test-engines tests on:
# debian is the one in PATH.
ENGINE_CACHE ?= $(HOME)/.cache/logscan/engine29
ENGINES      ?= debian $(ENGINE_CACHE)

# The C compiler is for SQLite; Debian has one for each architecture.
HOSTARCH := $(shell go env GOHOSTARCH)
GNU_amd64 := x86_64-linux-gnu
GNU_arm64 := aarch64-linux-gnu
CROSS     := $(if $(filter-out $(HOSTARCH),$(GOARCH)),$(GNU_$(GOARCH)))
export CC := $(if $(CROSS),$(CROSS)-gcc,$(or $(filter-out cc default,$(CC)),gcc))

export CGO_ENABLED := 1
# Without being told, SQLite takes no fdatasync for granted, and each commit
# would wait for the filesystem's own journal.
export CGO_CFLAGS := -g -O2 -DHAVE_FDATASYNC=1
export GOARCH
# Programs that `make deps` unpacks rather than installs.
export PATH := $(PATH):$(abspath $(BUILD))/tools/usr/bin

TAGS    := netgo,osusergo,timetzdata,sqlite_omit_load_extension
LDFLAGS := -s -w -linkmode external -extldflags -static -X main.version=$(VERSION)

SCRIPTS  := internal/scripts
FUZZTIME ?= 1m
SOAK     ?= 30m

# What stands behind ## is what make help says, under the last line of ##@.
.PHONY: help demo install uninstall test lint generate test-engines soak faults fuzz bench build plugin arm64 push engine29 deps deps-build clean

help: ## say what there is
	@awk -F':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ For those who use logscan

demo: deps plugin ## see it work, on a private Engine, in about a minute
	go build -o $(BUILD)/withengine ./internal/enginetest/withengine
	go build -o $(BUILD)/receiver ./internal/enginetest/receiver
	BUILD=$(abspath $(BUILD)) $(BUILD)/withengine -image busybox $(SCRIPTS)/demo.sh

install: ## put the plugin into this machine's Engine, or upgrade it there; and `docker logscan`
	$(SCRIPTS)/install.sh check
	$(MAKE) plugin
	BUILD=$(BUILD) NAME=$(NAME) CLI_DIR=$(CLI_DIR) $(SCRIPTS)/install.sh install

uninstall: ## take plugin, logs, rules and events away
	NAME=$(NAME) CLI_DIR=$(CLI_DIR) $(SCRIPTS)/install.sh uninstall

##@ For those who change it

# The packages run two at a time: many tests wait for an Engine.
test: ## lint and everything, race detector on, with private Engines
	@echo "make test installs what is missing here, builds the plugin, looks for what lint finds, and runs all"
	@echo "tests with the race detector, many of them on private Docker Engines: about 20 minutes on two cores."
	$(MAKE) deps plugin lint
	LOGSCAN_PLUGIN_DIR=$(abspath $(BUILD)/plugin) $(SCRIPTS)/test.sh -race -timeout 75m ./...

lint: deps-lint ## gofmt, go vet, staticcheck, shellcheck
	$(SCRIPTS)/lint.sh

generate: deps-build ## the manual's generated sections
	go generate ./...

test-engines: deps plugin $(if $(findstring $(ENGINE_CACHE),$(ENGINES)),engine29) ## the tests on an Engine, on Debian's and on the newest
	@for bin in $(ENGINES); do \
		echo "Engine: $$bin"; \
		LOGSCAN_ENGINE_BIN=$${bin#debian} LOGSCAN_PLUGIN_DIR=$(abspath $(BUILD)/plugin) \
			go test -count=1 -timeout 60m ./internal/enginetest/... ./internal/integration || exit 1; \
	done

soak: deps plugin ## half an hour of churn and kills, and then every number has to agree; SOAK=8h is longer
	LOGSCAN_SOAK=$(SOAK) LOGSCAN_PLUGIN_DIR=$(abspath $(BUILD)/plugin) go test -count=1 -v -timeout 0 -run '^TestSoak$$' ./internal/integration

faults: deps-build plugin ## fail, or kill at, each step that logscan takes on its files: all of what make test tries some of
	LOGSCAN_ALL_FAULTS=1 LOGSCAN_PLUGIN_DIR=$(abspath $(BUILD)/plugin) go test -race -count=1 -v -timeout 30m -run '^TestEveryStep$$' ./internal/faults

fuzz: deps-build ## each fuzz test for FUZZTIME (1m)
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: plugin ## measure beside Docker's own drivers and vectorscan, half an hour: $(BUILD)/bench.md; BENCH=-quick is short
	@BUILD=$(BUILD) $(SCRIPTS)/deps.sh build test bench
	go build -o $(BUILD)/benchmark ./internal/bench
	$(BUILD)/benchmark -plugin $(BUILD)/plugin -out $(BUILD)/bench -logcheck $(BUILD)/tools $(BENCH)

##@ For those who publish it

build: deps-build ## the static binary: $(BUILD)/logscan, plugin and command line in one
	go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BUILD)/logscan ./plugin

plugin: build ## the plugin directory: $(BUILD)/plugin, as `docker plugin create` takes it
	rm -rf $(BUILD)/plugin
	mkdir -p $(BUILD)/plugin
	cp -R rootfs $(BUILD)/plugin/rootfs
	install -m 0644 config.json $(BUILD)/plugin/config.json
	install -m 0755 $(BUILD)/logscan $(BUILD)/plugin/rootfs/logscan
	install -D -m 0644 /etc/ssl/certs/ca-certificates.crt $(BUILD)/plugin/rootfs/etc/ssl/certs/ca-certificates.crt
	install -d -m 1777 $(BUILD)/plugin/rootfs/tmp

arm64: ## the plugin directory for arm64: $(BUILD)/arm64/plugin
	$(MAKE) plugin GOARCH=arm64 BUILD=$(BUILD)/arm64

push: ## push the plugin to a registry: make push PLUGIN=registry/name:tag [GOARCH=arm64]
	@test -n "$(PLUGIN)" || { echo 'say where: make push PLUGIN=registry/name:tag'; exit 2; }
	$(SCRIPTS)/install.sh check
	$(MAKE) plugin
	docker plugin create $(PLUGIN) $(BUILD)/plugin
	docker plugin push $(PLUGIN); status=$$?; docker plugin rm $(PLUGIN); exit $$status

##@ Parts of the above

engine29: ## build the newest Docker Engine, once, into $(ENGINE_CACHE)
	@BUILD=$(BUILD) $(SCRIPTS)/deps.sh engine29
	@$(SCRIPTS)/engine29.sh $(ENGINE_CACHE)

deps-build: # what a build needs
	@BUILD=$(BUILD) $(SCRIPTS)/deps.sh build $(CROSS)

deps-lint: # what lint needs
	@BUILD=$(BUILD) $(SCRIPTS)/deps.sh build lint

deps: ## install what building and testing need and this machine lacks (Debian)
	@BUILD=$(BUILD) $(SCRIPTS)/deps.sh build test lint $(CROSS)

clean: ## remove build output
	rm -rf $(BUILD)
