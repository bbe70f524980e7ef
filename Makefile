# Keelson. `make help` lists the targets.
#
# Sources are found by pattern, so a new file needs no change here:
#   *.c in the root             the library                  build/libkeelson.a, .so
#   examples/*.c                reference host parts         linked where a program uses them
#   examples/{hello,counter,
#       register,standby}.c     programs to start from       build/hello, build/counter, ...
#   examples/raftkv/*.c         the replicated server        build/raftkv; build/raftkv-demo,
#                               -check, -recover of demo.c, check.c, recover.c
#   tests/test_*.c              one test program each        build/test_*
#   tests/fuzz_*.c              one fuzz target each         build/fuzz_*, corpus in tests/corpus/*
#   tests/{sim,torture}/*.c     simulator, process torture   build/sim, build/torture
#   tests/*.c otherwise         what tests share             linked where a test uses it
#
# Yours to set: CC AR CFLAGS CPPFLAGS LDFLAGS LDLIBS (added to what the build needs), BUILD (where
# everything goes), V=1 (show commands), WERROR=1 (warnings are errors), and SIMFLAGS, BENCHFLAGS,
# TORTUREFLAGS, FUZZ_SECONDS or FUZZ_RUNS, and PROTOCOL=multipaxos for demo and torture. For packagers:
# BUILD_SHARED=no and BUILD_STATIC=no leave one of the libraries out; DESTDIR, PREFIX, LIBDIR,
# INCLUDEDIR, PKGCONFIGDIR (or prefix, exec_prefix, libdir, includedir, pkgconfigdir), INSTALL and
# INSTALL_DATA say where `make install` puts things, and how.

BUILD ?= build
AR ?= ar
CFLAGS ?= -O2 -g
SIMFLAGS ?= --seed 1 --runs 10000 --jobs 2
BENCHFLAGS ?=
TORTUREFLAGS ?=
FUZZ_SECONDS ?= 60
TEST_SIM_RUNS ?= 3000
TEST_PAXOS_RUNS ?= 800

BUILD_SHARED ?= yes
BUILD_STATIC ?= yes

PREFIX ?= /usr/local
prefix ?= $(PREFIX)
exec_prefix ?= $(prefix)
LIBDIR ?= $(exec_prefix)/lib
INCLUDEDIR ?= $(prefix)/include
libdir ?= $(LIBDIR)
includedir ?= $(INCLUDEDIR)
PKGCONFIGDIR ?= $(libdir)/pkgconfig
pkgconfigdir ?= $(PKGCONFIGDIR)
INSTALL ?= install
INSTALL_DATA ?= $(INSTALL) -m 644

V ?= 0
ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @echo
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wundef \
            -Wcast-qual -Wwrite-strings -Wvla
KEELSON_CFLAGS := -std=c11 -pedantic $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror)
KEELSON_CPPFLAGS := -I. -Iexamples
DEPENDENCIES := $(if $(findstring tcc,$(CC)),-MD,-MMD -MP)
COMPILE = $(CC) $(KEELSON_CPPFLAGS) $(CPPFLAGS) $(KEELSON_CFLAGS) $(CFLAGS) $(DEPENDENCIES)

# ---- What there is -------------------------------------------------------------------------------

# Files with a main, beside tests, benches and fuzz targets.
MAINS := %/main.c %/demo.c %/check.c %/recover.c %/sim.c %/torture.c
PROGRAM_SRC := $(wildcard $(addprefix examples/,hello.c counter.c register.c standby.c))
LIB_SRC := $(wildcard *.c)
HOST_SRC := $(filter-out $(PROGRAM_SRC),$(wildcard examples/*.c))
KV_SRC := $(filter-out $(MAINS),$(wildcard examples/raftkv/*.c))
SIM_SRC := $(wildcard tests/sim/*.c)
TORTURE_SRC := $(wildcard tests/torture/*.c)
BENCH_SRC := $(wildcard tests/bench*.c)
TEST_SRC := $(wildcard tests/test_*.c)
FUZZ_DRIVER := $(wildcard tests/fuzz_driver.c)
FUZZ_SRC := $(if $(FUZZ_DRIVER),$(filter-out $(FUZZ_DRIVER),$(wildcard tests/fuzz_*.c)))
KIT_SRC := $(filter-out $(TEST_SRC) $(BENCH_SRC) tests/fuzz_%,$(wildcard tests/*.c)) \
           $(filter-out $(MAINS),$(SIM_SRC) $(TORTURE_SRC))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB := $(BUILD)/libkeelson.a
HOST := $(if $(HOST_SRC),$(BUILD)/obj/libhost.a)
KV := $(if $(KV_SRC),$(BUILD)/obj/libraftkv.a)
KIT := $(if $(KIT_SRC),$(BUILD)/obj/libtestkit.a)

# The shared library. Its soname is what a program is bound to: while the major version is 0, a
# minor version may change the interface, so the soname carries both (libkeelson.so.0.1); from 1.0
# on, the major version alone. Its objects are its own: position-independent code would cost the
# static library speed on some machines and gain it nothing.
VERSION := $(shell awk '/^.define RAFT_VERSION_(MAJOR|MINOR|PATCH) / \
    { printf "%s%s", dot, $$3; dot = "." }' raft.h)
ABI := $(if $(filter 0.%,$(VERSION)),$(basename $(VERSION)),$(firstword $(subst ., ,$(VERSION))))
ifeq ($(shell uname -s),Darwin)
shared_name = libkeelson$(1).dylib
SHARED_FLAGS = -dynamiclib -install_name '$(libdir)/$(SONAME)' -current_version $(VERSION)
else
shared_name = libkeelson.so$(1)
SHARED_FLAGS = -shared -Wl,-soname,$(SONAME)
endif
SONAME := $(call shared_name,.$(ABI))
SHARED := $(BUILD)/$(call shared_name,.$(VERSION))
SHARED_OBJECTS := $(patsubst %.c,$(BUILD)/obj/shared/%.o,$(LIB_SRC))
SHARED_WORKS := $(BUILD)/obj/shared/works

TESTS := $(patsubst tests/%.c,$(BUILD)/%,$(TEST_SRC))
FUZZERS := $(patsubst tests/%.c,$(BUILD)/%,$(FUZZ_SRC))
SIM := $(if $(filter $(MAINS),$(SIM_SRC)),$(BUILD)/sim)
BENCH := $(if $(BENCH_SRC),$(BUILD)/bench)
TORTURE := $(if $(filter $(MAINS),$(TORTURE_SRC)),$(BUILD)/torture)
RAFTKV := $(if $(wildcard examples/raftkv/main.c),$(BUILD)/raftkv)
DEMO := $(if $(wildcard examples/raftkv/demo.c),$(BUILD)/raftkv-demo)
TOOLS := $(patsubst examples/raftkv/%.c,$(BUILD)/raftkv-%, \
    $(wildcard examples/raftkv/check.c examples/raftkv/recover.c))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/%,$(PROGRAM_SRC))

.PHONY: all lib shared examples amalgamation unit programs test check unit-test tsan-test valgrind \
        sanitize tsan sim fuzz mutants torture portability lint bench bench-instructions demo \
        install uninstall dist clean help FORCE
.SECONDARY:
.DELETE_ON_ERROR:

all: lib shared examples $(SIM) $(BENCH) ## the libraries, the examples, simulator and benchmark
lib: $(LIB) ## build/libkeelson.a
examples: $(EXAMPLES) $(RAFTKV) $(DEMO) $(TOOLS) ## hello, register, counter, standby, raftkv and its tools
unit: $(TESTS) $(FUZZERS) $(RAFTKV) $(TOOLS) $(BUILD)/standby
programs: all unit $(TORTURE)

# ---- Building ------------------------------------------------------------------------------------

quote = '$(subst ','\'',$(1))'

# Changed flags rebuild everything.
FLAGS = $(COMPILE) $(LDFLAGS) $(LDLIBS) $(SHARED_FLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(FLAGS)) | cmp -s - $@ || printf '%s\n' $(call quote,$(FLAGS)) > $@

# Threads belong to the host: the library is compiled without them.
$(call objects,$(LIB_SRC)): THREADS :=
THREADS := -pthread

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(say) "  CC    $<"
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(THREADS) -c -o $@ $<

# D: no times and owners in the archive, so that the same sources make the same bytes.
define archive
$(say) "  AR    $(notdir $@)"
@mkdir -p $(@D) && rm -f $@
$(Q)$(AR) rcsD $@ $(filter %.o,$^) 2>/dev/null || { rm -f $@; $(AR) rcs $@ $(filter %.o,$^); }
endef

define link
$(say) "  LINK  $(notdir $@)"
$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) -pthread $(LDLIBS)
endef

$(LIB): $(call objects,$(LIB_SRC))
	$(archive)

$(SHARED_OBJECTS): $(BUILD)/obj/shared/%.o: %.c $(BUILD)/flags
	$(say) "  CC    $< (shared)"
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -fPIC -fvisibility=hidden -c -o $@ $<

$(SHARED): $(SHARED_OBJECTS)
	$(say) "  LINK  $(notdir $@)"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(SHARED_FLAGS) -o $@ $^ $(LDLIBS)
	@ln -sf $(@F) $(BUILD)/$(SONAME) && ln -sf $(@F) $(BUILD)/$(call shared_name,)

$(SHARED_WORKS): $(BUILD)/flags tools/probe_shared.sh
	@mkdir -p $(@D)
	@CC=$(call quote,$(CC) $(CFLAGS) $(LDFLAGS)) \
	    sh tools/probe_shared.sh $(BUILD)/obj/shared/probe -fPIC $(SHARED_FLAGS) > $@

# Not every compiler can: asked once, and a compiler that cannot is no error.
ifeq ($(BUILD_SHARED),no)
shared:
else
shared: $(SHARED_WORKS) ## build/libkeelson.so, where the compiler makes such libraries
	@if grep -q yes $<; then $(MAKE) --no-print-directory $(SHARED); \
	else echo 'skip shared: $(CC) makes no shared library that hides its internals'; fi
endif

$(BUILD)/obj/libhost.a: $(call objects,$(HOST_SRC))
	$(archive)
$(BUILD)/obj/libraftkv.a: $(call objects,$(KV_SRC))
	$(archive)
$(BUILD)/obj/libtestkit.a: $(call objects,$(KIT_SRC))
	$(archive)

$(BUILD)/hello: $(BUILD)/obj/examples/hello.o $(LIB)
	$(link)
$(BUILD)/register: $(BUILD)/obj/examples/register.o $(LIB)
	$(link)
$(BUILD)/counter: $(BUILD)/obj/examples/counter.o $(HOST) $(LIB)
	$(link)
$(BUILD)/standby: $(BUILD)/obj/examples/standby.o $(HOST) $(LIB)
	$(link)
$(BUILD)/raftkv: $(BUILD)/obj/examples/raftkv/main.o $(KV) $(HOST) $(LIB)
	$(link)
$(BUILD)/raftkv-demo: $(BUILD)/obj/examples/raftkv/demo.o $(KV) $(HOST) $(LIB)
	$(link)
$(TOOLS): $(BUILD)/raftkv-%: $(BUILD)/obj/examples/raftkv/%.o $(KV) $(HOST) $(LIB)
	$(link)
$(BUILD)/sim: $(call objects,$(SIM_SRC)) $(HOST) $(LIB)
	$(link)
$(BUILD)/bench: $(call objects,$(BENCH_SRC)) $(KIT) $(KV) $(HOST) $(LIB)
	$(link)
$(BUILD)/torture: $(call objects,$(TORTURE_SRC)) $(KIT) $(KV) $(HOST) $(LIB)
	$(link)
$(TESTS): $(BUILD)/%: $(BUILD)/obj/tests/%.o $(KIT) $(KV) $(HOST) $(LIB)
	$(link)
$(FUZZERS): $(BUILD)/%: $(BUILD)/obj/tests/%.o $(BUILD)/obj/tests/fuzz_driver.o $(KIT) $(KV) \
                        $(HOST) $(LIB)
	$(link)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# ---- Testing -------------------------------------------------------------------------------------

# One command a word-group; tests/run.sh runs them all and sums what they say.
RUNNER := CC='$(CC)' BUILD='$(BUILD)' MAKE='$(MAKE)' sh tests/run.sh
corpus = $(firstword $(wildcard tests/corpus/$(1) tests/corpus/$(patsubst fuzz_%,%,$(1))))
# The longest come first, and the others beside them: one waits for servers, two work much (valgrind).
LONGEST := $(filter %/test_checkpoint_wal %/test_tools %/test_wal_trim,$(TESTS))
UNIT_COMMANDS = $(foreach test,$(LONGEST) $(filter-out $(LONGEST),$(TESTS)),'$(test)') \
    $(foreach fuzzer,$(FUZZERS),'$(fuzzer) $(call corpus,$(notdir $(fuzzer)))')
CHECKS := $(patsubst %,'sh %',$(wildcard tests/check_*.sh))

test: programs ## everything that a change must pass, in under three minutes
	@$(RUNNER) $(UNIT_COMMANDS) $(CHECKS) \
	    $(if $(SIM),'$(SIM) --seed 1 --runs $(TEST_SIM_RUNS) --jobs 2' \
	        '$(SIM) --seed 1 --runs $(TEST_PAXOS_RUNS) --jobs 2 --protocol multipaxos')
check: test ## the same

# A short run of the simulator goes with them.
unit-test: unit $(SIM)
	@$(RUNNER) $(UNIT_COMMANDS) $(if $(SIM),'$(SIM) --seed 1 --runs 200 --jobs 2 --protocol both')

MEMCHECK := valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=all \
            --errors-for-leak-kinds=all --child-silent-after-fork=yes
valgrind: unit ## unit and scenario tests under memcheck: no error, no leak
	@if command -v valgrind >/dev/null; then \
	    RUN_UNDER='$(MEMCHECK)' $(RUNNER) $(UNIT_COMMANDS); \
	else echo 'skip valgrind: not installed'; fi

SANITIZERS := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
sanitize: ## the same and a short simulation with AddressSanitizer and UBSan
	@mkdir -p $(BUILD)/sanitize && echo 'int main(void) { return 0; }' > $(BUILD)/sanitize/probe.c
	@if $(CC) $(SANITIZERS) -o $(BUILD)/sanitize/probe $(BUILD)/sanitize/probe.c 2>/dev/null; then \
	    $(MAKE) --no-print-directory BUILD='$(BUILD)/sanitize' \
	        CFLAGS='$(CFLAGS) $(SANITIZERS)' unit-test; \
	else echo 'skip sanitize: $(CC) has no sanitizers'; fi

# The programs with more than one thread.
TSAN := -O1 -fno-omit-frame-pointer -fsanitize=thread
TSAN_TESTS := $(patsubst %,$(BUILD)/%,test_mailbox test_resolver test_wal_posix)
tsan: ## the tests with several threads under ThreadSanitizer
	@mkdir -p $(BUILD)/tsan && echo 'int main(void) { return 0; }' > $(BUILD)/tsan/probe.c
	@if $(CC) $(TSAN) -o $(BUILD)/tsan/probe $(BUILD)/tsan/probe.c 2>/dev/null && \
	    $(BUILD)/tsan/probe 2>/dev/null; then \
	    $(MAKE) --no-print-directory BUILD='$(BUILD)/tsan' CFLAGS='$(CFLAGS) $(TSAN)' tsan-test; \
	else echo 'skip tsan: $(CC) has no ThreadSanitizer, or it does not run here'; fi

tsan-test: $(TSAN_TESTS)
	@$(RUNNER) $(foreach test,$(TSAN_TESTS),'$(test)')

portability: $(SIM) ## unit and scenario tests by other compilers, where they are installed
	@MAKE='$(MAKE)' BUILD='$(BUILD)' sh tests/portability.sh

sim: $(BUILD)/sim ## the simulator; SIMFLAGS="--seed 1 --runs 10000 --jobs 2"
	@$(BUILD)/sim $(SIMFLAGS)

fuzz: ## every fuzz target for FUZZ_SECONDS, or for FUZZ_RUNS inputs, with libFuzzer
	@MAKE='$(MAKE)' BUILD='$(BUILD)' FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_RUNS='$(FUZZ_RUNS)' \
	    sh tests/fuzz.sh

mutants: ## plants known bugs, one at a time, and shows that the simulator finds each
	@BUILD='$(BUILD)' CC='$(CC)' sh tests/mutants/run.sh

torture: $(BUILD)/torture $(RAFTKV) ## real processes, killed under load; the history is checked
	@$(BUILD)/torture --raftkv $(BUILD)/raftkv $(PROTOCOL:%=--protocol %) $(TORTUREFLAGS)

bench: $(BUILD)/bench $(RAFTKV) ## figures, one a line: name value unit
	@$(BUILD)/bench $(BENCHFLAGS)

bench-instructions: $(BUILD)/bench ## instructions instead of time, counted by valgrind
	@BUILD='$(BUILD)' sh tests/bench_instructions.sh

demo: $(RAFTKV) $(DEMO) ## three nodes, the leader killed, nothing lost: under twenty seconds
	@$(BUILD)/raftkv-demo $(PROTOCOL)

# ---- Installing ----------------------------------------------------------------------------------

at = $(call quote,$(DESTDIR)$(1))
HEADER_DIR := $(includedir)/keelson
STATIC := $(if $(filter no,$(BUILD_STATIC)),,$(LIB))
LINKS := $(SONAME) $(call shared_name,)

install: $(STATIC) shared ## header, libraries, keelson.pc: below PREFIX, in the tree DESTDIR
	@case $(call quote,$(prefix)) in /*|'') ;; *) echo 'PREFIX is no absolute path' >&2; exit 2; esac
	$(say) "  INSTALL" $(call at,$(prefix))
	$(Q)mkdir -p $(call at,$(HEADER_DIR)) $(call at,$(libdir)) $(call at,$(pkgconfigdir))
	$(Q)$(INSTALL_DATA) raft.h $(call at,$(HEADER_DIR)/raft.h)
	$(Q)$(foreach file,$(STATIC),$(INSTALL_DATA) $(file) $(call at,$(libdir)/$(notdir $(file))))
	$(Q)if [ $(BUILD_SHARED) != no ] && grep -q yes $(SHARED_WORKS); then \
	    $(INSTALL) -m 755 $(SHARED) $(call at,$(libdir)/$(notdir $(SHARED))) && \
	    $(foreach link,$(LINKS),ln -sf $(notdir $(SHARED)) $(call at,$(libdir)/$(link)) &&) :; fi
	@version=$(VERSION) prefix=$(call quote,$(prefix)) exec_prefix=$(call quote,$(exec_prefix)) \
	    libdir=$(call quote,$(libdir)) includedir=$(call quote,$(includedir)) \
	    awk -f tools/pkgconfig.awk keelson.pc.in > $(BUILD)/keelson.pc
	$(Q)$(INSTALL_DATA) $(BUILD)/keelson.pc $(call at,$(pkgconfigdir)/keelson.pc)

# Directories go as well where nothing else is in them, except the system's own and the prefix.
uninstall: ## removes what `make install` with the same variables has put there
	$(say) "  UNINSTALL" $(call at,$(prefix))
	$(Q)rm -f $(call at,$(HEADER_DIR)/raft.h) $(call at,$(pkgconfigdir)/keelson.pc) \
	    $(foreach name,$(notdir $(LIB) $(SHARED)) $(LINKS),$(call at,$(libdir)/$(name)))
	@rmdir $(call at,$(HEADER_DIR)) 2>/dev/null || :
	@case $(call at,$(prefix)) in /usr|/usr/local|'') ;; *) rmdir $(call at,$(pkgconfigdir)) \
	    $(call at,$(libdir)) $(call at,$(includedir)) 2>/dev/null || : ;; esac

# ---- The rest ------------------------------------------------------------------------------------

amalgamation: ## dist/raft.h and dist/raft.c, to copy into another project
	@sh tools/amalgamate.sh dist

# Everything that is committed, and nothing else. gzip -n: no time in it.
dist: ## dist/keelson-VERSION.tar.gz, from git
	@mkdir -p dist
	$(Q)git archive --prefix=keelson-$(VERSION)/ -o dist/keelson-$(VERSION).tar HEAD
	$(Q)gzip -9nf dist/keelson-$(VERSION).tar
	@echo dist/keelson-$(VERSION).tar.gz

lint: ## clang-tidy and cppcheck, where they are installed
	@sh tools/lint.sh $(LIB_SRC) $(wildcard examples/*.c examples/raftkv/*.c)

clean: ## removes build/ and dist/
	rm -rf $(BUILD) dist

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' Makefile
