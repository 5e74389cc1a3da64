/* policy/knobs.h - the one table of XSIGMA_* variables.
 *
 * X(type, id, name, default, min, max, choices, flags, help)
 * Parsing, XSIGMA_HELP=1, the README's table, the report's configuration section, the check for
 * unknown names and the launcher's --set are all expansions of it.
 */
#ifndef XS_POLICY_KNOBS_H
#define XS_POLICY_KNOBS_H

#define XS_KIB(n)     ((uint64_t)(n) << 10)
#define XS_MIB(n)     ((uint64_t)(n) << 20)
#define XS_GIB(n)     ((uint64_t)(n) << 30)
#define XS_TIB(n)     ((uint64_t)(n) << 40)
#define XS_SECONDS(n) ((uint64_t)(n)*1000000000u)

#define XS_CPU_NAMES  "system|mimalloc|tbb|bfc"
/* In the order of enum xs_gpu_backend. */
#define XS_GPU_NAMES "caching|pool|bfc|direct|managed"

/* clang-format off */
#define XS_KNOBS(X) \
  X(CHOICE, PRESET, "PRESET", "none", 0, 0, "none|monte-carlo|pde|risk", 0, \
    "values for a kind of work: sets the defaults of other variables, which still win when set") \
  X(TEXT, CONFIG, "CONFIG", "", 0, 0, "", 0, \
    "file of NAME=VALUE lines (# starts a comment); a variable in the environment wins over it") \
  X(BOOL, DISABLE, "DISABLE", "0", 0, 1, "", 0, \
    "pass every call straight to the C library: no back end, no counting, no report") \
  X(BOOL, STRICT, "STRICT", "0", 0, 1, "", 0, \
    "stop with status 78 before main when a variable is wrong or a back end is missing") \
  X(BOOL, VERBOSE, "VERBOSE", "0", 0, 1, "", 0, \
    "print one line at start: version, back ends, and what differs from the defaults") \
  X(BOOL, HELP, "HELP", "0", 0, 1, "", 0, \
    "print this table with current values and exit with status 0 before main") \
  X(TEXT, LOG, "LOG", "stderr", 0, 0, "", 0, \
    "where messages go: stderr, off, or a file pattern (%p pid, %h host, %e program, %t time, %j job, %r rank)") \
  X(CHOICE, STATS, "STATS", "auto", 0, 0, "auto|0|1", 0, \
    "0: no counters, no report. 1: counters, and the report always on stderr. auto: counters, and the report on stderr unless that is the same file as stdout") \
  X(BOOL, STATS_CHILDREN, "STATS_CHILDREN", "0", 0, 1, "", 0, \
    "child processes report too; otherwise only the root of the process tree does") \
  X(TEXT, STATS_FILE, "STATS_FILE", "", 0, 0, "", 0, \
    "write the report to this file pattern instead of stderr (same % letters as XSIGMA_LOG)") \
  X(TIME, STATS_INTERVAL, "STATS_INTERVAL", "0", 0, XS_SECONDS(86400), "", 0, \
    "report so often while the process runs too, in a call that allocates. 0: only at its end") \
  X(CHOICE, STATS_FORMAT, "STATS_FORMAT", "auto", 0, 0, "auto|text|json", 0, \
    "form of the report; auto: json for a file that ends in .json, else text") \
  X(BOOL, STATS_LATENCY, "STATS_LATENCY", "1", 0, 1, "", 0, \
    "time some calls of malloc and free, one in thousands, and what is waited for locks; other back ends than bfc are timed where XSIGMA_SAMPLE is on") \
  X(CHOICE, CPU_BACKEND, "CPU_BACKEND", "bfc", 0, 0, XS_CPU_NAMES, 0, \
    "the allocator behind malloc: the C library's, libmimalloc, oneTBB's scalable allocator, or XSigma's own") \
  X(ROUTE, CPU_ROUTE, "CPU_ROUTE", "", 0, 0, XS_CPU_NAMES, 0, \
    "several allocators by size, first match wins, e.g. <=64K:mimalloc,<=1M:tbb,*:system") \
  X(SIZE, CPU_ALIGN, "CPU_ALIGN", "16", 16, 4096, "", XS_KNOB_POW2, \
    "least alignment of every block; 64 gives each block its own cache line") \
  X(SIZE, CPU_CACHE, "CPU_CACHE", "2M", 0, XS_GIB(64), "", 0, \
    "bfc: about so much memory is kept by a thread in large blocks for its next ones, at most half as much again; in empty slabs it keeps twice as much, and up to eight times while few do") \
  X(TIME, CPU_DECAY, "CPU_DECAY", "500ms", 0, XS_SECONDS(86400), "", 0, \
    "bfc: memory that has been free for so long goes back to the system") \
  X(CHOICE, CPU_HARDENED, "CPU_HARDENED", "off", 0, 0, "off|check|full", 0, \
    "bfc: end the process with a message when it misuses its heap. check: each free is checked. full: besides, whole call stacks, freed blocks wait and are looked at, large ones end at a guard page") \
  X(CHOICE, CPU_MISMATCH, "CPU_MISMATCH", "warn", 0, 0, "warn|end|off", 0, \
    "XSIGMA_CPU_HARDENED: what becomes of a block from new that free gets, one from malloc that delete gets and the like, and of one deleted with another size, which do no harm here. warn: one line about the first, and the program goes on. end: the process ends. off: nothing is said") \
  X(SIZE, CPU_QUARANTINE, "CPU_QUARANTINE", "16M", 0, XS_GIB(64), "", 0, \
    "XSIGMA_CPU_HARDENED=full: so much freed memory waits before it is used again") \
  X(COUNT, CPU_GUARD_SAMPLE, "CPU_GUARD_SAMPLE", "0", 0, 1000000000, "", 0, \
    "bfc: one in so many blocks of up to 64 KiB ends at a guard page, or every other time begins at one, and faults when used after its free, hardened or not; 0: none") \
  X(BOOL, CPU_IDLE_THREAD, "CPU_IDLE_THREAD", "1", 0, 1, "", 0, \
    "bfc: in a process with threads one more gives memory back while they sleep; 0: memory goes back in the program's own calls only") \
  X(SIZE, BFC_INITIAL, "BFC_INITIAL", "2M", XS_KIB(64), XS_TIB(16), "", 0, \
    "bfc: size of the first region of memory (of 2M 1 to 2 MiB); the next ones double, up to 64 MiB") \
  X(BOOL, BFC_GROWTH, "BFC_GROWTH", "1", 0, 1, "", 0, \
    "bfc: get further regions when the first is used up; 0: one region of XSIGMA_BFC_LIMIT, or of XSIGMA_BFC_INITIAL without one, is all there is") \
  X(SIZE, BFC_LIMIT, "BFC_LIMIT", "0", 0, XS_TIB(16), "", 0, \
    "bfc: most memory in all; beyond it malloc returns NULL with ENOMEM. 0: no limit") \
  X(BOOL, BFC_GC, "BFC_GC", "1", 0, 1, "", 0, \
    "bfc: at the limit, give whole free regions back if a request can be served then") \
  X(BOOL, BFC_COALESCE, "BFC_COALESCE", "1", 0, 1, "", 0, \
    "bfc: join free neighbours when a block is freed; 0: only when a request finds nothing") \
  X(COUNT, BFC_FRAGMENTATION, "BFC_FRAGMENTATION", "0", 0, 1000, "", 0, \
    "bfc: leave what remains of a chunk with the block unless it is as large as the block or this many thousandths of the limit; 0: always split it off") \
  X(COUNT, BFC_ARENAS, "BFC_ARENAS", "0", 0, 64, "", 0, \
    "bfc: threads that keep waiting for each other, or of which many take memory by turns, spread over up to so many parts of it with a lock each; 0: over as many as there are processors, at most 64; 1: never") \
  X(TIME, BFC_RETRY, "BFC_RETRY", "0", 0, XS_SECONDS(3600), "", 0, \
    "bfc: wait so long for other threads to free memory before an allocation fails") \
  X(CHOICE, CPU_HUGE_PAGES, "CPU_HUGE_PAGES", "auto", 0, 0, "off|auto|thp|always|explicit", 0, \
    "bfc, mimalloc, tbb: 2 MiB pages. auto: of bfc, transparent ones where a heap past 64 MiB goes on to grow, its memory is used whole, and they are seen to cost less than small ones; thp: transparent ones, of bfc for all of a heap past 32 MiB; always: for all of it; explicit: from the kernel's pool (vm.nr_hugepages), else transparent ones") \
  X(SIZE, RESERVE_HUGE_PAGES, "RESERVE_HUGE_PAGES", "0", 0, XS_TIB(1), "", 0, \
    "explicit huge pages got at start and kept, for bfc or mimalloc: pages of 1 GiB where the kernel has some, else of 2 MiB") \
  X(NODES, CPU_NUMA, "CPU_NUMA", "off", 0, 0, "off|local|interleave|bind:|preferred:", 0, \
    "bfc, and but for local mimalloc and tbb: where memory comes from on a machine with several nodes: a thread's own node, all in turn, some nodes only, one node while it has some") \
  X(NODES, CPU_NUMA_RUN, "CPU_NUMA_RUN", "off", 0, 0, "off|:", 0, \
    "the process runs on the processors of these nodes only") \
  X(SIZE, MEMORY_LIMIT, "MEMORY_LIMIT", "0", 0, XS_TIB(16), "", 0, \
    "most memory that bfc, mimalloc and tbb take from the system together; beyond it malloc returns NULL with ENOMEM. 0: no limit") \
  X(PERCENT, PRESSURE_WARN, "PRESSURE_WARN", "90%", 0, 100, "", 0, \
    "when so much of the memory cgroup's limit, of XSIGMA_MEMORY_LIMIT or of the machine's memory is used, one line says who holds it, and caches give way; 0: nothing is looked at") \
  X(SIZE, PREFAULT, "PREFAULT", "0", 0, XS_TIB(1), "", 0, \
    "bfc: so much memory is got at start, pages and all, and kept, so that the program does not wait for it later") \
  X(BOOL, PREFAULT_LOCK, "PREFAULT_LOCK", "0", 0, 1, "", 0, \
    "bfc: what XSIGMA_PREFAULT gets is never swapped") \
  X(SIZE, RESERVE, "RESERVE", "auto", XS_GIB(1), XS_TIB(16), "auto|off", 0, \
    "address space set aside so that mimalloc's blocks are known by their address; auto: 1 TiB, or none under a limit on address space; a size given here must hold all of them") \
  X(TEXT, CPU_MIMALLOC_LIBRARY, "CPU_MIMALLOC_LIBRARY", "libmimalloc.so.2:libmimalloc.so.3", 0, 0, "", 0, \
    "name or path of the mimalloc library, 2.0.9 or later; of several with a colon between them the first that is there") \
  X(BOOL, CPU_MIMALLOC_SHOW_STATS, "CPU_MIMALLOC_SHOW_STATS", "0", 0, 1, "", 0, \
    "mimalloc prints its own statistics at exit") \
  X(BOOL, CPU_MIMALLOC_VERBOSE, "CPU_MIMALLOC_VERBOSE", "0", 0, 1, "", 0, \
    "mimalloc prints what it does") \
  X(BOOL, CPU_MIMALLOC_EAGER_COMMIT, "CPU_MIMALLOC_EAGER_COMMIT", "1", 0, 1, "", 0, \
    "mimalloc commits a whole segment at once instead of page by page") \
  X(BOOL, CPU_MIMALLOC_LARGE_OS_PAGES, "CPU_MIMALLOC_LARGE_OS_PAGES", "0", 0, 1, "", 0, \
    "mimalloc's memory asks the kernel for transparent 2 MiB pages") \
  X(COUNT, CPU_MIMALLOC_RESERVE_HUGE_OS_PAGES, "CPU_MIMALLOC_RESERVE_HUGE_OS_PAGES", "0", 0, 1024, "", 0, \
    "gigabytes of explicit huge pages that mimalloc gets at start (1 GiB pages, else 2 MiB ones)") \
  X(TEXT, CPU_TBB_LIBRARY, "CPU_TBB_LIBRARY", "libtbbmalloc.so.2", 0, 0, "", 0, \
    "name or path of oneTBB's malloc library") \
  X(BOOL, CPU_TBB_HUGE_PAGES, "CPU_TBB_HUGE_PAGES", "0", 0, 1, "", 0, \
    "oneTBB's memory asks the kernel for transparent 2 MiB pages") \
  X(BOOL, GPU, "GPU", "1", 0, 1, "", 0, \
    "device memory goes through XSigma too; 0: CUDA is left alone") \
  X(CHOICE, GPU_BACKEND, "GPU_BACKEND", "caching", 0, 0, XS_GPU_NAMES, 0, \
    "how device memory is served: whole blocks kept for reuse, a pool of slabs, best fit over large regions, each call straight to the driver, or managed memory in place of device memory") \
  X(ROUTE, GPU_ROUTE, "GPU_ROUTE", "", 0, 0, XS_GPU_NAMES, 0, \
    "several ways to serve device memory by size, first match wins") \
  X(CHOICE, GPU_FREE, "GPU_FREE", "strict", 0, 0, "strict|deferred", 0, \
    "strict: a free waits for the device as the driver's does, wherever more than the default stream was used, and on it alone for kernels whose results the CPU may look for; deferred: it waits for nothing, and a block is used again when all earlier work is known to be done") \
  X(SIZE, GPU_CACHE_MAX, "GPU_CACHE_MAX", "256M", 0, XS_TIB(16), "", 0, \
    "most device memory kept for reuse, in whole blocks and in freed pieces of pool and bfc, never exceeded; 0: none") \
  X(COUNT, GPU_HEADROOM, "GPU_HEADROOM", "0", 0, 100000, "", 0, \
    "percent of the largest use of device memory that may be held beyond it; 0: any") \
  X(TIME, GPU_CACHE_AGE, "GPU_CACHE_AGE", "0", 0, XS_SECONDS(86400), "", 0, \
    "caching: a block that nobody wanted for so long goes back to the driver; 0: it stays") \
  X(CHOICE, GPU_ROUND, "GPU_ROUND", "none", 0, 0, "none|pow2|half|quarter|eighth", 0, \
    "caching: sizes are rounded up to powers of two, or to halves, quarters or eighths between them, so that more requests fit a kept block") \
  X(COUNT, GPU_WASTE, "GPU_WASTE", "12", 0, 1000, "", 0, \
    "caching: a kept block may be larger than the request by so many per cent of it, and up to twice as large while more is kept than in use; 0: neither") \
  X(SIZE, GPU_ALIGN, "GPU_ALIGN", "512", 256, XS_MIB(2), "", XS_KNOB_POW2, \
    "alignment of device blocks") \
  X(SIZE, GPU_LOW_FREE, "GPU_LOW_FREE", "256M", 0, XS_TIB(16), "", 0, \
    "when less than this is free on the device, what is kept is given back, so that libraries and other processes find memory; 0: never") \
  X(SIZE, GPU_POOL_MIN_BLOCK, "GPU_POOL_MIN_BLOCK", "1K", 256, XS_GIB(1), "", XS_KNOB_POW2, \
    "pool: smallest block") \
  X(SIZE, GPU_POOL_MAX_BLOCK, "GPU_POOL_MAX_BLOCK", "64M", XS_KIB(1), XS_TIB(16), "", XS_KNOB_POW2, \
    "pool: largest block; above it the driver serves") \
  X(FACTOR, GPU_POOL_GROWTH, "GPU_POOL_GROWTH", "2.0", 1000, 16000, "", 0, \
    "pool: each slab is so many times as large as the last one, until that is an eighth of all that is held") \
  X(SIZE, GPU_POOL_LIMIT, "GPU_POOL_LIMIT", "256M", XS_MIB(1), XS_TIB(16), "", 0, \
    "pool: most device memory in all slabs; beyond it the driver serves") \
  X(COUNT, GPU_POOL_CLASS_BLOCKS, "GPU_POOL_CLASS_BLOCKS", "16", 0, 65536, "", 0, \
    "pool: free blocks kept of each size before whole free slabs go back to the driver") \
  X(TIME, GPU_POOL_DEFRAGMENT, "GPU_POOL_DEFRAGMENT", "0", 0, XS_SECONDS(86400), "", 0, \
    "pool and bfc: give back whole free slabs and regions so often; what is in use cannot move. 0: only on request") \
  X(SIZE, GPU_BFC_INITIAL, "GPU_BFC_INITIAL", "2M", XS_KIB(64), XS_TIB(16), "", 0, \
    "bfc: size of the first region of device memory; the next ones are an eighth of all that is held, to 64 MiB or this, or what is needed") \
  X(SIZE, GPU_BFC_LIMIT, "GPU_BFC_LIMIT", "0", 0, XS_TIB(16), "", 0, \
    "bfc: most device memory in all regions; beyond it the driver serves. 0: no limit") \
  X(BOOL, GPU_PREFETCH, "GPU_PREFETCH", "1", 0, 1, "", 0, \
    "managed: a block is moved to the device when it is allocated, not page by page when a kernel touches it") \
  X(BOOL, GPU_PREFETCH_BACK, "GPU_PREFETCH_BACK", "0", 0, 1, "", 0, \
    "managed: when less than XSIGMA_GPU_LOW_FREE is free on the device, the blocks that were allocated longest ago are moved to the host, each once, until as much is free again") \
  X(SIZE, GPU_PINNED_MAX, "GPU_PINNED_MAX", "64M", 0, XS_TIB(16), "", 0, \
    "most pinned host memory kept for reuse") \
  X(TIME, GPU_OOM_WAIT, "GPU_OOM_WAIT", "2s", 0, XS_SECONDS(3600), "", 0, \
    "before an allocation fails for want of device memory, wait so long for freed blocks whose work is still running") \
  X(TEXT, RECORD, "RECORD", "/dev/shm", 0, 0, "", 0, \
    "directory of the small file that holds what a process has counted, for 'xsigma report', 'top' and 'gpu', even if the process is killed, and of reports that may not go to stderr; off: no such file") \
  X(BOOL, RECORD_KEEP, "RECORD_KEEP", "0", 0, 1, "", 0, \
    "keep that file when the process ends, as PROGRAM.PID.HOST.xsr in the same directory") \
  X(BOOL, RECORD_RSS, "RECORD_RSS", "0", 0, 1, "", 0, \
    "note resident memory in the timeline: a look into /proc for each of its points") \
  X(SIZE, SAMPLE, "SAMPLE", "off", 1, XS_TIB(1), "off", 0, \
    "note where blocks are allocated: of host memory one block in so many bytes on average, 1 for every block, and every block of device memory. 'xsigma run' sets 512K") \
  X(COUNT, SAMPLE_SEED, "SAMPLE_SEED", "0", 0, UINT64_MAX, "", 0, \
    "choose the sampled blocks by this number, so that a program of one thread gets the same ones again; 0: others each time") \
  X(CHOICE, UNWIND, "UNWIND", "libunwind", 0, 0, "libunwind|fp|off", 0, \
    "how the callers of a sampled block are found: by libunwind, by frame pointers (quicker, but only code built with -fno-omit-frame-pointer has them), or not at all")
/* clang-format on */

#endif
