#include <string.h>

#include "base/text.h"
#include "tool/tool.h"

#define DISTANCE_MAX 2

void xs_nearest_init(struct xs_nearest *n, const char *word)
{
    *n = (struct xs_nearest){.word = word, .distance = DISTANCE_MAX + 1};
}

void xs_nearest_try(struct xs_nearest *n, const char *candidate)
{
    unsigned distance = xs_text_distance(n->word, candidate);

    /* Not a word of which nothing is left. */
    if (distance < n->distance && distance < strlen(candidate)) {
        n->best = candidate;
        n->distance = distance;
    }
}
