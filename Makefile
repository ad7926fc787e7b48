# LiteKV: a loadable SQLite extension. `make help` lists targets and knobs.
#
# Sources are found by wildcard, so a new file needs no line here. Everything that is
# made goes below $(BUILD). Objects depend on $(BUILD)/flags, which changes when the
# compiler, its flags or the libraries found change: one build directory never mixes.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# --- knobs --------------------------------------------------------------------------

# Sanitizers, as -fsanitize= takes them: SAN=address,undefined
SAN :=
# make fuzz: which target (log for fuzz/fuzz_log.c; empty: all) and for how long each
TARGET :=
SECONDS := 60
# Seed of random tests and of the fuzzer; empty: their own
SEED :=
# make repeat: how many times
N := 10
# Arguments of a benchmark; empty: its own
BENCH ?=
# make chart: at which numbers of keys; empty: 10000 100000 1000000
KEYS ?=
# A directory with sqlite3.h and libsqlite3.so, to test against another SQLite
SQLITE :=
PREFIX := /usr/local
DESTDIR :=
CFLAGS ?= -O2 -g
LDFLAGS ?=
WERROR :=
LTO :=
# V=1 shows whole commands, QUIET=1 nothing but what goes wrong
V :=
QUIET :=
Q := $(if $(V),,@)
SAY := $(if $(QUIET),:,echo)

comma := ,
hash := \#
empty :=
space := $(empty) $(empty)
BUILD := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
ifneq ($(words $(BUILD)),1)
$(error BUILD may hold no spaces)
endif

# --- flags --------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-qual \
    -Wmissing-prototypes -Wvla -Wswitch-enum -Wformat=2 $(if $(WERROR),-Werror)
# -fno-sanitize-recover: undefined behaviour that is only printed would pass a test.
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all \
    -fno-omit-frame-pointer)
FUZZ_FLAGS := $(if $(FUZZING),-fsanitize=fuzzer-no-link$(comma)address$(comma)undefined \
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
COVERAGE_FLAGS := $(if $(COVERAGE),--coverage -O0 -DLKV_COVERAGE)
LTO_FLAGS := $(if $(LTO),-flto)

# libdeflate's CRC-32 is about ten times as fast as zlib's. Found by compiling, each time
# make starts: targets that install packages build in a sub-make, which looks again.
ifneq ($(filter-out help clean uninstall,$(or $(MAKECMDGOALS),all)),)
HAVE_LIBDEFLATE := $(shell printf '%s\n' '$(hash)include <libdeflate.h>' \
    'int main(void) { return (int)libdeflate_crc32(0, 0, 0); }' | \
    $(CC) -x c - -ldeflate -o /dev/null 2>/dev/null && echo yes)
endif

# Other engines, only to be measured beside litekv, found in the same way; each is a name, a
# header and a library.
RIVALS := LMDB:lmdb.h:-llmdb LEVELDB:leveldb/c.h:-lleveldb ROCKSDB:rocksdb/c.h:-lrocksdb \
    TKRZW:tkrzw_langc.h:-ltkrzw
has_rival = $(shell printf '%s\n' '$(hash)include <$(word 2,$(1))>' \
    'int main(void) { return 0; }' | $(CC) -x c - $(word 3,$(1)) -o /dev/null \
    2>/dev/null && echo yes)
ifneq ($(filter bench% objects,$(MAKECMDGOALS)),)
rivals := $(foreach r,$(RIVALS),$(if $(call has_rival,$(subst :, ,$(r))),$(r)))
endif
rival_words = $(foreach r,$(rivals),$(word $(1),$(subst :, ,$(r))))

# Large files, and times after 2038, where the machine has 32 bits.
DEFINES := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64
ALL_CFLAGS := $(CFLAGS) -std=c11 $(DEFINES) -fPIC -fvisibility=hidden $(WARNINGS) \
    $(if $(HAVE_LIBDEFLATE),-DLKV_HAVE_LIBDEFLATE) $(SAN_FLAGS) $(FUZZ_FLAGS) \
    $(COVERAGE_FLAGS) $(LTO_FLAGS)
ALL_LDFLAGS := $(CFLAGS) $(LDFLAGS) $(SAN_FLAGS) $(COVERAGE_FLAGS) $(LTO_FLAGS)
LIBS := $(if $(HAVE_LIBDEFLATE),-ldeflate) -lz
# Without this the linker would quietly take the system's library.
ifneq ($(SQLITE),)
ifneq ($(words $(wildcard $(SQLITE)/sqlite3.h $(SQLITE)/libsqlite3.so)),2)
$(error SQLITE=$(SQLITE) has to hold sqlite3.h and libsqlite3.so)
endif
endif
# The extension is compiled with the system's own header even when SQLITE= names
# another: what is tested is then the file that users load.
SQLITE_AFTER := $(if $(SQLITE),-idirafter $(SQLITE))
SQLITE_FIRST := $(if $(SQLITE),-I$(SQLITE))
SQLITE_LIBS := $(if $(SQLITE),-L$(SQLITE) -Wl$(comma)-rpath$(comma)$(abspath $(SQLITE))) \
    -Wl,--as-needed -lsqlite3
# Sanitizers leave references of a shared library to their runtime, which the program
# that loads it brings along.
NO_UNDEFINED := $(if $(SAN)$(FUZZING),,-Wl$(comma)-z$(comma)defs)

FLAGS_core := -Icore
FLAGS_ext := -Icore -Iext $(SQLITE_AFTER)
FLAGS_sql-tests := -Icore -Iext $(SQLITE_FIRST)
FLAGS_fuzz := -Icore -Iext -DSQLITE_CORE $(SQLITE_FIRST)
FLAGS_bench := -Icore -Iext $(SQLITE_FIRST) \
    $(addprefix -DLKV_HAVE_,$(call rival_words,1))

# --- sources ------------------------------------------------------------------------

core_c := $(sort $(wildcard core/*.c))
ext_c := $(sort $(wildcard ext/*.c))
core_test_c := $(sort $(wildcard core/test/test_*.c))
core_help_c := $(filter-out $(core_test_c),$(sort $(wildcard core/test/*.c)))
ext_test_c := $(sort $(wildcard ext/test/test_*.c))
# Programs are linked with the objects of litekv.so, and api.c hands these SQLite's
# functions: what is tested, and counted by coverage, is what users load.
ext_api_c := ext/test/api.c
ext_help_c := $(filter-out $(ext_test_c) $(ext_api_c),$(sort $(wildcard ext/test/*.c)))
diff_c := $(sort $(wildcard sql-tests/diff*.c))
run_c := $(filter-out $(diff_c),$(sort $(wildcard sql-tests/*.c)))
fuzz_c := $(sort $(wildcard fuzz/fuzz_*.c))
fuzz_help_c := $(filter-out $(fuzz_c) fuzz/replay.c,$(sort $(wildcard fuzz/*.c)))
memindex_bench_c := $(wildcard bench/memindex.c)
# bench/bench.c and bench/bench_WHAT.c are programs, bench and bench-WHAT; the others are
# what those share.
bench_c := $(wildcard bench/bench.c) $(sort $(wildcard bench/bench_*.c))
bench_help_c := $(filter-out $(memindex_bench_c) $(bench_c),$(sort $(wildcard bench/*.c)))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
core_o := $(call objects,$(core_c))
ext_o := $(call objects,$(ext_c))
unit_tests := $(patsubst %.c,$(BUILD)/test/%,$(notdir $(core_test_c) $(ext_test_c)))
ifneq ($(words $(unit_tests)),$(words $(sort $(unit_tests))))
$(error two unit tests have the same file name; one would hide the other)
endif
replays := $(patsubst fuzz/%.c,$(BUILD)/replay/%,$(fuzz_c))
runner := $(if $(wildcard sql-tests/run.c),$(BUILD)/run)
differential := $(if $(diff_c),$(BUILD)/differential)
sql_benches := $(subst _,-,$(patsubst bench/%.c,$(BUILD)/%,$(bench_c)))
benches := $(sql_benches) $(if $(memindex_bench_c),$(BUILD)/bench-memindex)
bench_targets := $(filter-out bench,$(notdir $(benches)))
all_o := $(core_o) $(ext_o) $(call objects,$(core_test_c) $(core_help_c) \
    $(ext_test_c) $(ext_help_c) $(ext_api_c) $(run_c) $(diff_c) $(fuzz_c) $(fuzz_help_c) fuzz/replay.c \
    $(memindex_bench_c) $(bench_c) $(bench_help_c))

# A sub-make for what comes after packages were installed. Two jobs, unless told.
SUB = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j2)

# --- what is built ------------------------------------------------------------------

.PHONY: all programs objects FORCE
all: $(BUILD)/litekv.so ## build the extension (the default)

programs: $(BUILD)/litekv.so $(unit_tests) $(runner) $(differential) $(replays)

objects: $(all_o)

$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(SQLITE_FIRST) $(ALL_LDFLAGS) $(LIBS)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# The same for what is compiled by which rivals there are.
$(BUILD)/flags-rivals: FORCE
	@mkdir -p $(@D)
	@echo '$(rivals)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(filter $(BUILD)/obj/bench/rival_%.o,$(call objects,$(bench_help_c))): $(BUILD)/flags-rivals

$(BUILD)/obj/ext/test/%.o: ext/test/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@$(SAY) "  cc $<"
	$(Q)$(CC) $(ALL_CFLAGS) -Icore -Iext -DSQLITE_CORE $(SQLITE_FIRST) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@$(SAY) "  cc $<"
	$(Q)$(CC) $(ALL_CFLAGS) $(FLAGS_$(firstword $(subst /, ,$*))) -MMD -MP -c $< -o $@

# Archives, so that a program takes what it uses and no more.
archive = @mkdir -p $(@D); rm -f $@; ar rcs $@ $(filter %.o,$^)
$(BUILD)/lib/core.a: $(core_o)
	$(archive)
$(BUILD)/lib/ext.a: $(ext_o)
	$(archive)
$(BUILD)/lib/core-test.a: $(call objects,$(core_help_c))
	$(archive)
$(BUILD)/lib/ext-test.a: $(call objects,$(ext_help_c))
	$(archive)
$(BUILD)/lib/fuzz.a: $(call objects,$(fuzz_help_c))
	$(archive)
$(BUILD)/lib/diff.a: $(call objects,$(filter-out sql-tests/differential.c,$(diff_c)))
	$(archive)
$(BUILD)/lib/bench.a: $(call objects,$(bench_help_c))
	$(archive)

link = @mkdir -p $(@D); $(SAY) "  link $@"; $(if $(V),set -x;) $(CC) $(ALL_LDFLAGS)

$(BUILD)/litekv.so: $(core_o) $(ext_o)
	$(link) -shared $(NO_UNDEFINED) $(filter %.o,$^) $(LIBS) -o $@

core_libs := $(BUILD)/lib/core-test.a $(BUILD)/lib/core.a
ext_libs := $(call objects,$(ext_api_c)) $(BUILD)/lib/ext-test.a \
    $(BUILD)/lib/core-test.a $(BUILD)/lib/ext.a $(BUILD)/lib/core.a
fuzz_libs := $(call objects,$(ext_api_c)) $(BUILD)/lib/fuzz.a $(BUILD)/lib/diff.a \
    $(BUILD)/lib/core-test.a $(BUILD)/lib/ext.a $(BUILD)/lib/core.a

$(BUILD)/test/%: $(BUILD)/obj/core/test/%.o $(core_libs)
	$(link) $^ $(LIBS) -o $@
$(BUILD)/test/%: $(BUILD)/obj/ext/test/%.o $(ext_libs)
	$(link) $^ $(SQLITE_LIBS) $(LIBS) -o $@
$(BUILD)/run: $(call objects,$(run_c))
	$(link) $^ $(SQLITE_LIBS) -o $@
$(BUILD)/differential: $(call objects,$(diff_c))
	$(link) $^ $(SQLITE_LIBS) -o $@
$(BUILD)/replay/%: $(BUILD)/obj/fuzz/%.o $(BUILD)/obj/fuzz/replay.o $(fuzz_libs)
	$(link) $^ $(SQLITE_LIBS) $(LIBS) -o $@
$(BUILD)/fuzz_%: $(BUILD)/obj/fuzz/fuzz_%.o $(fuzz_libs)
	$(link) -fsanitize=fuzzer,address,undefined $^ $(SQLITE_LIBS) $(LIBS) -o $@
$(BUILD)/bench-memindex: $(call objects,$(memindex_bench_c)) $(BUILD)/lib/core.a
	$(link) $^ $(LIBS) -o $@
$(BUILD)/bench-rivals: $(BUILD)/obj/bench/bench_rivals.o $(BUILD)/lib/bench.a \
    $(BUILD)/lib/core.a
	$(link) $^ $(SQLITE_LIBS) $(call rival_words,3) $(LIBS) -lm -o $@
$(BUILD)/bench: $(BUILD)/obj/bench/bench.o $(BUILD)/lib/bench.a
	$(link) $^ $(SQLITE_LIBS) -lm -o $@
$(BUILD)/bench-%: $(BUILD)/obj/bench/bench_%.o $(BUILD)/lib/bench.a
	$(link) $^ $(SQLITE_LIBS) -lm -o $@

# Objects stay: they are the coverage data's other half, and what lint looks at.
.SECONDARY:

-include $(all_o:.o=.d)

# --- what is run --------------------------------------------------------------------

.PHONY: demo test test-long lint format fuzz fuzz-programs fuzz-replay bench benches \
    chart mutate valgrind repeat coverage amalgamation install uninstall clean help

demo: ## show it in the stock sqlite3 shell, on real data of this machine
	@tools/install-deps.sh build demo
	@$(SUB) all
	@demo/demo.sh $(BUILD)

test: ## all tests; ends in one line "N passed, N failed"
	@tools/install-deps.sh build
	@$(SUB) programs
	@SAN='$(SAN)' SEED='$(SEED)' tools/test.sh $(BUILD)

test-long: ## the same with ten times the random statements and more
	@tools/install-deps.sh build
	@$(SUB) programs
	@LONG=1 SAN='$(SAN)' SEED='$(SEED)' tools/test.sh $(BUILD)

lint: ## formatting, warnings of gcc and clang, clang-tidy, cppcheck, layers, sizes
	@tools/install-deps.sh build lint
	@tools/lint.sh $(BUILD)

format: ## clang-format every C file in place
	clang-format -i $(wildcard $(foreach d,core core/test ext ext/test sql-tests fuzz bench,\
	    $(d)/*.c $(d)/*.h))

FUZZ_CC := $(if $(findstring clang,$(CC)),$(CC),clang)
fuzz: ## run libFuzzer; TARGET=log SECONDS=60 SEED=1
	@tools/install-deps.sh build fuzz
	@$(SUB) fuzz-programs FUZZING=1 CC=$(FUZZ_CC) BUILD=$(BUILD)/fuzz SAN=
	@tools/fuzz.sh $(BUILD)/fuzz '$(TARGET)' '$(SECONDS)' '$(SEED)'

fuzz-programs: $(patsubst fuzz/%.c,$(BUILD)/%,$(fuzz_c))

fuzz-replay: $(replays) ## run the committed corpora, without libFuzzer
	@ONLY=replay tools/test.sh $(BUILD)

bench: ## measure against the ordinary table; BENCH="-n 1000000"
	@tools/install-deps.sh build demo
	@$(SUB) benches
	@BENCH='$(BENCH)' tools/bench.sh $(BUILD)

.PHONY: $(bench_targets)
$(bench_targets): bench-%:
	@tools/install-deps.sh build demo $(filter rivals,$*)
	@$(SUB) benches
	@BENCH='$(BENCH)' tools/bench.sh $(BUILD) $*

benches: $(BUILD)/litekv.so $(benches) ## build all that bench/README.md tells of

chart: ## cost of operations by number of keys: bench/chart.svg, bench/chart.tsv
	@tools/install-deps.sh build chart
	@$(SUB) benches
	@BENCH='$(BENCH)' KEYS='$(KEYS)' bench/chart.sh $(BUILD)

mutate: ## break the code on purpose; every change must fail a test
	@tools/mutate.sh

valgrind: ## unit tests and .slt files under memcheck; LONG=1 leaves none out
	@tools/install-deps.sh build valgrind
	@$(SUB) programs SAN=
	@tools/valgrind.sh $(BUILD)

repeat: ## the tests N=10 times, each with another seed; stops at the first failure
	@tools/install-deps.sh build
	@$(SUB) programs
	@SAN='$(SAN)' SEED='$(SEED)' tools/repeat.sh $(BUILD) '$(N)'

coverage: ## lines and branches of core and ext that the tests run, as text
	@tools/install-deps.sh build
	@$(SUB) programs COVERAGE=1 BUILD=$(BUILD)/coverage CC=gcc SAN=
	@tools/coverage.sh $(BUILD)/coverage

amalgamation: $(BUILD)/litekv.c ## the whole extension as one C file

$(BUILD)/litekv.c: $(core_c) $(ext_c) $(wildcard core/*.h ext/*.h) tools/amalgamate.pl
	@mkdir -p $(@D)
	$(Q)perl tools/amalgamate.pl $(core_c) $(ext_c) >$@

install: $(BUILD)/litekv.so ## into $(DESTDIR)$(PREFIX)/lib
	install -d '$(DESTDIR)$(PREFIX)/lib'
	install -m 755 $(BUILD)/litekv.so '$(DESTDIR)$(PREFIX)/lib/litekv.so'

uninstall: ## take it out of there again
	rm -f '$(DESTDIR)$(PREFIX)/lib/litekv.so'

clean: ## remove everything that was built
	rm -rf build build-*
	@# A directory of another name only when it is one of ours.
	@if [ -e "$(BUILD)/flags" ]; then rm -rf "$(BUILD)"; fi

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Knobs: SAN=address,undefined  TARGET=log  SECONDS=60  SEED=1  CC=clang'
	@echo '       BUILD=dir  PREFIX=/usr/local  SQLITE=dir (sqlite3.h, libsqlite3.so)'
	@echo 'Bench: BENCH="-n 20000" (bench/README.md; BENCH=--help), and of one kind alone:'
	@echo '       $(bench_targets)'
	@echo 'Tests: REQUIRE_ALL=1 makes a skipped test fail; SLT_CORPUS=dir runs more files'
