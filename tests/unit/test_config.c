#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/config.h"

static void clean(void)
{

    for (unsigned k = 0; k < XS_KNOB_COUNT; k++)
        unsetenv(xs_knob_name(&xs_knob_rows[k]));
}

/* Exactly one warning, and it contains `text`. */
static void expect_warning(const char *text)
{
    cr_assert(xs_config_warning(0) != NULL, "no warning, expected %s", text);
    cr_assert(strstr(xs_config_warning(0), text) != NULL, "\"%s\" lacks \"%s\"",
              xs_config_warning(0), text);
    cr_assert(xs_config_warning(1) == NULL, "also \"%s\"", xs_config_warning(1));
}

TestSuite(config, .init = clean);

Test(config, defaults_parse)
{
    xs_config_load(false);
    cr_assert(xs_config_warning(0) == NULL, "%s", xs_config_warning(0));
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        cr_assert_eq(xs_config((enum xs_knob)k)->source, XS_SOURCE_DEFAULT);
        cr_assert_str_eq(xs_config((enum xs_knob)k)->text, xs_knob_def(&xs_knob_rows[k]));
    }
    cr_assert_eq(xs_config(XS_KNOB_CPU_ALIGN)->num, 16u);
}

Test(config, a_wrong_value_keeps_the_default_and_is_named_once)
{
    setenv("XSIGMA_CPU_BACKEND", "mimaloc", 1);
    xs_config_load(false);
    expect_warning("did you mean mimalloc?");
    cr_assert_str_eq(xs_config(XS_KNOB_CPU_BACKEND)->text, "bfc");
    cr_assert_eq(xs_config(XS_KNOB_CPU_BACKEND)->source, XS_SOURCE_DEFAULT);
}

/* Every variable but free text refuses something, with one line and no other effect. */
Test(config, every_variable_has_a_wrong_value)
{
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const struct xs_knob_row *row = &xs_knob_rows[k];
        if (row->type == XS_TYPE_TEXT)
            continue;
        clean();
        setenv(xs_knob_name(row), "ba:nana", 1);
        xs_config_load(false);
        expect_warning(xs_knob_name(row));
        cr_assert_eq(xs_config((enum xs_knob)k)->source, XS_SOURCE_DEFAULT);
    }
}

Test(config, every_variable_takes_its_own_default)
{
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const struct xs_knob_row *row = &xs_knob_rows[k];
        uint64_t v = 0;
        cr_assert_eq(xs_config_parse(row, xs_knob_def(row), &v), 0, "%s", xs_knob_name(row));
    }
}

Test(config, limits_of_a_size)
{
    setenv("XSIGMA_CPU_ALIGN", "8", 1);
    xs_config_load(false);
    expect_warning("XSIGMA_CPU_ALIGN=8");
    setenv("XSIGMA_CPU_ALIGN", "48", 1);
    xs_config_load(false);
    expect_warning("a power of two");
    cr_assert_eq(xs_config(XS_KNOB_CPU_ALIGN)->num, 16u);
    setenv("XSIGMA_CPU_ALIGN", "64", 1);
    xs_config_load(false);
    cr_assert(xs_config_warning(0) == NULL);
    cr_assert_eq(xs_config(XS_KNOB_CPU_ALIGN)->num, 64u);
}

Test(config, nodes_and_per_cent)
{
    setenv("XSIGMA_CPU_NUMA", "bind:0-1,3", 1);
    setenv("XSIGMA_CPU_NUMA_RUN", "2", 1);
    setenv("XSIGMA_PRESSURE_WARN", "75%", 1);
    xs_config_load(false);
    cr_assert(xs_config_warning(0) == NULL);
    cr_assert_eq(xs_config(XS_KNOB_CPU_NUMA)->num, 3u);
    cr_assert_eq(xs_config_nodes(XS_KNOB_CPU_NUMA), 11u);
    cr_assert_eq(xs_config_nodes(XS_KNOB_CPU_NUMA_RUN), 4u);
    cr_assert_eq(xs_config(XS_KNOB_PRESSURE_WARN)->num, 75u);
    const char *wrong[] = {"bind", "bind:", "local:1", "bind:9-1", "preferred:x", "1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("XSIGMA_CPU_NUMA", wrong[i], 1);
        xs_config_load(false);
        expect_warning("XSIGMA_CPU_NUMA=");
        cr_assert_eq(xs_config(XS_KNOB_CPU_NUMA)->num, 0u, "%s", wrong[i]);
    }
    unsetenv("XSIGMA_CPU_NUMA");
    unsetenv("XSIGMA_CPU_NUMA_RUN");
    setenv("XSIGMA_PRESSURE_WARN", "101%", 1);
    xs_config_load(false);
    expect_warning("XSIGMA_PRESSURE_WARN=101%");
    unsetenv("XSIGMA_PRESSURE_WARN");
}

Test(config, unknown_names)
{
    setenv("XSIGMA_STAT", "1", 1);
    xs_config_load(false);
    expect_warning("did you mean XSIGMA_STATS?");
    unsetenv("XSIGMA_STAT");
    setenv("XSIGMA_BANANA_SPLIT", "1", 1);
    xs_config_load(false);
    expect_warning("XSIGMA_HELP=1");
    unsetenv("XSIGMA_BANANA_SPLIT");
    setenv("XSIGMA_FOO", "1", 1); /* XSIGMA_LOG has little of it */
    xs_config_load(false);
    expect_warning("XSIGMA_FOO is no variable of XSigma; XSIGMA_HELP=1");
    unsetenv("XSIGMA_FOO");
    setenv("XSIGMA_GPU64_CACHE_MAX", "1G", 1); /* beyond the last device that there can be */
    xs_config_load(false);
    expect_warning("XSIGMA_GPU64_CACHE_MAX is no variable");
    unsetenv("XSIGMA_GPU64_CACHE_MAX");
}

Test(config, empty_means_not_set)
{
    setenv("XSIGMA_CPU_BACKEND", "", 1);
    xs_config_load(false);
    cr_assert(xs_config_warning(0) == NULL);
    cr_assert_eq(xs_config(XS_KNOB_CPU_BACKEND)->source, XS_SOURCE_DEFAULT);
}

Test(config, preset_yields_to_the_environment)
{
    setenv("XSIGMA_PRESET", "pde", 1);
    xs_config_load(false);
    cr_assert_str_eq(xs_config(XS_KNOB_CPU_NUMA)->text, "local");
    cr_assert_eq(xs_config(XS_KNOB_CPU_BACKEND)->source, XS_SOURCE_PRESET);
    cr_assert_eq(xs_config(XS_KNOB_GPU_POOL_LIMIT)->num, UINT64_C(2) << 30);
    setenv("XSIGMA_CPU_BACKEND", "system", 1);
    xs_config_load(false);
    cr_assert_str_eq(xs_config(XS_KNOB_CPU_BACKEND)->text, "system");
    cr_assert_eq(xs_config(XS_KNOB_CPU_BACKEND)->source, XS_SOURCE_ENVIRONMENT);
    cr_assert(xs_config_warning(0) == NULL, "%s", xs_config_warning(0));
}

/* In a small cgroup: unless anything is said of what serves, or of the record. */
Test(config, small_cgroup)
{
    xs_config_load(false);
    cr_assert(!xs_config_is_small());
    xs_config_small_cgroup(true);
    cr_assert(xs_config_is_small());
    cr_assert_str_eq(xs_config(XS_KNOB_CPU_BACKEND)->text, "system");
    cr_assert_str_eq(xs_config(XS_KNOB_RECORD)->text, "off");
    cr_assert_str_eq(xs_config_source_name(xs_config(XS_KNOB_RECORD)->source), "cgroup");

    cr_assert_str_eq(xs_config(XS_KNOB_STATS)->text, "auto");
    xs_config_small_cgroup(false);
    cr_assert_str_eq(xs_config(XS_KNOB_STATS)->text, "0");
    setenv("XSIGMA_STATS_CHILDREN", "1", 1);
    xs_config_load(false);
    xs_config_small_cgroup(false);
    cr_assert_str_eq(xs_config(XS_KNOB_STATS)->text, "auto");
    static const char *const sets[] = {"XSIGMA_CPU_BACKEND", "bfc",  "XSIGMA_CPU_ROUTE",    "*:bfc",
                                       "XSIGMA_BFC_LIMIT",   "1M",   "XSIGMA_CPU_HARDENED", "check",
                                       "XSIGMA_PRESET",      "risk", "XSIGMA_MEMORY_LIMIT", "2M"};
    for (size_t i = 0; i < XS_COUNT_OF(sets); i += 2) {
        clean();
        setenv(sets[i], sets[i + 1], 1);
        xs_config_load(false);
        xs_config_small_cgroup(true);
        cr_assert(!xs_config_is_small(), "%s", sets[i]);
        cr_assert_str_eq(xs_config(XS_KNOB_CPU_BACKEND)->text, "bfc", "%s", sets[i]);
    }
    clean();
    setenv("XSIGMA_RECORD_KEEP", "1", 1);
    xs_config_load(false);
    xs_config_small_cgroup(true);
    cr_assert(xs_config_is_small());
    cr_assert_str_eq(xs_config(XS_KNOB_RECORD)->text, "/dev/shm");
}

Test(config, all_presets_are_whole)
{
    static const char *const presets[] = {"monte-carlo", "pde", "risk"};
    static const char *const gpu[] = {"caching", "pool", "caching"};

    for (size_t i = 0; i < 3; i++) {
        setenv("XSIGMA_PRESET", presets[i], 1);
        xs_config_load(false);
        cr_assert(xs_config_warning(0) == NULL, "%s", xs_config_warning(0));
        cr_assert_str_eq(xs_config(XS_KNOB_CPU_BACKEND)->text, "bfc");
        cr_assert_eq(xs_config(XS_KNOB_CPU_BACKEND)->source, XS_SOURCE_PRESET);
        cr_assert_str_eq(xs_config(XS_KNOB_GPU_BACKEND)->text, gpu[i]);
        cr_assert_str_eq(xs_config(XS_KNOB_GPU_FREE)->text, "deferred");
    }
}

static void write_file(char path[32], const char *text)
{
    strcpy(path, "/tmp/xs-config-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

Test(config, file_between_preset_and_environment)
{
    char path[32];

    write_file(path, "# a comment\n"
                     "XSIGMA_PRESET=monte-carlo\n"
                     "  CPU_ALIGN = 64   # a cache line\n"
                     "export XSIGMA_STATS=0\n"
                     "CPU_NUMA=local\n"
                     "GPU2_CACHE_MAX=1G\n"
                     "XSIGMA_GPU_CACHE_MAX=2G\n");
    setenv("XSIGMA_CONFIG", path, 1);
    setenv("XSIGMA_STATS", "1", 1);
    xs_config_load(false);
    unlink(path);
    cr_assert(xs_config_warning(0) == NULL);
    cr_assert_eq(xs_config(XS_KNOB_CPU_BACKEND)->source, XS_SOURCE_PRESET);
    cr_assert_eq(xs_config(XS_KNOB_CPU_ALIGN)->num, 64u);
    cr_assert_eq(xs_config(XS_KNOB_CPU_ALIGN)->source, XS_SOURCE_FILE);
    cr_assert_str_eq(xs_config(XS_KNOB_STATS)->text, "1");
    cr_assert_eq(xs_config(XS_KNOB_GPU_CACHE_MAX)->num, UINT64_C(2) << 30);
    cr_assert_eq(xs_config_device(2, XS_KNOB_GPU_CACHE_MAX)->num, UINT64_C(1) << 30);
    cr_assert_eq(xs_config_device(2, XS_KNOB_GPU_CACHE_MAX)->source, XS_SOURCE_FILE);
    cr_assert_eq(xs_config_device(1, XS_KNOB_GPU_CACHE_MAX)->num, UINT64_C(2) << 30);
}

Test(config, file_errors_name_the_line)
{
    char path[32];
    char where[64];

    write_file(path, "\nXSIGMA_STATS=maybe\n");
    setenv("XSIGMA_CONFIG", path, 1);
    xs_config_load(false);
    unlink(path);
    snprintf(where, sizeof(where), "%s:2: XSIGMA_STATS=maybe", path);
    expect_warning(where);
}

Test(config, missing_file)
{
    setenv("XSIGMA_CONFIG", "/nowhere/at/all", 1);
    xs_config_load(false);
    expect_warning("/nowhere/at/all cannot be read");
}

Test(config, a_privileged_process_reads_nothing)
{
    setenv("XSIGMA_CPU_BACKEND", "tbb", 1);
    setenv("XSIGMA_BANANA", "1", 1);
    xs_config_load(true);
    cr_assert(xs_config_warning(0) == NULL);
    cr_assert_str_eq(xs_config(XS_KNOB_CPU_BACKEND)->text, "bfc");
    unsetenv("XSIGMA_BANANA");
}

static unsigned lines;
static void count_line(const char *line, void *arg)
{
    (void)arg;
    cr_assert(line[0] != '\0');
    lines++;
}

Test(config, help_has_every_variable)
{
    xs_config_load(false);
    lines = 0;
    xs_config_print_help(count_line, NULL);
    cr_assert_eq(lines, 3u * XS_KNOB_COUNT);
    lines = 0;
    xs_config_print_markdown(count_line, NULL);
    cr_assert_eq(lines, 2u + XS_KNOB_COUNT);
}
