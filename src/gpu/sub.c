/* What both kinds share: ranges that come and go, the limit, the statistics. */
#include "base/align.h"
#include "gpu/sub_range.h"
#include "sys/mem.h"

/* Ranges that were needed within this many operations, and as many before, are not spared. */
#define WINDOW_OPERATIONS 16384u
/* Beyond what is needed, at most this part of what is held is asked for; or this part in blocks of
 * the size that is needed, looking at so many numbers of them for one that leaves no more than a
 * FIT_OVERth of the driver's granules over; else a FIT_MOREth of a block more, and up to whole
 * granules, unless a FIT_MUCHth would be left over. */
#define STEP_PART 8
#define FIT_PART  6
#define FIT_TRIES 8
#define FIT_OVER  64
#define FIT_MORE  32
#define FIT_MUCH  4
/* Wholly free ranges may come back as one if this part of all is in them. */
#define MERGE_PART 2

struct xs_sub *xs_sub_open(size_t bytes, const struct xs_sub_kind *kind, size_t align,
                           uint64_t limit_bytes)
{
    struct xs_sub *s = xs_mem_map(bytes, 1);

    if (s == NULL)
        return NULL;
    s->kind = kind;
    s->bytes = bytes;
    s->align = align;
    s->limit_bytes = limit_bytes;
    s->held = &s->own_held;
    s->smallest_idle = SIZE_MAX;
    s->window_left = WINDOW_OPERATIONS;
    return s;
}

void xs_sub_share_limit(struct xs_sub *s, _Atomic uint64_t *reserved)
{
    s->held = reserved;
}

void xs_sub_close(struct xs_sub *s)
{
    atomic_fetch_sub_explicit(s->held, s->reserved, memory_order_relaxed);
    s->kind->close(s);
    (void)xs_mem_unmap(s, s->bytes);
}

/* ---- ranges ----------------------------------------------------------------------------- */

/* How many ranges begin at or below `address`. */
static unsigned ranges_up_to(const struct xs_sub *s, uint64_t address)
{
    unsigned low = 0;
    unsigned high = s->ranges;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (s->range[s->order[middle]].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int xs_sub_range_at(const struct xs_sub *s, uint64_t address)
{
    unsigned n = ranges_up_to(s, address);

    if (n == 0)
        return -1;
    const struct xs_sub_range *r = &s->range[s->order[n - 1]];
    return address - r->address < r->size ? s->order[n - 1] : -1;
}

static int free_number(const struct xs_sub *s)
{
    for (unsigned i = 0; i < XS_SUB_RANGES; i++)
        if (s->range[i].size == 0)
            return (int)i;
    return -1;
}

/* Nothing of [address, address + size) is in a range, and it is a range at all. */
static bool is_new(const struct xs_sub *s, uint64_t address, size_t size)
{
    unsigned n = ranges_up_to(s, address);

    if (size == 0 || address > UINT64_MAX - size)
        return false;
    if (n > 0) {
        const struct xs_sub_range *r = &s->range[s->order[n - 1]];
        if (address - r->address < r->size)
            return false;
    }
    return n == s->ranges || s->range[s->order[n]].address - address >= size;
}

static void becomes_idle(struct xs_sub *s, const struct xs_sub_range *r)
{
    s->idle += r->size;
    s->idle_usable += r->usable;
    s->idle_ranges++;
    if (r->size < s->smallest_idle)
        s->smallest_idle = r->size;
}

static void range_insert(struct xs_sub *s, unsigned number)
{
    unsigned at = ranges_up_to(s, s->range[number].address);

    __builtin_memmove(&s->order[at + 1], &s->order[at], (s->ranges - at) * sizeof(s->order[0]));
    s->order[at] = (uint16_t)number;
    s->ranges++;
}

static void range_remove(struct xs_sub *s, unsigned at, bool moves)
{
    struct xs_sub_range *r = &s->range[s->order[at]];

    s->idle -= r->size;
    s->idle_usable -= r->usable;
    s->idle_ranges--;
    s->reserved -= r->size;
    s->usable -= r->usable;
    if (moves) {
        s->added--;
    } else {
        s->spared++;
        atomic_fetch_sub_explicit(s->held, r->size, memory_order_relaxed);
    }
    *r = (struct xs_sub_range){0};
    s->ranges--;
    __builtin_memmove(&s->order[at], &s->order[at + 1], (s->ranges - at) * sizeof(s->order[0]));
}

static uint64_t held(const struct xs_sub *s)
{
    return atomic_load_explicit(s->held, memory_order_relaxed);
}

static uint64_t room(const struct xs_sub *s)
{
    uint64_t now = held(s);

    return s->limit_bytes > now ? s->limit_bytes - now : 0;
}

/* Two threads may have asked at once; the limit holds for both. */
static bool take_room(struct xs_sub *s, size_t size)
{
    uint64_t now = held(s);

    do {
        if (now > s->limit_bytes || size > s->limit_bytes - now)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(s->held, &now, now + size, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

bool xs_sub_add(struct xs_sub *s, uint64_t address, size_t size)
{
    if (address == 0) {
        s->refused_bytes = size != 0 ? size : s->asked_bytes;
        s->owed_bytes = 0;
        return true;
    }
    if (!take_room(s, size))
        return false;
    if (xs_sub_add_moved(s, address, size))
        return true;
    atomic_fetch_sub_explicit(s->held, size, memory_order_relaxed);
    return false;
}

bool xs_sub_add_moved(struct xs_sub *s, uint64_t address, size_t size)
{
    int number = free_number(s);

    if (number < 0 || !is_new(s, address, size))
        return false;
    struct xs_sub_range *r = &s->range[number];
    uint64_t base = xs_align_up(address, s->align);
    uint64_t end = xs_align_down(address + size, s->align);
    if (base != address)
        s->misaligned = true;
    if (base < address || base >= end)
        return false;
    *r =
        (struct xs_sub_range){.address = address, .size = size, .base = base, .usable = end - base};
    if (!s->kind->adopt(s, (unsigned)number)) {
        *r = (struct xs_sub_range){0};
        return false;
    }
    range_insert(s, (unsigned)number);
    if ((unsigned)number >= s->numbers)
        s->numbers = (unsigned)number + 1;
    s->refused_bytes = 0;
    s->room_wanted = 0;
    s->owed_bytes -= size < s->owed_bytes ? size : s->owed_bytes;
    s->added++;
    s->usable += r->usable;
    s->reserved += size;
    if (s->reserved > s->reserved_peak)
        s->reserved_peak = s->reserved;
    becomes_idle(s, r);
    double next = (double)s->next_bytes * s->growth;
    s->next_bytes = next < (double)s->most_bytes ? (size_t)next : s->most_bytes;
    return true;
}

/* ---- blocks ----------------------------------------------------------------------------- */

/* What is needed grows only here. */
void xs_sub_first_began(struct xs_sub *s, const struct xs_sub_range *r)
{
    s->idle -= r->size;
    s->idle_usable -= r->usable;
    s->idle_ranges--;
    uint64_t demand = s->reserved - s->idle;
    if (demand > s->window_demand)
        s->window_demand = demand;
}

void xs_sub_last_ended(struct xs_sub *s, const struct xs_sub_range *r)
{
    becomes_idle(s, r);
    s->merge_due = s->idle_ranges > 1 && s->idle >= s->reserved / MERGE_PART;
}

XS_COLD static void end_window(struct xs_sub *s)
{
    s->window_left = WINDOW_OPERATIONS;
    s->last_demand = s->window_demand;
    s->window_demand = s->reserved - s->idle;
    /* What is kept unmerged would pin its range for ever. */
    s->kind->settle(s);
}

XS_INLINE void count_operations(struct xs_sub *s, uint32_t n)
{
    if (XS_UNLIKELY(s->window_left <= n))
        end_window(s);
    else
        s->window_left -= n;
}

/* A range more, where any would do. Much of it may never be used, so it is small beside what there
 * is already. */
static size_t step(const struct xs_sub *s)
{
    uint64_t part = (s->reserved + s->owed_bytes) / STEP_PART;

    if (s->ranges == 0 && s->owed_bytes == 0)
        return s->first_bytes;
    part = part < s->next_bytes ? part : s->next_bytes;
    return part > XS_SUB_GRANULE ? (size_t)part : XS_SUB_GRANULE;
}

/* About `about` bytes or more, and in it one or several blocks of `need`, as more of that size are
 * likely to come: so many that little is left over. If there is no such number, and it is not the
 * first range for that size, no whole granules: what is left over in each of many ranges would come
 * to an eighth of all. The first may be the only one, and later be wanted for a size close to it:
 * that gets a little more, where it is not much of it. */
static size_t fitting(struct xs_sub *s, size_t need, size_t about)
{
    size_t most = (size_t)((s->reserved + s->owed_bytes) / FIT_PART);
    size_t first = about > need ? about / need : 1, ask;
    bool is_first = need != s->fitted;

    s->fitted = need;
    for (size_t blocks = first;
         blocks < first + FIT_TRIES && (blocks == first || blocks * need <= most); blocks++) {
        ask = xs_align_up(blocks * need, XS_SUB_GRANULE);
        if (ask - blocks * need <= ask / FIT_OVER)
            return ask;
    }
    ask = xs_align_up(first * need + need / FIT_MORE, XS_SUB_GRANULE);
    if (is_first && ask - first * need <= ask / FIT_MUCH)
        return ask;
    return xs_align_up(first * need, XS_SUB_EXACT);
}

/* The size of the range to ask for, so that `size` fits into it; or nobody can give one. */
static enum xs_sub_result grow(struct xs_sub *s, size_t size, size_t *want)
{
    size_t need = s->kind->rounded(s, size) + (s->misaligned ? s->align : 0);
    uint64_t available = xs_align_down(room(s), s->align);

    if (s->ranges == XS_SUB_RANGES)
        return XS_SUB_NONE;
    if (s->refused_bytes != 0 && need >= s->refused_bytes) {
        s->refused_bytes = 0;
        return XS_SUB_NONE;
    }
    if (need > available) {
        if (need <= s->limit_bytes && held(s) - s->idle <= s->limit_bytes - need)
            s->room_wanted = need;
        return XS_SUB_NONE;
    }
    size_t ask = need <= s->owed_bytes ? s->owed_bytes : fitting(s, need, s->owed_bytes + step(s));
    if (s->ranges == 0 && ask < s->first_bytes)
        ask = s->first_bytes;
    if (s->refused_bytes != 0 && ask > s->refused_bytes / 2)
        ask = s->refused_bytes / 2 > need ? s->refused_bytes / 2 : need;
    if (s->refused_bytes != 0)
        ask = xs_align_up(ask, s->align);
    if (ask > available)
        ask = (size_t)available;
    s->asked_bytes = ask;
    *want = ask;
    return XS_SUB_NEED;
}

enum xs_sub_result xs_sub_alloc(struct xs_sub *s, size_t size, struct xs_sub_block *out,
                                size_t *want)
{
    *want = 0;
    if (size == 0 || size > s->largest)
        return XS_SUB_NONE;
    enum xs_sub_result result = s->kind->take(s, size, out);
    if (XS_LIKELY(result == XS_SUB_OK))
        count_operations(s, 1);
    else if (result == XS_SUB_NEED)
        return grow(s, size, want);
    return result;
}

unsigned xs_sub_alloc_more(struct xs_sub *s, size_t size, unsigned most, struct xs_sub_block *first)
{
    unsigned n = s->kind->more(s, size, most, first);

    count_operations(s, n);
    return n;
}

bool xs_sub_take_back(struct xs_sub *s, uint32_t handle, unsigned n)
{
    return s->kind->take_back(s, handle, n);
}

int xs_sub_free(struct xs_sub *s, uint32_t handle, uint64_t address)
{
    int rc = s->kind->give(s, handle, address);

    if (rc == 0)
        count_operations(s, 1);
    return rc;
}

void xs_sub_free_all(struct xs_sub *s, const struct xs_sub_given given[], unsigned n)
{
    s->kind->give_all(s, given, n);
    count_operations(s, n);
}

void xs_sub_passed_by(struct xs_sub *s, uint32_t operations)
{
    count_operations(s, operations);
}

/* ---- giving back ------------------------------------------------------------------------ */

static uint64_t demand_lately(const struct xs_sub *s)
{
    return s->window_demand > s->last_demand ? s->window_demand : s->last_demand;
}

/* How much of what is wholly free may go: all, or what nobody has needed for a while, or what the
 * limit wants. */
static uint64_t may_go(const struct xs_sub *s, bool all)
{
    uint64_t keep = demand_lately(s);

    if (all)
        return UINT64_MAX;
    return s->reserved > keep ? s->reserved - keep : 0;
}

static uint64_t must_go(const struct xs_sub *s)
{
    return s->room_wanted > room(s) ? s->room_wanted - room(s) : 0;
}

/* Marks ranges as leaving, the newest first: later ones are larger, and the older ones have what
 * the program keeps. */
static unsigned choose(struct xs_sub *s, bool all, unsigned capacity)
{
    uint64_t may = may_go(s, all);
    uint64_t must = must_go(s);
    size_t smallest = SIZE_MAX;
    unsigned n = 0;

    for (unsigned i = s->numbers; i-- > 0;) {
        struct xs_sub_range *r = &s->range[i];
        if (r->size == 0 || r->used != 0)
            continue;
        if (r->cached == 0 && n < capacity && (must > 0 || r->size <= may)) {
            r->leaving = true;
            may -= r->size <= may ? r->size : may;
            must -= r->size <= must ? r->size : must;
            n++;
        } else if (r->size < smallest) {
            smallest = r->size;
        }
    }
    s->smallest_idle = smallest;
    return n;
}

/* Those that are chosen leave. */
static unsigned take_out(struct xs_sub *s, uint64_t address[], size_t size[])
{
    unsigned n = 0;

    s->kind->release(s);
    for (unsigned at = s->ranges; at-- > 0;) {
        const struct xs_sub_range *r = &s->range[s->order[at]];
        if (!r->leaving)
            continue;
        address[n] = r->address;
        size[n] = r->size;
        n++;
        range_remove(s, at, false);
        size_t less = (size_t)((double)s->next_bytes / s->growth);
        s->next_bytes = less > s->first_bytes ? less : s->first_bytes;
    }
    if (s->room_wanted <= room(s))
        s->room_wanted = 0;
    return n;
}

bool xs_sub_spare_due(const struct xs_sub *s)
{
    return s->idle != 0 && (must_go(s) != 0 || s->smallest_idle <= may_go(s, false));
}

unsigned xs_sub_spare(struct xs_sub *s, bool all, uint64_t address[], size_t size[],
                      unsigned capacity)
{
    uint64_t must = must_go(s);

    if (all)
        s->owed_bytes = 0;
    if (s->idle == 0 || capacity == 0 || (!all && !xs_sub_spare_due(s)))
        return 0;
    if (all || must != 0)
        s->kind->settle(s);
    unsigned chosen = choose(s, all, capacity);
    if (chosen < capacity) /* more room than that cannot be made now */
        s->room_wanted = 0;
    return chosen != 0 ? take_out(s, address, size) : 0;
}

void xs_sub_lose(struct xs_sub *s, uint64_t address)
{
    int number = xs_sub_range_at(s, address);

    if (number >= 0)
        s->range[number].lost++;
}

bool xs_sub_lost(const struct xs_sub *s, uint64_t *address, size_t *size)
{
    for (unsigned at = 0; at < s->ranges; at++) {
        const struct xs_sub_range *r = &s->range[s->order[at]];
        if (r->lost == 0 || r->lost != r->used)
            continue;
        *address = r->address;
        *size = r->size;
        return true;
    }
    return false;
}

bool xs_sub_spare_at(struct xs_sub *s, uint64_t address)
{
    uint64_t gone;
    size_t size;
    int number = xs_sub_range_at(s, address);

    if (number < 0 || s->range[number].used != 0)
        return false;
    s->kind->settle(s);
    s->range[number].leaving = true;
    return take_out(s, &gone, &size) == 1;
}

/* The smallest that will do. */
static int idle_for(const struct xs_sub *s, size_t need)
{
    int best = -1;

    for (unsigned at = 0; at < s->ranges; at++) {
        const struct xs_sub_range *r = &s->range[s->order[at]];
        if (r->used == 0 && r->cached == 0 && r->usable >= need &&
            (best < 0 || r->size < s->range[s->order[best]].size))
            best = (int)at;
    }
    return best;
}

bool xs_sub_move_idle(struct xs_sub *s, size_t size, uint64_t *address, size_t *bytes)
{
    int at = s->idle != 0 ? idle_for(s, s->kind->rounded(s, size)) : -1;

    if (at < 0)
        return false;
    struct xs_sub_range *r = &s->range[s->order[at]];
    r->leaving = true;
    *address = r->address;
    *bytes = r->size;
    s->kind->release(s);
    range_remove(s, (unsigned)at, true);
    return true;
}

uint64_t xs_sub_idle_bytes(const struct xs_sub *s)
{
    return s->idle;
}

bool xs_sub_merge_due(struct xs_sub *s)
{
    bool is_due = s->merge_due && s->idle_ranges > 1;

    s->merge_due = false;
    return is_due;
}

void xs_sub_merge_later(struct xs_sub *s)
{
    s->merge_due = true;
}

unsigned xs_sub_merge(struct xs_sub *s, uint64_t address[], size_t size[], unsigned capacity)
{
    uint64_t before = s->reserved;

    if (s->idle_ranges < 2 || capacity == 0)
        return 0;
    s->kind->settle(s);
    if (choose(s, true, capacity) == 0)
        return 0;
    unsigned n = take_out(s, address, size);
    uint64_t lately = demand_lately(s);
    uint64_t most = lately > s->reserved ? lately - s->reserved : 0;
    s->owed_bytes += before - s->reserved;
    s->owed_bytes = s->owed_bytes < most ? s->owed_bytes : most;
    return n;
}

/* ---- looking ---------------------------------------------------------------------------- */

bool xs_sub_find(const struct xs_sub *s, uint64_t address, struct xs_sub_block *out, bool *in_use)
{
    int number = xs_sub_range_at(s, address);

    if (number < 0)
        return false;
    const struct xs_sub_range *r = &s->range[number];
    if (address < r->base || address - r->base >= r->usable) {
        /* What alignment takes off at the ends is nobody's, but of the range. */
        uint64_t from = address < r->base ? r->address : r->base + r->usable;
        uint64_t to = address < r->base ? r->base : r->address + r->size;
        *out = (struct xs_sub_block){.address = from, .size = to - from};
        *in_use = false;
        return true;
    }
    return s->kind->find(s, (unsigned)number, address, out, in_use);
}

void xs_sub_stats_get(const struct xs_sub *s, struct xs_sub_stats *out)
{
    uint64_t free_bytes = s->usable - s->in_use;
    uint64_t largest = free_bytes != 0 ? s->kind->largest_free(s) : 0;

    *out = (struct xs_sub_stats){
        .reserved_bytes = s->reserved,
        .reserved_peak_bytes = s->reserved_peak,
        .in_use_bytes = s->in_use,
        .in_use_peak_bytes = s->in_use_peak,
        .free_bytes = free_bytes,
        .largest_free_bytes = largest,
        .stuck_bytes = free_bytes - s->idle_usable,
        .ranges = s->ranges,
        .ranges_added = s->added,
        .ranges_spared = s->spared,
        .fragmentation = free_bytes == 0 ? 0.0 : 1.0 - (double)largest / (double)free_bytes,
    };
}

bool xs_sub_check(const struct xs_sub *s, struct xs_buf *why)
{
    uint64_t reserved = 0;
    uint64_t usable = 0;
    uint64_t idle = 0;
    uint64_t idle_usable = 0;
    uint64_t end = 0;

    for (unsigned at = 0; at < s->ranges; at++) {
        const struct xs_sub_range *r = &s->range[s->order[at]];
        if (r->size == 0 || r->leaving || r->address < end || r->base < r->address ||
            r->base + r->usable > r->address + r->size) {
            xs_fmt(why, "range %u is out of order", s->order[at]);
            return false;
        }
        end = r->address + r->size;
        reserved += r->size;
        usable += r->usable;
        if (r->used == 0) {
            idle += r->size;
            idle_usable += r->usable;
            if (r->size < s->smallest_idle) {
                xs_fmt(why, "range %u is smaller than the smallest idle one", s->order[at]);
                return false;
            }
        }
    }
    if (reserved != s->reserved || usable != s->usable || idle != s->idle ||
        idle_usable != s->idle_usable || s->in_use > s->usable) {
        xs_put_str(why, "the sums disagree with the ranges");
        return false;
    }
    return s->kind->check(s, why);
}
