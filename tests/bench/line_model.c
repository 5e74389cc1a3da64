/* line_model.c - counts the cache lines that move between cores in a trace of lines.c (standard
 * input).
 *
 * The trace is what valgrind's lackey prints with --trace-mem=yes: " L address,size", " S ..." and
 * " M ..." (a load and a store). The model has a core for each thread, with a cache that never
 * loses a line for want of room, and the MESI states. A transfer is a load of a line that another
 * core has written since this one last had it, or a store to a line that another core holds; the
 * first load of a line that nobody has comes from memory and is none. Two cores that write to one
 * line by turns pay one each time, whether they write to the same word or not: false sharing
 * counts. Only calls of malloc and free are counted, but what the program does to its blocks in
 * between moves lines as well.
 *
 * Prints lines "name value": calls, transfers by kind, and distinct lines that moved.
 */
#include <inttypes.h>

#include "bench.h"
#include "lines.h"

struct line {
    uint64_t address; /* of the line, 0: the place is empty */
    uint64_t holders; /* bit t: core t has it */
    bool written;     /* its one holder has changed it */
    bool moved;       /* counted already as one that moves */
};

static struct line *table;
static uint64_t table_size = 1 << 16, table_n;
static uint64_t calls[LINES_KINDS], loads_moved[LINES_KINDS], stores_moved[LINES_KINDS],
    moved_lines;

static struct line *place_of(struct line *in, uint64_t size, uint64_t address)
{
    uint64_t at = (address * 0x9e3779b97f4a7c15u) >> 20;

    for (;; at++) {
        struct line *l = &in[at & (size - 1)];

        if (l->address == address || l->address == 0)
            return l;
    }
}

static struct line *line_of(uint64_t address)
{
    struct line *l;

    if (table_n * 2 > table_size) {
        struct line *larger = calloc(table_size * 2, sizeof(*larger));

        if (larger == NULL)
            broken("no memory");
        for (uint64_t i = 0; i < table_size; i++) {
            if (table[i].address != 0)
                *place_of(larger, table_size * 2, table[i].address) = table[i];
        }
        free(table);
        table = larger;
        table_size *= 2;
    }
    l = place_of(table, table_size, address);
    if (l->address == 0) {
        l->address = address;
        table_n++;
    }
    return l;
}

static void count(struct line *l, uint64_t *moved)
{
    ++*moved;
    if (!l->moved) {
        l->moved = true;
        moved_lines++;
    }
}

static void load(struct line *l, unsigned who, enum lines_doing doing)
{
    uint64_t me = 1ull << who;

    if ((l->holders & me) != 0)
        return;
    if (l->written)
        count(l, &loads_moved[doing]);
    l->written = false;
    l->holders |= me;
}

static void store(struct line *l, unsigned who, enum lines_doing doing)
{
    uint64_t me = 1ull << who;

    if ((l->holders & ~me) != 0)
        count(l, &stores_moved[doing]);
    l->holders = me;
    l->written = true;
}

int main(void)
{
    enum lines_doing doing = LINES_OUTSIDE;
    unsigned who = 0;
    char text[256];
    double of_malloc, of_free;

    table = calloc(table_size, sizeof(*table));
    if (table == NULL)
        broken("no memory");
    while (fgets(text, sizeof(text), stdin) != NULL) {
        char kind = text[1], *end;
        uint64_t address, size;

        if (text[0] != ' ' || (kind != 'L' && kind != 'S' && kind != 'M') || text[2] != ' ')
            continue;
        address = strtoull(text + 3, &end, 16);
        if (*end != ',')
            continue;
        size = strtoull(end + 1, NULL, 10);
        if (address >= LINES_BASE && address < LINES_BASE + LINES_SIZE) {
            uint64_t sign = (address - LINES_BASE) / 64;

            doing = (enum lines_doing)(sign / LINES_THREADS);
            who = (unsigned)(sign % LINES_THREADS);
            if (doing >= LINES_KINDS)
                broken("a sign that is none");
            calls[doing]++;
            continue;
        }
        if (doing == LINES_OUTSIDE)
            continue;
        for (uint64_t at = address / LINES_LINE; at <= (address + size - 1) / LINES_LINE; at++) {
            struct line *l = line_of(at);

            if (kind != 'S')
                load(l, who, doing);
            if (kind != 'L')
                store(l, who, doing);
        }
    }
    if (calls[LINES_MALLOC] == 0 || calls[LINES_FREE] == 0)
        broken("no call of malloc and free in the trace");
    of_malloc = (double)(loads_moved[LINES_MALLOC] + stores_moved[LINES_MALLOC]) /
                (double)calls[LINES_MALLOC];
    of_free =
        (double)(loads_moved[LINES_FREE] + stores_moved[LINES_FREE]) / (double)calls[LINES_FREE];
    printf("mallocs %" PRIu64 "\nfrees %" PRIu64 "\n", calls[LINES_MALLOC], calls[LINES_FREE]);
    printf(
        "malloc_transfers %.4f\nfree_transfers %.4f\ntransfers_per_pair %.4f\nmoved_lines %" PRIu64
        "\n",
        of_malloc, of_free, of_malloc + of_free, moved_lines);
    return 0;
}
