/* tests/fuzz/json_fuzz.c - the reader of JSON reports: any text is refused or read, and what was
 * read is there.
 *
 * An input is the text itself, or, if its first byte is odd, changes to a report.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tool/json.h"

const char fuzz_name[] = "json";
const unsigned fuzz_profiles = 1;
const unsigned fuzz_random_inputs = 4000;

static const char report[] =
    "{\"schema\": \"xsigma.stats/1\", \"process\": {\"program\": \"p\\u00e9\\n\\ud83d\\ude00\","
    " \"pid\": 42, \"rank\": null, \"passive\": false, \"counting\": true},\n"
    " \"config\": [{\"name\": \"XSIGMA_STATS\", \"value\": \"1\"}], \"warnings\": [],\n"
    " \"cpu\": {\"backends\": [{\"name\": \"bfc\", \"size_bins\": [0, 1, "
    "18446744073709551615]}]},\n"
    " \"gpu\": [{\"device\": 0, \"hits\": -1.5e+3}], \"timeline\": {\"t_ns\": [1, 2, 3]}}";

static uint64_t operations;

void fuzz_set_profile(unsigned profile)
{
    (void)profile;
}

const char *fuzz_profile_name(unsigned profile)
{
    (void)profile;
    return "the one";
}

uint64_t fuzz_operations(void)
{
    return operations;
}

/* Each node is reached once, and its texts end. */
static uint32_t walk(const struct xs_json_tree *t, const struct xs_json *v)
{
    uint32_t n = 1;
    uint32_t members = 0;

    if (v->text != NULL)
        operations += strlen(v->text);
    (void)xs_json_u64(v, 0);
    for (const struct xs_json *m = xs_json_first(t, v); m != NULL; m = xs_json_next(t, m)) {
        FUZZ_CHECK((v->type == XS_JSON_OBJECT) == (m->key != NULL), "a name where none belongs");
        if (m->key != NULL)
            FUZZ_CHECK(xs_json_get(t, v, m->key) != NULL, "a member that is not found");
        members++;
        n += walk(t, m);
    }
    FUZZ_CHECK(members == v->count, "%u members instead of %u", members, v->count);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool changes = size > 0 && data[0] % 2 != 0;
    size_t len = changes ? sizeof(report) - 1 : size;
    struct xs_json_tree t;

    char *text = malloc(len + 1);
    FUZZ_CHECK(text != NULL, "no memory");
    memcpy(text, changes ? report : (const char *)data, len);
    text[len] = '\0';
    for (size_t i = 1; changes && i + 2 < size; i += 3)
        text[(data[i] | (size_t)data[i + 1] << 8) % len] = (char)data[i + 2];
    operations++;
    if (xs_json_parse(&t, text, len))
        FUZZ_CHECK(walk(&t, &t.node[0]) == t.count, "nodes that nobody reaches");
    else
        FUZZ_CHECK(t.error != NULL && t.error_at <= len, "no reason at %zu", t.error_at);
    xs_json_free(&t);
    free(text);
    return 0;
}
