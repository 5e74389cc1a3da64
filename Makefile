# XSigma. `make help` lists the verbs.

VARIANT ?= release
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
CXX     ?= c++

B := build/$(VARIANT)

# `make V=1` shows whole commands.
Q := $(if $(V),,@)
comma := ,
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $@)

# A warning is an error where WERROR is set, as continuous integration does; not for who builds with a compiler
# that is younger than this and warns of more.
WARN := -Wall -Wextra -Wconversion -Wshadow -Wmissing-prototypes -Wstrict-prototypes $(if $(WERROR),-Werror)
OPT_release := -O2 -g
OPT_debug   := -O1 -g
OPT_asan    := -O1 -g -DXS_HEAP_TAGS=2 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread
OPT := $(OPT_$(VARIANT))

ALL_CPPFLAGS := -D_GNU_SOURCE -Isrc -Iinclude -I. $(CPPFLAGS)
ALL_CFLAGS   := -std=gnu17 $(OPT) $(WARN) $(CFLAGS)
# What the library needs to be a malloc: no builtin knowledge of malloc, thread-local state without
# __tls_get_addr, and nothing visible but the export list. Sections by name: XS_SELDOM's come last.
LIB_CFLAGS := -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin-malloc \
  -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free -fexceptions -fno-plt \
  -fcf-protection=none -ffunction-sections
LIB_LDFLAGS := -shared -Wl,-soname,libxsigma.so -Wl,--version-script=build/exports.map \
  -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -Wl,-z,noseparate-code -Wl,--as-needed -Wl,--sort-section=name

# Calls that lead to sys/direct.c and sys/strings.c; fortified ones have other names.
DIRECT := $(shell grep -oh '__wrap_[a-z_]*' src/sys/direct.c src/sys/strings.c | sort -u)
LIB_CFLAGS  += -U_FORTIFY_SOURCE
LIB_DIRECT  := $(DIRECT:__wrap_%=-Wl,--wrap=%)

# What is written to at start fits fewer pages where tables of pointers lie close.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)),)
LIB_CFLAGS += $(if $(findstring clang,$(CC)),,-malign-data=abi)
else
LIB_CFLAGS := $(filter-out -fcf-protection=none,$(LIB_CFLAGS))
endif

CORE_SRC := $(wildcard src/base/*.c src/sys/*.c src/stats/*.c src/sample/*.c src/core/*.c src/gpu/*.c src/backend/*.c \
  src/policy/*.c src/report/*.c)
LIB_SRC  := $(CORE_SRC) $(wildcard preload/*.c cuda_shim/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/lib/%.o)
# The tool renders reports as the library does; what it does not need of the core is left out.
TOOL_SRC := $(wildcard src/tool/*.c) $(CORE_SRC)
TOOL_OBJ := $(TOOL_SRC:%.c=$(B)/tool/%.o) $(B)/tool/html_page.o

PROGRAMS := $(patsubst tests/programs/%.c,build/tests/programs/%,$(filter-out tests/programs/lib%,$(wildcard tests/programs/*.c))) \
  $(patsubst tests/programs/%.cc,build/tests/programs/%,$(wildcard tests/programs/*.cc)) \
  $(patsubst tests/programs/%.c,build/tests/programs/%.so,$(wildcard tests/programs/lib*.c))
UNITS := $(patsubst tests/unit/%.c,build/tests/unit/%,$(wildcard tests/unit/*.c))
CONTRACT := build/tests/contract/contract \
  $(patsubst tests/%.cc,build/tests/%,$(wildcard tests/contract/*.cc))

BENCHES := $(patsubst tests/bench/%.c,build/tests/bench/%,$(wildcard tests/bench/*.c)) \
  $(patsubst tests/bench/%.cc,build/tests/bench/%,$(wildcard tests/bench/*.cc))

.PHONY: all run test test-all test-suites test-aarch64 check bench install uninstall clean help tests format
.DELETE_ON_ERROR:

all: build/libxsigma.so build/xsigma ## the library and the xsigma command

# The shipped pair is whatever variant was built last.
build/libxsigma.so: $(B)/libxsigma.so
	@cp -f $< $@.new && mv -f $@.new $@
build/xsigma: $(B)/xsigma
	@cp -f $< $@.new && mv -f $@.new $@

link_library = $(CC) $(OPT) $(LIB_LDFLAGS) $(LDFLAGS) $(if $(shell cat $(B)/link.ld),-Wl$(comma)-T$(comma)$(B)/link.ld) \
  -o $@ $(LIB_OBJ)

$(B)/libxsigma.so: $(LIB_OBJ) build/exports.map $(B)/link.ld
	$(call say,LD)
	$(Q)$(link_library) $(LIB_DIRECT)

$(B)/link.ld: preload/order.list scripts/make-link-script build/exports.map Makefile
	@mkdir -p $(@D)
	$(Q)scripts/make-link-script $< $(CC) $(OPT) $(LIB_LDFLAGS) $(LDFLAGS) > $@

$(B)/xsigma: $(TOOL_OBJ)
	$(call say,LD)
	$(Q)$(CC) $(OPT) -Wl,--gc-sections $(LDFLAGS) -o $@ $(TOOL_OBJ) -ldl

build/exports.map: preload/exports.list cuda_shim/exports.list scripts/make-exports
	@mkdir -p $(@D)
	scripts/make-exports preload/exports.list cuda_shim/exports.list > $@

# What malloc and free jump to begins a cache line: rows of blocks that wait in turn took 3 % longer
# where one lay across two. (clang does not know it.)
$(B)/lib/preload/malloc.o: LIB_CFLAGS += -falign-jumps=64 -Wno-ignored-optimization-argument
# No loop there is to become a call of the function that it is the body of.
$(B)/lib/src/sys/strings.o: LIB_CFLAGS += -fno-builtin -fno-tree-loop-distribute-patterns -Wno-ignored-optimization-argument
$(B)/lib/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(LIB_CFLAGS) -MMD -MP -c -o $@ $<

build/html_page.c: scripts/make-html $(wildcard src/tool/html/*)
	@mkdir -p $(@D)
	scripts/make-html > $@
$(B)/tool/html_page.o: build/html_page.c src/tool/html.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(B)/tool/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -DXS_PREFIX='"$(PREFIX)"' $(ALL_CFLAGS) -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<

# Of every variant: tests link objects of others than the one that is built.
-include $(wildcard build/*/lib/*/*.d build/*/lib/*/*/*.d build/*/tool/*/*/*.d)

# ---- tests ----------------------------------------------------------------------------------

# Distributions that fortify by default take malloc_usable_size for an overflow.
TEST_CFLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Wno-unused-result -fno-builtin -pthread -U_FORTIFY_SOURCE

build/tests/programs/%.so: tests/programs/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -fPIC -shared -o $@ $<
build/tests/programs/%: tests/programs/%.c include/xsigma.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -o $@ $< $(LIBS_$*) -ldl
LIBS_hooked_pages := -rdynamic
LIBS_lent         := -rdynamic
build/tests/programs/decay build/tests/programs/trim_back build/tests/programs/idle_service build/tests/programs/fork_storm: tests/programs/resident.h
build/tests/programs/fork_many build/tests/programs/fork_threads: tests/programs/fork_work.h
build/tests/programs/%: tests/programs/%.cc include/xsigma.h include/xsigma.hpp
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(ALL_CPPFLAGS) -std=c++17 -O1 -g -Wall -Wextra -fno-builtin -pthread -o $@ $< -ldl

build/tests/contract/contract: $(wildcard tests/contract/*.c tests/contract/*.h)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -Wno-deprecated-declarations -o $@ $(filter %.c,$^) -ldl
build/tests/contract/%: tests/contract/%.cc
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(ALL_CPPFLAGS) -std=c++17 -O1 -g -Wall -Wextra -fno-builtin -pthread -o $@ $<

# The same objects, whose calls another library can come between: for tests that stand there.
HOOKED := build/tests/hooked/libxsigma.so
$(HOOKED): $(LIB_OBJ) build/exports.map $(B)/link.ld
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(link_library)

# Unit tests see the library's inside: its objects, but not its malloc.
build/tests/unit/%: tests/unit/%.c $(CORE_SRC:%.c=$(B)/lib/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -std=gnu17 -O1 -g -Wall -Wextra -pthread $(UNIT_WRAPS:%=-Wl,--wrap=%) \
	  -o $@ $^ -lcriterion -ldl -lm
build/tests/unit/test_left_behind: UNIT_WRAPS := xs_heap_any_holds
build/tests/unit/test_keeps: UNIT_WRAPS := xs_bfc_add

# ---- fuzz: begin ----
# Fuzz targets and injected failures: the own core by itself, malloc being libc's, and the readers of
# records and JSON. `make test` replays
# them over the kept corpus and random inputs, plain and with sanitizers; `make fuzz` is libFuzzer.
FUZZ_NAMES := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_TESTS := $(foreach n,$(FUZZ_NAMES),$(addprefix build/tests/fuzz/,$(n) $(n)-asan long-$(n))) \
  $(patsubst tests/fault/%.c,build/tests/fault/%,$(wildcard tests/fault/*.c))
FUZZ_CORE  := $(CORE_SRC) src/tool/json.c
FUZZ_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Wconversion -pthread -fno-omit-frame-pointer
FUZZ_clang := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_WRAP  := -Wl,--wrap=mmap,--wrap=munmap,--wrap=madvise,--wrap=mprotect,--wrap=mremap
FUZZ_CLANG ?= clang
SECONDS    ?= 60

build/fuzz/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(FUZZ_CLANG) $(ALL_CPPFLAGS) $(FUZZ_FLAGS) $(FUZZ_clang) -MMD -MP -c -o $@ $<
-include $(FUZZ_CORE:%.c=build/fuzz/obj/%.d) $(wildcard build/fuzz/obj/tests/*/*.d)

build/tests/fuzz/%-asan: tests/fuzz/%_fuzz.c tests/fuzz/model.c tests/fuzz/replay.c \
    $(wildcard tests/fuzz/*.h) $(FUZZ_CORE:%.c=build/asan/lib/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(FUZZ_FLAGS) $(OPT_asan) -o $@ $(filter %.c %.o,$^) -ldl
build/tests/fuzz/%: tests/fuzz/%_fuzz.c tests/fuzz/model.c tests/fuzz/replay.c \
    $(wildcard tests/fuzz/*.h) $(FUZZ_CORE:%.c=$(B)/lib/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(FUZZ_FLAGS) -o $@ $(filter %.c %.o,$^) -ldl
build/tests/fuzz/long-%: build/tests/fuzz/%
	@cp $< $@
build/tests/fault/%: tests/fault/%.c tests/fuzz/model.c $(wildcard tests/fuzz/*.h) \
    $(FUZZ_CORE:%.c=$(B)/lib/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(FUZZ_FLAGS) $(FUZZ_WRAP) -o $@ $(filter %.c %.o,$^) -ldl
build/fuzz/%: build/fuzz/obj/tests/fuzz/%_fuzz.o build/fuzz/obj/tests/fuzz/model.o \
    $(FUZZ_CORE:%.c=build/fuzz/obj/%.o)
	$(call say,LD)
	$(Q)$(FUZZ_CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ -ldl
.SECONDARY: $(FUZZ_CORE:%.c=build/fuzz/obj/%.o) build/fuzz/obj/tests/fuzz/model.o \
  $(FUZZ_NAMES:%=build/fuzz/obj/tests/fuzz/%_fuzz.o)

tests: $(FUZZ_TESTS)

.PHONY: fuzz
fuzz: ## libFuzzer with sanitizers over the own core (SECONDS=60 a target; needs clang)
	@command -v $(FUZZ_CLANG) >/dev/null || { echo "make fuzz needs clang" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(FUZZ_NAMES:%=build/fuzz/%)
	@tests/fuzz/run $(SECONDS)
# ---- fuzz: end ----

build/tests/bench/%: tests/bench/%.c tests/bench/bench.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -O2 -o $@ $< -ldl -lm
build/tests/bench/lines build/tests/bench/line_model: tests/bench/lines.h
build/tests/bench/%: tests/bench/%.cc
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) -std=c++17 -O2 -g -Wall -Wextra -pthread -o $@ $<

# ---- stress: begin ----
# One source twice: a plain program, and against the core's own objects under each sanitizer.
STRESS := build/tests/stress/plain build/tests/stress/heap-tsan build/tests/stress/heap-asan
STRESS_SRC := $(wildcard tests/stress/*.c)
STRESS_CORE := $(filter src/base/% src/sys/% src/stats/% src/sample/% src/core/%,$(CORE_SRC))

build/asan/lib/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -std=gnu17 $(OPT_asan) $(WARN) $(CFLAGS) $(LIB_CFLAGS) -MMD -MP -c -o $@ $<
build/tsan/lib/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -std=gnu17 $(OPT_tsan) $(WARN) $(CFLAGS) $(LIB_CFLAGS) -MMD -MP -c -o $@ $<
-include $(STRESS_CORE:%.c=build/asan/lib/%.d) $(STRESS_CORE:%.c=build/tsan/lib/%.d)

build/tests/stress/plain: $(STRESS_SRC) tests/stress/stress.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -o $@ $(filter %.c,$^) -ldl
build/tests/stress/heap-%: $(STRESS_SRC) tests/stress/stress.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) $(OPT_$*) -DXS_HEAP -o $@ $(filter %.c %.o,$^) -ldl
build/tests/stress/heap-asan: $(STRESS_CORE:%.c=build/asan/lib/%.o)
build/tests/stress/heap-tsan: $(patsubst %.c,build/tsan/lib/%.o,$(filter-out src/sys/thread_end.c,$(STRESS_CORE)))

tests: $(STRESS)
# ---- stress: end ----

# ---- cuda fakes: begin ----
# The fake driver, a small runtime in both ways of linking, and the check of our declarations, which
# wants the toolkit's headers and is left out without them.
CUDA_HOME   ?= /usr/local/cuda
CUDA_T      := build/tests/cuda
CUDA_SRC    := $(filter-out %/cudart.c %/abi_check.c %/client.c,$(wildcard tests/support/cuda/*.c))
CUDA_FLAGS  := -std=gnu17 -O1 -g $(WARN) -fPIC -fvisibility=hidden -pthread
CUDA_FAKES  := $(CUDA_T)/libcuda.so.1 $(CUDA_T)/libcudart.so.12 $(CUDA_T)/libcudart_static.a
CUDA_HEADER := $(wildcard $(CUDA_HOME)/include/cuda.h)
CUDA_REAL   := $(wildcard $(CUDA_HOME)/lib64/libcudart_static.a)
CUDA_CLIENT := $(addprefix $(CUDA_T)/client-,shared static per-thread driver dlsym \
  $(if $(CUDA_REAL),real-shared real-static))

$(CUDA_T)/%.o: tests/support/cuda/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(CUDA_FLAGS) -MMD -MP -c -o $@ $<
-include $(patsubst tests/support/cuda/%.c,$(CUDA_T)/%.d,$(CUDA_SRC)) $(CUDA_T)/cudart.d

# The driver answers with its own functions, whoever has interposed their names.
$(CUDA_T)/libcuda.so.1: $(patsubst tests/support/cuda/%.c,$(CUDA_T)/%.o,$(CUDA_SRC))
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-soname,libcuda.so.1 -Wl,-Bsymbolic -Wl,-z,defs -pthread -o $@ $^
# The same without what CUDA 13 brought, for clients that take the newest form of a name they find.
$(CUDA_T)/before-13/libcuda.so.1: $(CUDA_T)/libcuda.so.1 src/sys/cuda_calls.h
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)awk -F '[(, ]+' 'BEGIN { print "{ local:" } /^XS_CUDA_CALL/ && $$3 >= 13000 { print $$5 ";" } \
	  END { print "};" }' src/sys/cuda_calls.h > $(@D)/hidden.map
	$(Q)$(CC) -shared -Wl,-soname,libcuda.so.1 -Wl,-Bsymbolic -Wl,-z,defs -Wl,--version-script=$(@D)/hidden.map \
	  -pthread -o $@ $(patsubst tests/support/cuda/%.c,$(CUDA_T)/%.o,$(CUDA_SRC))
$(CUDA_T)/libcudart.so.12: $(CUDA_T)/cudart.o tests/support/cuda/cudart.map
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-soname,libcudart.so.12 -Wl,--version-script=tests/support/cuda/cudart.map \
	  -Wl,-z,defs -pthread -o $@ $< -ldl
$(CUDA_T)/libcudart_static.a: $(CUDA_T)/cudart.o
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $<

$(CUDA_T)/abi_%.h: src/sys/cuda_abi.h tests/support/cuda/abi_names
	@mkdir -p $(@D)
	$(Q)tests/support/cuda/abi_names $* $< > $@
$(CUDA_T)/abi_check: tests/support/cuda/abi_check.c src/sys/cuda_abi.h src/sys/cuda_calls.h \
    src/sys/cudart_calls.h cuda_shim/hooks.h $(CUDA_T)/abi_wrap.h $(CUDA_T)/abi_unwrap.h $(CUDA_T)/abi_values.h
	$(call say,CHECK)
	$(Q)for only in "" -DXS_CUDA_ABI_CALLS_ONLY; do $(CC) $(ALL_CPPFLAGS) -std=gnu17 -Wall -Wextra \
	  -Werror -I$(CUDA_T) -isystem $(CUDA_HOME)/include $$only -fsyntax-only $< || exit 1; done
	@touch $@

build/tests/unit/test_cuda_fake build/tests/unit/test_cuda_fake_runtime: build/tests/unit/%: tests/unit/%.c tests/support/cuda/fake.h $(CUDA_FAKES)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -Itests/support/cuda -std=gnu17 -O1 -g -Wall -Wextra -pthread \
	  -Wl,-rpath,'$$ORIGIN/../cuda' -o $@ $< $(CUDA_T)/libcudart_static.a $(CUDA_T)/libcuda.so.1 \
	  -lcriterion -ldl

# One program in each way of linking, with NVIDIA's own runtime too where it is installed.
CLIENT_shared      := $(CUDA_T)/libcudart.so.12
CLIENT_static      := $(CUDA_T)/libcudart_static.a
CLIENT_per-thread  := -DCLIENT_PER_THREAD $(CUDA_T)/libcudart.so.12
CLIENT_driver      := -DCLIENT_DRIVER $(CUDA_T)/libcuda.so.1
CLIENT_dlsym       := -DCLIENT_DLSYM
CLIENT_real-shared := $(CUDA_HOME)/lib64/libcudart.so
CLIENT_real-static := $(CUDA_REAL) -lrt
$(CUDA_T)/client-%: tests/support/cuda/client.c src/sys/cuda_abi.h $(CUDA_FAKES)
	$(call say,CC)
	$(Q)echo $(CUDA_HOME)/lib64 > $(CUDA_T)/toolkit
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -o $@ $< $(CLIENT_$*) -ldl

tests: $(CUDA_FAKES) $(CUDA_T)/before-13/libcuda.so.1 $(CUDA_CLIENT) $(if $(CUDA_HEADER),$(CUDA_T)/abi_check)
# ---- cuda fakes: end ----

# ---- gpu benches: begin ----
# Ordinary clients of the runtime, linked with the small one; scripts/gpu-check builds the same
# sources with the toolkit's.
GPU_BENCH := build/tests/bench/gpu_traces build/tests/bench/gpu_pair
$(GPU_BENCH): build/tests/bench/%: tests/bench/%.c src/sys/cuda_abi.h $(CUDA_FAKES)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -O2 -o $@ $< $(CUDA_T)/libcudart_static.a -ldl -lm
# ---- gpu benches: end ----

# ---- property tests: begin ----
# Random CUDA programs against the GPU core and the fake driver's oracle, plain and under the
# sanitizers; and the same programs as a client of the fake driver, for the preloaded shim.
PROPERTY_SRC   := $(filter-out %/api_driver.c,$(wildcard tests/property/*.c))
PROPERTY_CORE  := $(filter src/base/% src/sys/% src/stats/% src/sample/% src/core/% src/gpu/%,$(CORE_SRC))
PROPERTY_FAKE  := $(filter-out %/cudart.c %/abi_check.c %/client.c,$(wildcard tests/support/cuda/*.c))
PROPERTY_DEPS  := $(wildcard tests/property/*.h tests/support/cuda/*.h src/gpu/*.h)
PROPERTY_FLAGS := -Itests/support/cuda -std=gnu17 -O1 -g -Wall -Wextra -pthread -fno-builtin-malloc
# gcc's thread sanitizer does not follow fences, and says so.
OPT_tsan       += -Wno-tsan
PROPERTY       := $(addprefix build/tests/property/,gpu gpu-asan gpu-tsan gpu-shim)

-include $(PROPERTY_CORE:%.c=build/asan/lib/%.d) $(PROPERTY_CORE:%.c=build/tsan/lib/%.d)
build/tests/property/gpu: $(PROPERTY_SRC) $(PROPERTY_FAKE) $(PROPERTY_DEPS) \
    $(PROPERTY_CORE:%.c=$(B)/lib/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(PROPERTY_FLAGS) -o $@ $(filter %.c %.o,$^) -ldl
build/tests/property/gpu-%: $(PROPERTY_SRC) $(PROPERTY_FAKE) $(PROPERTY_DEPS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(PROPERTY_FLAGS) $(OPT_$*) -o $@ $(filter %.c %.o,$^) -ldl
build/tests/property/gpu-asan: $(PROPERTY_CORE:%.c=build/asan/lib/%.o)
build/tests/property/gpu-tsan: $(patsubst %.c,build/tsan/lib/%.o,$(filter-out src/sys/thread_end.c,$(PROPERTY_CORE)))
build/tests/property/gpu-shim: $(filter-out %/api_core.c,$(PROPERTY_SRC)) tests/property/api_driver.c \
    $(PROPERTY_DEPS) $(CUDA_FAKES)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(PROPERTY_FLAGS) -Wl,-rpath,'$$ORIGIN/../cuda' -o $@ $(filter %.c,$^) \
	  $(CUDA_T)/libcudart_static.a $(CUDA_T)/libcuda.so.1 -ldl

tests: $(PROPERTY)
# ---- property tests: end ----

# ---- gpu core: begin ----
# The core's objects and the fake driver, without the shim between them.
GPU_UNITS := $(addprefix build/tests/unit/test_,gpu gpu_managed gpu_more gpu_old gpu_passed gpu_piece)
$(GPU_UNITS): build/tests/unit/%: tests/unit/%.c tests/support/gpu_test.h \
    tests/support/cuda/fake.h $(CUDA_T)/libcuda.so.1 $(CORE_SRC:%.c=$(B)/lib/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -Itests/support/cuda -std=gnu17 -O1 -g -Wall -Wextra -pthread \
	  -Wl,-rpath,'$$ORIGIN/../cuda' -o $@ $< $(CORE_SRC:%.c=$(B)/lib/%.o) $(CUDA_T)/libcuda.so.1 \
	  -lcriterion -ldl
# ---- gpu core: end ----

# ---- cuda shim: begin ----
# The shim's own objects; the version script for the versions that its assembler names.
build/tests/unit/test_cuda_hooks: SHIM_WRAPS := xs_shim_stream_seen
build/tests/unit/test_cuda_streams: SHIM_WRAPS := $(addprefix xs_gpu_,before_stream after_stream \
  no_stream stream_gone after_context context_gone device_reset capture_begun capture_ended \
  before_sync after_sync sync_failed before_overlap after_launch after_copy after_host_call after_register \
  flush_here flush_of flush_any passed_through never_reuse)
build/tests/unit/test_cuda_fork: SHIM_WRAPS := xs_elf_in xs_gpu_capture_ended
build/tests/unit/test_cuda_fork: $(CUDA_T)/libcuda.so.1
$(addprefix build/tests/unit/test_cuda_,hooks streams fork): build/tests/unit/%: \
    tests/unit/%.c build/exports.map $(LIB_OBJ)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) -std=gnu17 -O1 -g -Wall -Wextra -pthread \
	  $(SHIM_WRAPS:%=-Wl,--wrap=%) -Wl,--version-script=build/exports.map \
	  -Wl,-rpath,'$$ORIGIN/../cuda' -o $@ $< \
	  $(filter $(B)/lib/src/% $(B)/lib/cuda_shim/%,$^) -lcriterion -ldl

# A library that needs the driver, for programs that do not.
$(CUDA_T)/libcuda_plugin.so: tests/programs/libcuda_plugin.c $(CUDA_T)/libcuda.so.1
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -fPIC -shared -Wl,--no-as-needed -o $@ $^ -ldl

$(CUDA_T)/sign-linked: tests/programs/cuda_sign.c $(CUDA_T)/libcuda.so.1
	$(call say,CC)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(TEST_CFLAGS) -DLINKED -Wl,--no-as-needed -o $@ $^ -ldl

tests: $(CUDA_T)/libcuda_plugin.so $(CUDA_T)/sign-linked
# ---- cuda shim: end ----

tests: all $(HOOKED) $(PROGRAMS) $(UNITS) $(CONTRACT) $(BENCHES)

run: ## set up, build, and show a real program's report
	@scripts/setup run
	@$(MAKE) --no-print-directory all
	@scripts/demo

test: ## set up, build, and run the tests (under 15 minutes)
	@scripts/setup test
	@$(MAKE) --no-print-directory tests
	@tests/run

test-all: ## the same and the long ones
	@scripts/setup test
	@scripts/setup test-all
	@$(MAKE) --no-print-directory tests
	@tests/run --long

test-suites: ## other people's tests (SUITES="python3 redis" BACKENDS=bfc ARGS=--resume|--whole); docs/test-suites.md
	@scripts/setup suites
	@$(MAKE) --no-print-directory all
	@tests/suites/run --backends "$(BACKENDS)" $(ARGS) $(SUITES)

test-aarch64: ## unit tests, contract, stress and CUDA clients under an emulator of aarch64
	@scripts/setup aarch64
	@$(MAKE) --no-print-directory all build/tests/programs/json_flat
	@tests/run --long integration/long-aarch64

check: ## static analysis, layers, format, generated documents
	@scripts/setup check
	@$(MAKE) --no-print-directory all
	@scripts/check

bench: ## compare with other allocators (ARGS=--quick: two minutes)
	@scripts/setup bench
	@$(MAKE) --no-print-directory all $(BENCHES)
	@tests/bench/run $(ARGS)

# Programs start with the library meanwhile: its name never stands for nothing or for half of it.
install: all ## PREFIX=/usr/local, DESTDIR= for packages
	install -d "$(DESTDIR)$(PREFIX)/lib" "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/include"
	install -m 755 build/libxsigma.so "$(DESTDIR)$(PREFIX)/lib/libxsigma.so.new"
	mv -f "$(DESTDIR)$(PREFIX)/lib/libxsigma.so.new" "$(DESTDIR)$(PREFIX)/lib/libxsigma.so"
	install -m 755 build/xsigma "$(DESTDIR)$(PREFIX)/bin/xsigma"
	install -m 644 include/xsigma.h include/xsigma.hpp "$(DESTDIR)$(PREFIX)/include/"
	install -D -m 644 docs/xsigma.1 "$(DESTDIR)$(PREFIX)/share/man/man1/xsigma.1"
	install -D -m 644 scripts/xsigma.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/xsigma"

uninstall: ## what install put there
	rm -f "$(DESTDIR)$(PREFIX)/lib/libxsigma.so" "$(DESTDIR)$(PREFIX)/bin/xsigma" \
	  "$(DESTDIR)$(PREFIX)/include/xsigma.h" "$(DESTDIR)$(PREFIX)/include/xsigma.hpp" \
	  "$(DESTDIR)$(PREFIX)/share/man/man1/xsigma.1" \
	  "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/xsigma"

format: ## clang-format over the tree
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cc' '*.hpp')

clean: ## everything built
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 21
