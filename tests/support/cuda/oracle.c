/* oracle.c - the lives of blocks, and what must come before their next one. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

struct life {
    uint64_t lo, hi, id;
};
static struct life *lives; /* by address, none overlapping */
static unsigned nlives, room;
static uint64_t last_id;

void fk_lives_reset(void)
{
    nlives = 0;
}

/* Index of the first life that ends above p. */
static unsigned first_above(uint64_t p)
{
    unsigned lo = 0, hi = nlives;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (lives[mid].hi > p)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

void fk_lives_of(struct op *op)
{
    for (unsigned i = 0; i < op->nranges; i++) {
        struct range *r = &op->range[i];
        unsigned k = first_above(r->lo);
        r->life = k < nlives && lives[k].lo <= r->lo ? lives[k].id : 0;
        if (r->life != 0 && r->hi > lives[k].hi)
            fk_violation("%s on %#lx..%#lx runs past its block %#lx..%#lx", op->what, r->lo, r->hi,
                         lives[k].lo, lives[k].hi);
    }
}

/* Pending work of earlier lives that touches what w touches must come before w. */
void fk_check_order(const struct work *w, unsigned slot)
{
    for (unsigned k = 0; k < w->op.nranges && !w->op.hint; k++) {
        const struct range *r = &w->op.range[k];
        if (r->life == 0)
            continue;
        for (unsigned i = 0; i < fake.nslots; i++) {
            uint64_t before = i < w->nclock ? w->clock[i] : 0;
            if (i == slot && w->op.early && w->seq > 1)
                before = w->seq - 2;
            for (const struct work *p = fake.slot[i].head; p != NULL; p = p->next) {
                if (p->seq <= before || p->op.hint)
                    continue;
                for (unsigned q = 0; q < p->op.nranges; q++) {
                    const struct range *o = &p->op.range[q];
                    if (o->life != 0 && o->life < r->life && o->lo < r->hi && r->lo < o->hi)
                        fk_violation(
                            "%s in stream %u on %#lx..%#lx, reused while %s in stream %u of "
                            "its earlier life is pending and not ordered before it",
                            w->op.what, slot, r->lo, r->hi, p->op.what, i);
                }
            }
        }
    }
}

void fk_check_driver_free(const struct area *a)
{
    unsigned k = first_above(a->lo), slot;
    if (k < nlives && lives[k].lo < a->hi)
        fk_violation("%#lx..%#lx goes back to the driver in the midst of the life of %#lx..%#lx",
                     a->lo, a->hi, lives[k].lo, lives[k].hi);
    const struct work *w = fk_pending_on(a->lo, a->hi, &slot);
    if (w != NULL)
        fk_violation("%#lx..%#lx goes back to the driver while %s in stream %u is pending on it",
                     a->lo, a->hi, w->op.what, slot);
}

static void begin(uint64_t lo, uint64_t hi)
{
    unsigned k = first_above(lo);
    if (k < nlives && lives[k].lo < hi) {
        fk_violation("%#lx..%#lx is handed out in the midst of the life of %#lx..%#lx", lo, hi,
                     lives[k].lo, lives[k].hi);
        return;
    }
    const struct area *a = fk_area(lo);
    if (a == NULL || hi > a->hi || a->freeing) {
        fk_violation("%#lx..%#lx is handed out and is no memory of the driver's", lo, hi);
        return;
    }
    unsigned slot;
    const struct work *w = fk_host_visible(a) ? fk_pending_on(lo, hi, &slot) : NULL;
    if (w != NULL)
        fk_violation("%#lx..%#lx, which the CPU sees, is handed out while %s in stream %u is "
                     "pending on it",
                     lo, hi, w->op.what, slot);
    if (nlives == room) {
        room = room != 0 ? 2 * room : 256;
        lives = realloc(lives, room * sizeof *lives);
        if (lives == NULL)
            abort();
    }
    memmove(lives + k + 1, lives + k, (nlives - k) * sizeof *lives);
    lives[k] = (struct life){lo, hi, ++last_id};
    nlives++;
}

void fake_life_begin(const void *p, size_t bytes)
{
    pthread_mutex_lock(&fake.lock);
    uint64_t lo = (uint64_t)(uintptr_t)p;
    begin(lo, lo + bytes);
    pthread_mutex_unlock(&fake.lock);
}

void fake_life_end(const void *p)
{
    pthread_mutex_lock(&fake.lock);
    uint64_t lo = (uint64_t)(uintptr_t)p;
    unsigned k = first_above(lo);
    if (k < nlives && lives[k].lo == lo) {
        nlives--;
        memmove(lives + k, lives + k + 1, (nlives - k) * sizeof *lives);
    } else {
        fk_violation("the end of a life at %#lx that never began", lo);
    }
    pthread_mutex_unlock(&fake.lock);
}
