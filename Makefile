# SPDX-License-Identifier: GPL-2.0
# `make help` explains what there is.

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR := $(PREFIX)/sbin
MANDIR := $(PREFIX)/share/man
COMPLETIONDIR := $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system

CC ?= gcc
CLANG ?= clang-19
BPFTOOL ?= bpftool
BISON ?= bison
FLEX ?= flex
B := build

WARNINGS := -Wall -Wextra -Wshadow -Werror
CPPFLAGS := -Iinclude -I. -Ilib -I$(B) -I$(B)/bpf -D_GNU_SOURCE -DDFW_VERSION='"$(VERSION)"'
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu17 -fstack-protector-strong $(WARNINGS) -MMD -MP
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
TRIPLET := $(shell $(CC) -print-multiarch)
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -Iinclude -I$(B) -I/usr/include/$(TRIPLET) -MMD -MP
# Generated parsers have warnings of their own.
GENERATED_CFLAGS := -Wno-error -Wno-unused-function -Wno-shadow -Wno-unused-parameter -Wno-sign-compare

DFWD_LIBS := -lbpf -lelf -lz -lnanomsg -lmnl -ljansson
DFWCTL_LIBS := -lbpf -lelf -lz -lnanomsg -ljansson -lm

objects = $(patsubst %.c,$(B)/$(2)/%.o,$(1))
POLICY_SOURCES := $(wildcard policy/*.c)
POLICY_GENERATED := $(patsubst %.y,$(B)/%.tab.c,$(wildcard policy/*.y)) $(patsubst %.l,$(B)/%.lex.c,$(wildcard policy/*.l))
LIB_SOURCES := $(wildcard lib/*.c)
LOADER_SOURCES := $(wildcard loader/*.c)
CTL_SOURCES := $(wildcard ctl/*.c)
SYNC_SOURCES := $(wildcard sync/*.c)
.PRECIOUS: $(B)/bpf/%.bpf.o
BPF_OBJECTS := $(patsubst bpf/%.bpf.c,$(B)/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKELETONS := $(BPF_OBJECTS:.bpf.o=.skel.h)

.DEFAULT_GOAL := all

##@ Build
.PHONY: all
all: $(B)/dfwd $(B)/dfwctl ## build everything

# One rule for the optimised objects, one for those with sanitizers that the unit tests link.
$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(B)/obj/$(B)/%.o: $(B)/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Ipolicy $(CFLAGS) $(GENERATED_CFLAGS) -c $< -o $@
$(B)/san/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -c $< -o $@
$(B)/san/$(B)/%.o: $(B)/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Ipolicy $(CFLAGS) $(GENERATED_CFLAGS) $(SANITIZE) -c $< -o $@

$(B)/policy/%.tab.c $(B)/policy/%.tab.h: policy/%.y
	@mkdir -p $(@D)
	$(BISON) -Wall -Werror -d -o $(B)/policy/$*.tab.c $<
$(B)/policy/%.lex.c $(B)/policy/%.lex.h: policy/%.l
	@mkdir -p $(@D)
	$(FLEX) --header-file=$(B)/policy/$*.lex.h -o $(B)/policy/$*.lex.c $<
GENERATED_HEADERS := $(POLICY_GENERATED:.c=.h)
$(call objects,$(POLICY_SOURCES) $(POLICY_GENERATED),obj): | $(GENERATED_HEADERS)
$(call objects,$(POLICY_SOURCES) $(POLICY_GENERATED),san): | $(GENERATED_HEADERS)

$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@
$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $* > $@.tmp && mv $@.tmp $@
$(call objects,$(LOADER_SOURCES),obj): | $(SKELETONS)

COMMON_OBJECTS := $(call objects,$(LIB_SOURCES) $(POLICY_SOURCES) $(POLICY_GENERATED),obj)
$(B)/dfwd: $(call objects,$(LOADER_SOURCES),obj) $(COMMON_OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DFWD_LIBS)
$(B)/dfwctl: $(call objects,$(CTL_SOURCES),obj) $(COMMON_OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(DFWCTL_LIBS)

##@ Other
.PHONY: clean
clean: ## remove build/
	rm -rf $(B)

.PHONY: help
help: ## this text
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
