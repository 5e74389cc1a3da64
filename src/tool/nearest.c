#include <string.h>

#include "base/text.h"
#include "tool/tool.h"

/* Twice the letters that may be wrong. */
#define DISTANCE_MAX 4

void xs_nearest_init(struct xs_nearest *n, const char *word)
{
    *n = (struct xs_nearest){.word = word, .distance = DISTANCE_MAX + 1};
}

void xs_nearest_try(struct xs_nearest *n, const char *candidate)
{
    unsigned distance = xs_text_distance(n->word, candidate);
    size_t length = strlen(n->word);

    /* What it begins is nearer than what it could be mistyped for. */
    if (length > 0 && strncmp(candidate, n->word, length) == 0)
        distance = distance == 0 ? 0 : 1;
    else
        distance *= 2;
    /* Not a word of which little is left. */
    if (distance < n->distance && distance <= length) {
        n->best = candidate;
        n->distance = distance;
    }
}
