# SPDX-License-Identifier: GPL-2.0
# `make help` explains what there is.

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR := $(PREFIX)/sbin
LIBDIR := $(PREFIX)/lib
INCLUDEDIR := $(PREFIX)/include
MANDIR := $(PREFIX)/share/man
DATADIR := $(PREFIX)/share/dfw
COMPLETIONDIR := $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system

CLANG ?= clang-19
BPFTOOL ?= bpftool
BISON ?= bison
FLEX ?= flex
B := build

# V=1 shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),true,printf '  %-7s %s\n' $(1) $(2))

WARNINGS := -Wall -Wextra -Wshadow -Werror
CPPFLAGS := -Iinclude -I. -Ilib -Iselftests/unit -Iselftests/lib -I$(B) -I$(B)/bpf -D_GNU_SOURCE -DDFW_VERSION='"$(VERSION)"'
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu17 -fstack-protector-strong $(WARNINGS) -MMD -MP
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
TRIPLET := $(shell $(CC) -print-multiarch)
# As libbpf's headers name it.
BPF_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(firstword $(subst -, ,$(TRIPLET)))))
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -fno-strict-aliasing -Wall -Wextra -Werror -Iinclude -I/usr/include/$(TRIPLET) -D__TARGET_ARCH_$(BPF_ARCH) -MMD -MP
# What flex and bison write has warnings of its own.
GENERATED_CFLAGS := -Wno-error -Wno-unused-function -Wno-shadow -Wno-unused-parameter -Wno-sign-compare

DFWD_LIBS := -lxdp -lbpf -lelf -lz -lnanomsg -lmnl -ljansson
DFWSYNCD_LIBS := -lbpf -lelf -lz -lnanomsg -lsodium -lcurl -ljansson -lm
DFWCTL_LIBS := -lbpf -lelf -lz -lnanomsg -lsodium -ljansson -lm
TEST_LIBS := -lbpf -lelf -lz -lnanomsg -ljansson -lm -lpthread

POLICY := $(wildcard policy/*.c) $(patsubst %.y,$(B)/%.tab.c,$(wildcard policy/*.y)) \
	$(patsubst %.l,$(B)/%.lex.c,$(wildcard policy/*.l))
COMMON := $(wildcard lib/*.c) $(POLICY)
LOADER := $(wildcard loader/*.c)
CTL := $(wildcard ctl/*.c)
CLIENT := $(wildcard client/*.c)
SYNC := $(wildcard sync/*.c)
SYNCD := $(wildcard sync/daemon/*.c)
# Keys, certificates and sessions: needs libsodium and sync/wire.c.
SECURE := $(wildcard sync/secure/*.c)
XPORT := sync/daemon/xport.c sync/daemon/door.c
# The policy store on etcd: needs libcurl, libsodium and the core.
ETCD := $(wildcard sync/etcd/*.c)
PROGRAMS := dfwd dfwsyncd dfwctl
UNITS := $(wildcard loader/*.service.in sync/*.service.in)
SIM := $(wildcard selftests/sim/*.c)
TESTLIB := $(wildcard selftests/lib/*.c)
UNIT_TESTS := $(patsubst %.c,$(B)/%,$(wildcard selftests/unit/*.c)) \
	$(patsubst selftests/bpf/%.c,$(B)/selftests/unit/bpf_%,$(wildcard selftests/bpf/*.c))
# The datapath's headers, compiled for this machine's CPU.
HOST_FLAGS := -DDFW_HOST -Iselftests/host -fno-strict-aliasing
BPF_OBJECTS := $(patsubst %.bpf.c,$(B)/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKELETONS := $(BPF_OBJECTS:.bpf.o=.skel.h)
GENERATED_HEADERS := $(patsubst %.c,%.h,$(filter $(B)/%,$(POLICY)))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
san = $(patsubst %.c,$(B)/san/%.o,$(1))

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

##@ Build
.PHONY: all deps install uninstall
all: $(addprefix $(B)/,$(PROGRAMS)) ## build everything

deps: ## install the Debian packages that building and testing need (root)
	@tools/deps.sh

# Optimised objects in obj/; in san/ those with sanitizers, for the unit tests.
$(B)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(B)/obj/$(B)/%.o: $(B)/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Ipolicy $(CFLAGS) $(GENERATED_CFLAGS) -c $< -o $@
$(B)/san/%.o: %.c
	$(call say,SAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -c $< -o $@
$(B)/san/$(B)/%.o: $(B)/%.c
	$(call say,SAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Ipolicy $(CFLAGS) $(GENERATED_CFLAGS) $(SANITIZE) -c $< -o $@

$(B)/policy/%.tab.c $(B)/policy/%.tab.h: policy/%.y
	$(call say,BISON,$<)
	@mkdir -p $(@D)
	$(Q)$(BISON) -Wall -Werror -d -o $(B)/policy/$*.tab.c $<
$(B)/policy/%.lex.c $(B)/policy/%.lex.h: policy/%.l
	$(call say,FLEX,$<)
	@mkdir -p $(@D)
	$(Q)$(FLEX) --header-file=$(B)/policy/$*.lex.h -o $(B)/policy/$*.lex.c $<
$(call obj,$(POLICY)) $(call san,$(POLICY)): | $(GENERATED_HEADERS)

$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL,$<)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@
$(call obj,$(LOADER)) $(call san,$(wildcard selftests/bpf/*.c)): | $(SKELETONS)

$(B)/dfwd: $(call obj,$(LOADER) $(COMMON))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DFWD_LIBS)
$(B)/dfwsyncd: $(call obj,$(SYNCD) $(SECURE) $(ETCD) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DFWSYNCD_LIBS)
$(B)/libdfw.a: $(call obj,$(CLIENT))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(B)/dfwctl: $(call obj,$(CTL) $(SECURE) sync/wire.c $(COMMON)) $(B)/libdfw.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DFWCTL_LIBS)

install: all ## install binaries, man pages, completion and units (DESTDIR, PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(SBINDIR) $(addprefix $(B)/,$(PROGRAMS))
	install -D -m 0644 -t $(DESTDIR)$(LIBDIR) $(B)/libdfw.a
	install -D -m 0644 -t $(DESTDIR)$(INCLUDEDIR)/dfw include/dfw/migrate.h
	install -D -m 0644 -t $(DESTDIR)$(MANDIR)/man5 docs/man/*.5
	install -D -m 0644 -t $(DESTDIR)$(MANDIR)/man7 docs/man/*.7
	install -D -m 0644 -t $(DESTDIR)$(MANDIR)/man8 docs/man/*.8
	install -D -m 0755 contrib/libvirt/qemu $(DESTDIR)$(DATADIR)/libvirt-hook
	install -D -m 0755 -t $(DESTDIR)$(DATADIR) contrib/qemu/dfw-migrate
	install -d $(DESTDIR)$(COMPLETIONDIR) $(DESTDIR)$(UNITDIR)
	$(B)/dfwctl --bash-completion > $(DESTDIR)$(COMPLETIONDIR)/dfwctl
	for unit in $(UNITS); do \
		sed 's|@SBINDIR@|$(SBINDIR)|g' $$unit > $(DESTDIR)$(UNITDIR)/$$(basename $$unit .in); \
	done

uninstall: ## remove what install has put there
	rm -f $(addprefix $(DESTDIR)$(SBINDIR)/,$(PROGRAMS)) $(DESTDIR)$(COMPLETIONDIR)/dfwctl
	rm -f $(DESTDIR)$(LIBDIR)/libdfw.a $(DESTDIR)$(INCLUDEDIR)/dfw/migrate.h
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man5/,$(notdir $(wildcard docs/man/*.5)))
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man7/,$(notdir $(wildcard docs/man/*.7)))
	rm -f $(addprefix $(DESTDIR)$(DATADIR)/,libvirt-hook dfw-migrate)
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man8/,$(notdir $(wildcard docs/man/*.8)))
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(patsubst %.in,%,$(UNITS))))

##@ Try
.PHONY: demo bench bench-groups
demo: deps all ## show the main job on real packets (root)
	@selftests/demo.sh

bench: all ## ns per packet, against no firewall and against nftables (root; ARGS=--quick)
	@selftests/bench/run $(ARGS)
bench-compare: all ## the same, and what has changed since docs/bench/baseline.json
	@selftests/bench/run --compare $(ARGS)

bench-groups: all ## changes of large groups and policies, against their targets (root)
	@selftests/bench/groups
	@selftests/bench/policy

# The classifier alone, in the kernel: ns a decision of a policy or a ClassBench rule set.
$(B)/selftests/bench/classify: $(call obj,selftests/bench/classify.c $(TESTLIB) $(COMMON)) | $(B)/selftests/bench/classify.bpf.o
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS)
$(B)/selftests/bench/classify.bpf.o: selftests/bench/classify.bpf.c
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# Moves between two hosts; selftests/bench/moves.sh runs it.
$(B)/selftests/bench/moves: $(call obj,selftests/bench/moves.c $(COMMON)) $(B)/libdfw.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS)

# Members that come and go, at a rate.
# selftests/bench/xport.c says what it measures.
$(B)/selftests/bench/xport: $(call obj,selftests/bench/xport.c $(XPORT) $(SECURE) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lbpf -lelf -lz -lnanomsg -lsodium -ljansson -lm
$(B)/selftests/bench/churn: $(call obj,selftests/bench/churn.c)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lnanomsg -ljansson

##@ Test
.PHONY: check check-long unit-tests conformance sim fuzz lint
check: deps all unit-tests $(B)/sim ## all tests (root)
	@selftests/run -j 3

check-long: deps all ## what takes longer: twenty hosts (root)
	@selftests/run long

unit-tests: $(UNIT_TESTS) $(B)/selftests/etcd_host $(B)/selftests/handshakes $(B)/selftests/liar ## build the unit tests (with ASan and UBSan)

# A unit test links what it tests; those that include a .c file of ctl/ bring it themselves.
$(filter $(B)/selftests/unit/sync_%,$(UNIT_TESTS)): $(B)/selftests/unit/sync_%: $(B)/san/selftests/unit/sync_%.o $(call san,$(SYNC))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS)
$(filter $(B)/selftests/unit/etcd_%,$(UNIT_TESTS)): $(B)/selftests/unit/etcd_%: $(B)/san/selftests/unit/etcd_%.o $(call san,$(ETCD) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS) -lcurl -lsodium
# A host's core and etcd client without the rest: selftests/netns/etcd.sh drives it.
$(B)/selftests/etcd_host: $(B)/san/selftests/etcd/host.o $(call san,$(ETCD) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS) -lcurl -lsodium
# A stranger's and a stolen host's words, for selftests/netns/strangers.sh.
$(B)/selftests/handshakes $(B)/selftests/liar: $(B)/selftests/%: $(B)/san/selftests/secure/%.o $(call san,$(XPORT) $(SECURE) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS) -lsodium
$(filter $(B)/selftests/unit/secure_%,$(UNIT_TESTS)): $(B)/selftests/unit/secure_%: $(B)/san/selftests/unit/secure_%.o $(call san,$(SECURE) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS) -lsodium
$(filter $(B)/selftests/unit/xport_%,$(UNIT_TESTS)): $(B)/selftests/unit/xport_%: $(B)/san/selftests/unit/xport_%.o $(call san,$(XPORT) $(SECURE) $(SYNC) $(COMMON))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS) -lsodium
HOST_TESTS := $(patsubst selftests/unit/%.c,%,$(wildcard selftests/unit/datapath_*.c)) tcp_twin
$(addprefix $(B)/selftests/unit/,$(HOST_TESTS)): $(B)/san/selftests/host/host_maps.o
$(HOST_TESTS:%=$(B)/san/selftests/unit/%.o) $(B)/san/selftests/host/host_maps.o: CPPFLAGS += $(HOST_FLAGS)
$(B)/selftests/unit/bpf_%: $(B)/san/selftests/bpf/%.o $(call san,$(COMMON) $(TESTLIB)) | $(BPF_OBJECTS) $(B)/selftests/bench/classify.bpf.o
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS)
$(B)/selftests/unit/%: $(B)/san/selftests/unit/%.o $(call san,$(COMMON) $(TESTLIB))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(TEST_LIBS)

conformance: deps all ## the catalogue of packet sequences, a TAP line a case (root; ONLY=T01,icmp)
	@cd selftests/conformance && /usr/bin/python3 conform.py --adapter dfw $(if $(ONLY),--only $(ONLY))

sim: $(B)/sim ## the distribution layer, a thousand hosts in one process (ARGS=...)
	@$(B)/sim $(ARGS)
$(B)/sim: $(call obj,$(SIM) $(SYNC))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm -ljansson

# A fuzzer is one program of selftests/fuzz/, clang's, with all that it tests compiled in; its seeds lie in
# selftests/fuzz/corpus/NAME, what it finds in build/fuzz/NAME.
FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst selftests/fuzz/%_fuzz.c,%,$(wildcard selftests/fuzz/*_fuzz.c))
FUZZ_CFLAGS := -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Wno-unknown-warning-option
FUZZ_datapath := $(HOST_FLAGS) selftests/host/host_maps.c
FUZZ_sync_values := sync/daemon/vport_text.c lib/addr.c
FUZZ_etcd_answer := sync/etcd/message.c sync/etcd/record.c -lsodium
# Behind a signature that must be right nothing would ever be reached: these say themselves which ones are.
FUZZ_secure_texts := -Wl,--wrap=signature_right -lsodium
FUZZ_secure_channels := -Wl,--wrap=signature_right -lsodium
FUZZ_COMMON = $(if $(filter sync% etcd%,$*),$(SYNC),$(COMMON) $(if $(filter secure%,$*),$(SECURE) sync/wire.c))
$(B)/fuzz/%: selftests/fuzz/%_fuzz.c $(COMMON) $(SYNC) $(ETCD) $(SECURE) $(wildcard bpf/*) | $(GENERATED_HEADERS)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D) $(B)/fuzz/found-$*
	$(Q)$(CLANG) $(CPPFLAGS) -Ipolicy $(FUZZ_CFLAGS) -o $@ $< $(FUZZ_$*) $(FUZZ_COMMON) -lbpf -lelf -lz -ljansson -lm
fuzz: $(addprefix $(B)/fuzz/,$(FUZZERS)) ## run every fuzzer for FUZZ_SECONDS
	@for name in $(FUZZERS); do \
		echo "== $$name, $(FUZZ_SECONDS) s"; \
		mkdir -p $(B)/fuzz/corpus-$$name selftests/fuzz/corpus/$$name; \
		$(B)/fuzz/$$name -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$(B)/fuzz/found-$$name/ \
			$(B)/fuzz/corpus-$$name selftests/fuzz/corpus/$$name 2>&1 | tail -n 12 || exit 1; \
	done

lint: ## formatting, static analysis, shellcheck, man pages
	@tools/lint.sh

##@ Other
.PHONY: clean help
clean: ## remove build/
	rm -rf $(B)

help: ## this text
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
