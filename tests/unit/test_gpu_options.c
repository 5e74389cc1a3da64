/* From XSIGMA_GPU_* to the options of a device. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/gpu_options.h"

extern char **environ;

static void clean(void)
{
    for (char **e = environ; *e != NULL;) {
        char name[96] = "";
        if (strncmp(*e, "XSIGMA_", 7) != 0) {
            e++;
            continue;
        }
        strncat(name, *e, strcspn(*e, "=") < sizeof(name) ? strcspn(*e, "=") : sizeof(name) - 1);
        unsetenv(name);
    }
}

static struct xs_gpu_options load(unsigned device)
{
    struct xs_gpu_options o;

    xs_config_load(false);
    xs_gpu_options_of(device, &o);
    return o;
}

static void no_warning(void)
{
    cr_assert(xs_config_warning(0) == NULL, "%s", xs_config_warning(0));
}

TestSuite(gpu_options, .init = clean);

Test(gpu_options, defaults)
{
    struct xs_gpu_options o = load(0);

    no_warning();
    cr_assert_eq(o.step_count, 1u);
    cr_assert_eq(o.step[0].backend, XS_GPU_CACHING);
    cr_assert_eq(o.step[0].last, SIZE_MAX);
    cr_assert_eq(o.free_way, XS_GPU_STRICT);
    cr_assert_eq(o.round, XS_GPU_ROUND_NONE);
    cr_assert_eq(o.waste_percent, 12u);
    cr_assert_eq(o.align, 512u);
    cr_assert_eq(o.cache_max_bytes, XS_MIB(256));
    cr_assert_eq(o.cache_age_ns, 0u);
    cr_assert_eq(o.low_free_bytes, XS_MIB(256));
    cr_assert_eq(o.pool_min_block, XS_KIB(1));
    cr_assert_eq(o.pool_max_block, XS_MIB(64));
    cr_assert_float_eq(o.pool_growth, 2.0, 1e-9);
    cr_assert_eq(o.pool_limit_bytes, XS_MIB(256));
    cr_assert_eq(o.pool_class_blocks, 16u);
    cr_assert_eq(o.pool_defragment_ns, 0u);
    cr_assert_eq(o.bfc_initial_bytes, XS_MIB(2));
    cr_assert_eq(o.bfc_limit_bytes, 0u);
    cr_assert(o.prefetch);
    cr_assert(!o.prefetch_back);
    cr_assert_eq(o.pinned_max_bytes, XS_MIB(64));
    cr_assert_eq(o.oom_wait_ns, XS_SECONDS(2));
}

/* The names of the back ends and of the ways to round stand in two places. */
Test(gpu_options, names_and_numbers_agree)
{
    static const char *const backends[XS_GPU_BACKENDS] = {"caching", "pool", "bfc", "direct",
                                                          "managed"};
    static const struct {
        const char *name;
        enum xs_gpu_round round;
    } rounds[] = {{"none", XS_GPU_ROUND_NONE},
                  {"pow2", XS_GPU_ROUND_POW2},
                  {"half", XS_GPU_ROUND_HALF},
                  {"quarter", XS_GPU_ROUND_QUARTER},
                  {"eighth", XS_GPU_ROUND_EIGHTH}};

    for (unsigned i = 0; i < XS_GPU_BACKENDS; i++) {
        setenv("XSIGMA_GPU_BACKEND", backends[i], 1);
        cr_assert_eq(load(0).step[0].backend, i, "%s", backends[i]);
    }
    for (size_t i = 0; i < XS_COUNT_OF(rounds); i++) {
        setenv("XSIGMA_GPU_ROUND", rounds[i].name, 1);
        cr_assert_eq(load(0).round, rounds[i].round, "%s", rounds[i].name);
    }
    setenv("XSIGMA_GPU_FREE", "deferred", 1);
    cr_assert_eq(load(0).free_way, XS_GPU_DEFERRED);
}

Test(gpu_options, every_size_and_time_arrives)
{
    setenv("XSIGMA_GPU_CACHE_MAX", "3M", 1);
    setenv("XSIGMA_GPU_CACHE_AGE", "7s", 1);
    setenv("XSIGMA_GPU_WASTE", "25", 1);
    setenv("XSIGMA_GPU_ALIGN", "1K", 1);
    setenv("XSIGMA_GPU_LOW_FREE", "5M", 1);
    setenv("XSIGMA_GPU_POOL_MIN_BLOCK", "2K", 1);
    setenv("XSIGMA_GPU_POOL_MAX_BLOCK", "8M", 1);
    setenv("XSIGMA_GPU_POOL_GROWTH", "1.25", 1);
    setenv("XSIGMA_GPU_POOL_LIMIT", "9M", 1);
    setenv("XSIGMA_GPU_POOL_CLASS_BLOCKS", "3", 1);
    setenv("XSIGMA_GPU_POOL_DEFRAGMENT", "11ms", 1);
    setenv("XSIGMA_GPU_BFC_INITIAL", "12M", 1);
    setenv("XSIGMA_GPU_BFC_LIMIT", "13M", 1);
    setenv("XSIGMA_GPU_PREFETCH", "0", 1);
    setenv("XSIGMA_GPU_PREFETCH_BACK", "1", 1);
    setenv("XSIGMA_GPU_PINNED_MAX", "14M", 1);
    setenv("XSIGMA_GPU_OOM_WAIT", "15us", 1);
    struct xs_gpu_options o = load(0);
    no_warning();
    cr_assert_eq(o.cache_max_bytes, XS_MIB(3));
    cr_assert_eq(o.cache_age_ns, XS_SECONDS(7));
    cr_assert_eq(o.waste_percent, 25u);
    cr_assert_eq(o.align, 1024u);
    cr_assert_eq(o.low_free_bytes, XS_MIB(5));
    cr_assert_eq(o.pool_min_block, XS_KIB(2));
    cr_assert_eq(o.pool_max_block, XS_MIB(8));
    cr_assert_float_eq(o.pool_growth, 1.25, 1e-9);
    cr_assert_eq(o.pool_limit_bytes, XS_MIB(9));
    cr_assert_eq(o.pool_class_blocks, 3u);
    cr_assert_eq(o.pool_defragment_ns, 11000000u);
    cr_assert_eq(o.bfc_initial_bytes, XS_MIB(12));
    cr_assert_eq(o.bfc_limit_bytes, XS_MIB(13));
    cr_assert(!o.prefetch);
    cr_assert(o.prefetch_back);
    cr_assert_eq(o.pinned_max_bytes, XS_MIB(14));
    cr_assert_eq(o.oom_wait_ns, 15000u);
}

Test(gpu_options, a_growth_out_of_bounds_is_refused)
{
    static const char *const wrong[] = {"0.9", "16.5", "2.", ".5", "1.0001",
                                        "x",   "-1",   "2x", "1e3"};

    for (size_t i = 0; i < XS_COUNT_OF(wrong); i++) {
        setenv("XSIGMA_GPU_POOL_GROWTH", wrong[i], 1);
        cr_assert_float_eq(load(0).pool_growth, 2.0, 1e-9, "%s", wrong[i]);
        cr_assert(strstr(xs_config_warning(0), "number such as 1.5, from 1 to 16"));
    }
    setenv("XSIGMA_GPU_POOL_GROWTH", "1", 1);
    cr_assert_float_eq(load(0).pool_growth, 1.0, 1e-9);
    no_warning();
}

Test(gpu_options, route)
{
    setenv("XSIGMA_GPU_ROUTE", "<64K:caching,<=1M:pool,*:direct", 1);
    struct xs_gpu_options o = load(0);
    no_warning();
    cr_assert_eq(o.step_count, 3u);
    cr_assert_eq(o.step[0].last, XS_KIB(64) - 1);
    cr_assert_eq(o.step[0].backend, XS_GPU_CACHING);
    cr_assert_eq(o.step[1].last, XS_MIB(1));
    cr_assert_eq(o.step[1].backend, XS_GPU_POOL);
    cr_assert_eq(o.step[2].last, SIZE_MAX);
    cr_assert_eq(o.step[2].backend, XS_GPU_DIRECT);
    /* Names are the device's, not the CPU's, and what no rule takes goes to the back end. */
    setenv("XSIGMA_GPU_ROUTE", "<64K:mimalloc", 1);
    o = load(0);
    cr_assert(strstr(xs_config_warning(0), "is not one of caching|pool|bfc|direct|managed"));
    cr_assert_eq(o.step_count, 1u);
    setenv("XSIGMA_GPU_ROUTE", "<64K:pool", 1);
    setenv("XSIGMA_GPU_BACKEND", "bfc", 1);
    o = load(0);
    cr_assert_eq(o.step_count, 2u);
    cr_assert_eq(o.step[1].backend, XS_GPU_BFC);
}

Test(gpu_options, a_device_has_its_own)
{
    setenv("XSIGMA_GPU_CACHE_MAX", "1M", 1);
    setenv("XSIGMA_GPU1_CACHE_MAX", "2M", 1);
    setenv("XSIGMA_GPU63_BACKEND", "direct", 1);
    cr_assert_eq(load(0).cache_max_bytes, XS_MIB(1));
    no_warning();
    cr_assert_eq(load(1).cache_max_bytes, XS_MIB(2));
    cr_assert_eq(load(63).step[0].backend, XS_GPU_DIRECT);
    cr_assert_eq(load(62).step[0].backend, XS_GPU_CACHING);
    /* A wrong value of one device leaves the one for all. */
    setenv("XSIGMA_GPU1_CACHE_MAX", "a lot", 1);
    cr_assert_eq(load(1).cache_max_bytes, XS_MIB(1));
    cr_assert(strstr(xs_config_warning(0), "XSIGMA_GPU1_CACHE_MAX=a lot is not understood"));
    cr_assert(strstr(xs_config_warning(0), "using 1M"));
}

Test(gpu_options, more_devices_values_than_there_is_room_for)
{
    char name[64];

    for (int d = 0; d < 64; d++) {
        snprintf(name, sizeof(name), "XSIGMA_GPU%d_WASTE", d);
        setenv(name, "1", 1);
        snprintf(name, sizeof(name), "XSIGMA_GPU%d_ALIGN", d);
        setenv(name, "1K", 1);
    }
    load(0);
    cr_assert(strstr(xs_config_warning(0), "too many devices' own values"));
    for (size_t i = 0; xs_config_device_value(i) != NULL; i++)
        cr_assert(i < 64);
}

Test(gpu_options, presets_wait_for_nothing_in_a_free)
{
    static const char *const presets[] = {"monte-carlo", "pde", "risk"};

    for (size_t i = 0; i < 3; i++) {
        setenv("XSIGMA_PRESET", presets[i], 1);
        unsetenv("XSIGMA_GPU_FREE");
        cr_assert_eq(load(0).free_way, XS_GPU_DEFERRED, "%s", presets[i]);
        no_warning();
        setenv("XSIGMA_GPU_FREE", "strict", 1);
        cr_assert_eq(load(0).free_way, XS_GPU_STRICT, "%s", presets[i]);
    }
}

Test(gpu_options, presets_sizes)
{
    setenv("XSIGMA_PRESET", "monte-carlo", 1);
    struct xs_gpu_options o = load(0);
    cr_assert_eq(o.cache_max_bytes, XS_GIB(1));
    cr_assert_eq(o.align, 512u);
    setenv("XSIGMA_PRESET", "pde", 1);
    o = load(0);
    cr_assert_eq(o.step[0].backend, XS_GPU_POOL);
    cr_assert_eq(o.pool_limit_bytes, XS_GIB(2));
    cr_assert_eq(o.pool_max_block, XS_MIB(128));
    setenv("XSIGMA_PRESET", "risk", 1);
    o = load(0);
    cr_assert_eq(o.step_count, 2u);
    cr_assert_eq(o.step[0].last, XS_KIB(64) - 1);
    cr_assert_eq(o.step[1].backend, XS_GPU_BFC);
    cr_assert_eq(o.cache_max_bytes, XS_MIB(256));
}

/* What somebody sets wins over what a preset sets, a route of it too; and a device's own value over
 * what is set for all. */
Test(gpu_options, a_chosen_back_end_beats_the_presets_route)
{
    setenv("XSIGMA_PRESET", "risk", 1);
    setenv("XSIGMA_GPU_BACKEND", "pool", 1);
    struct xs_gpu_options o = load(0);
    cr_assert_eq(o.step_count, 1u);
    cr_assert_eq(o.step[0].backend, XS_GPU_POOL);
    unsetenv("XSIGMA_GPU_BACKEND");
    setenv("XSIGMA_GPU1_BACKEND", "bfc", 1);
    o = load(1);
    cr_assert_eq(o.step_count, 1u);
    cr_assert_eq(o.step[0].backend, XS_GPU_BFC);
    cr_assert_eq(load(0).step_count, 2u);
    setenv("XSIGMA_GPU_BACKEND", "pool", 1);
    setenv("XSIGMA_GPU_ROUTE", "<1K:direct", 1);
    o = load(0);
    cr_assert_eq(o.step_count, 2u);
    cr_assert_eq(o.step[1].backend, XS_GPU_POOL);
}

Test(gpu_options, what_makes_no_sense_is_settled)
{
    setenv("XSIGMA_GPU_BACKEND", "pool", 1);
    setenv("XSIGMA_GPU_POOL_MIN_BLOCK", "1M", 1);
    setenv("XSIGMA_GPU_POOL_MAX_BLOCK", "64K", 1);
    setenv("XSIGMA_GPU_BFC_INITIAL", "1G", 1);
    setenv("XSIGMA_GPU_BFC_LIMIT", "1M", 1);
    struct xs_gpu_options o = load(0);
    cr_assert_eq(o.pool_min_block, XS_KIB(64));
    cr_assert_eq(o.bfc_initial_bytes, XS_MIB(1));
    xs_gpu_options_start();
    cr_assert(strstr(xs_config_warning(0), "XSIGMA_GPU_POOL_MIN_BLOCK is larger"));
}

Test(gpu_options, switched_off)
{
    setenv("XSIGMA_GPU", "0", 1);
    cr_assert(!xs_gpu_wanted()); /* loads the configuration itself */
    cr_assert(xs_config_is_loaded());
}

Test(gpu_options, disabled)
{
    setenv("XSIGMA_DISABLE", "1", 1);
    cr_assert(!xs_gpu_wanted());
}

Test(gpu_options, on_by_default)
{
    cr_assert(xs_gpu_wanted());
}
