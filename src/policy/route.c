#include "policy/route.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

/* One rule, `len` characters long. */
static int parse_rule(const char *rule, size_t len, const char *choices, struct xs_route_step *out,
                      struct xs_buf *why)
{
    const char *colon = memchr(rule, ':', len);
    uint64_t bound = 0;
    bool below = false;
    size_t skip = 0;

    if (colon == NULL) {
        xs_fmt(why, "\"%.*s\" has no ':' and back end", (int)len, rule);
        return EINVAL;
    }
    size_t cond_len = (size_t)(colon - rule);
    size_t name_len = len - cond_len - 1;
    out->choice = xs_text_choice(choices, colon + 1, name_len);
    if (out->choice < 0) {
        xs_fmt(why, "\"%.*s\" is not one of %s", (int)name_len, colon + 1, choices);
        return EINVAL;
    }
    if (cond_len == 1 && rule[0] == '*') {
        out->last = SIZE_MAX;
        return 0;
    }
    if (cond_len > 0 && rule[0] == '<') {
        below = !(cond_len > 1 && rule[1] == '=');
        skip = below ? 1 : 2;
    }
    if (skip == 0 || xs_text_size(rule + skip, cond_len - skip, &bound) != 0 ||
        (below && bound == 0)) {
        xs_fmt(why, "\"%.*s\" is no size rule", (int)cond_len, rule);
        return EINVAL;
    }
    out->last = (size_t)bound - below;
    return 0;
}

int xs_route_parse(const char *text, const char *choices, int otherwise, struct xs_route *out,
                   struct xs_buf *why)
{
    struct xs_route r = {0};

    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, ",");
        /* One place stays free for the rule that takes the rest. */
        if (r.count == XS_ROUTE_MAX - 1 && at[0] != '*') {
            xs_fmt(why, "more than %d rules", XS_ROUTE_MAX - 1);
            return EINVAL;
        }
        int rc = parse_rule(at, len, choices, &r.step[r.count], why);
        if (rc != 0)
            return rc;
        if (r.count > 0 && r.step[r.count].last <= r.step[r.count - 1].last) {
            xs_fmt(why, "\"%.*s\" can never match after the rule before it", (int)len, at);
            return EINVAL;
        }
        r.count++;
        at += len;
        if (*at == ',' && *++at == '\0') {
            xs_put_str(why, "it ends with a comma");
            return EINVAL;
        }
    }
    if (r.count == 0 || r.step[r.count - 1].last != SIZE_MAX)
        r.step[r.count++] = (struct xs_route_step){SIZE_MAX, otherwise};
    *out = r;
    return 0;
}
