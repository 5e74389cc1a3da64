#include "sample/cfi.h"

#include <string.h>

#if defined(__x86_64__)
#define REG_FP 6
#define REG_SP 7
#else
#define REG_FP 29
#define REG_SP 31
#endif

#define REMEMBERED 8

/* ---- reading ---------------------------------------------------------------------------- */

struct reader {
    uintptr_t at;
    uintptr_t end;
    bool failed;
};

static uint64_t take(struct reader *r, size_t bytes)
{
    uint64_t v = 0;

    if (r->failed || r->at == 0 || r->end - r->at < bytes) {
        r->failed = true;
        return 0;
    }
    memcpy(&v, (const void *)r->at, bytes); // NOLINT(performance-no-int-to-ptr)
    r->at += bytes;
    return v;
}

static void skip(struct reader *r, uint64_t bytes)
{
    if (r->end - r->at < bytes)
        r->failed = true;
    else
        r->at += bytes;
}

static int64_t take_signed(struct reader *r, size_t bytes)
{
    uint64_t v = take(r, bytes);

    return bytes == 4 ? (int32_t)v : (int64_t)v;
}

static uint64_t leb(struct reader *r, bool is_signed)
{
    uint64_t v = 0;
    unsigned shift = 0;
    uint64_t byte;

    do {
        byte = take(r, 1);
        if (shift < 64)
            v |= (byte & 0x7F) << shift;
        shift += 7;
    } while (byte & 0x80);
    if (is_signed && (byte & 0x40) && shift < 64)
        v |= ~UINT64_C(0) << shift;
    return v;
}

static uint64_t uleb(struct reader *r)
{
    return leb(r, false);
}

static int64_t sleb(struct reader *r)
{
    return (int64_t)leb(r, true);
}

/* Of an encoded pointer; 0: of none that is in use here. */
static size_t bytes_of(uint8_t encoding)
{
    switch (encoding & 0x0F) {
    case 0x03:
    case 0x0B:
        return 4;
    case 0x00:
    case 0x04:
    case 0x0C:
        return 8;
    default:
        return 0;
    }
}

/* Absolute, or relative to where it stands. */
static uintptr_t take_pointer(struct reader *r, uint8_t encoding)
{
    uintptr_t at = r->at;
    size_t bytes = bytes_of(encoding);

    if (bytes == 0 || (encoding & 0xF0 & ~0x10) != 0) {
        r->failed = true;
        return 0;
    }
    int64_t v = take_signed(r, bytes);
    return (uintptr_t)v + ((encoding & 0x10) != 0 ? at : 0);
}

/* ---- the description of a function ------------------------------------------------------ */

struct entry {
    struct reader first; /* instructions of all that share them, then its own */
    struct reader own;
    uintptr_t start; /* of the code */
    uintptr_t bytes;
    uint64_t code_unit;
    int64_t data_unit;
    uint64_t ra;
    uint8_t encoding;
    bool has_data; /* of augmentation, which can be skipped */
    bool is_usable;
};

/* The part that is shared. */
static void read_shared(struct entry *e, const struct xs_cfi_table *t, uintptr_t at)
{
    struct reader r = {at, t->end, false};
    const char *more;

    uint64_t bytes = take(&r, 4);
    if (bytes == 0 || bytes >= 0xFFFFFFF0 || bytes > r.end - r.at)
        return;
    r.end = r.at + bytes;
    uint64_t id = take(&r, 4);
    uint64_t version = take(&r, 1);
    if (r.failed || id != 0 || (version != 1 && version != 3))
        return;
    more = (const char *)r.at; // NOLINT(performance-no-int-to-ptr)
    skip(&r, strnlen(more, r.end - r.at) + 1);
    e->code_unit = uleb(&r);
    e->data_unit = sleb(&r);
    e->ra = version == 1 ? take(&r, 1) : uleb(&r);
    if (r.failed || (*more != '\0' && *more != 'z'))
        return;
    if (*more == 'z') {
        e->has_data = true;
        struct reader data = r;
        skip(&r, uleb(&r));
        (void)uleb(&data);
        for (more++; *more != '\0'; more++) {
            uint8_t encoding = (uint8_t)take(&data, 1);
            if (*more == 'R')
                e->encoding = encoding;
            else if (*more == 'P' && bytes_of(encoding) != 0)
                skip(&data, bytes_of(encoding));
            else if (*more != 'L')
                return; /* of a signal's frame, or signed addresses */
        }
        if (data.failed)
            return;
    }
    e->first = r;
    e->is_usable = !r.failed;
}

static struct entry read_entry(const struct xs_cfi_table *t, uintptr_t at)
{
    struct entry e = {0};
    struct reader r = {at, t->end, false};

    uint64_t bytes = take(&r, 4);
    if (r.failed || bytes == 0 || bytes >= 0xFFFFFFF0 || bytes > r.end - r.at)
        return e;
    r.end = r.at + bytes;
    uintptr_t here = r.at;
    uint64_t back = take(&r, 4);
    if (back == 0 || back > here - t->start)
        return e;
    read_shared(&e, t, here - back);
    if (!e.is_usable)
        return e;
    e.start = take_pointer(&r, e.encoding);
    e.bytes = (uintptr_t)take_pointer(&r, e.encoding & 0x0F);
    if (e.has_data)
        skip(&r, uleb(&r));
    e.own = r;
    e.is_usable = !r.failed;
    return e;
}

/* The last one that begins at or below the address; 0: none. */
static uintptr_t search(const struct xs_cfi_table *t, uintptr_t address)
{
    struct reader r = {t->header, t->end, false};

    uint64_t version = take(&r, 1);
    uint8_t frame = (uint8_t)take(&r, 1);
    uint8_t count_encoding = (uint8_t)take(&r, 1);
    uint8_t table = (uint8_t)take(&r, 1);
    if (r.failed || version != 1 || bytes_of(frame) == 0 || count_encoding != 0x03 || table != 0x3B)
        return 0;
    skip(&r, bytes_of(frame));
    uint64_t count = take(&r, 4);
    if (r.failed || count > (r.end - r.at) / 8)
        return 0;
    const int32_t(*row)[2] = (const void *)r.at; // NOLINT(performance-no-int-to-ptr)
    uint64_t low = 0;
    uint64_t high = count;
    while (low < high) {
        uint64_t mid = (low + high) / 2;
        if (t->header + (uintptr_t)(intptr_t)row[mid][0] <= address)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? 0 : t->header + (uintptr_t)(intptr_t)row[low - 1][1];
}

/* ---- its instructions ------------------------------------------------------------------- */

enum where { KEPT, AT_CFA, AT_FP, LOST, UNUSABLE };

struct place {
    enum where where;
    int64_t offset;
};

struct state {
    uint64_t cfa_reg;
    bool cfa_is_usable;
    bool is_deref; /* the frame's address lies there */
    int64_t cfa_offset;
    struct place fp;
    struct place ra;
};

struct machine {
    const struct entry *e;
    struct state now;
    struct state at_first; /* after the shared instructions */
    struct state remembered[REMEMBERED];
    unsigned depth;
    uintptr_t here;
};

static void set(struct machine *m, uint64_t reg, enum where where, int64_t offset)
{
    if (reg == REG_FP)
        m->now.fp = (struct place){where, offset};
    else if (reg == m->e->ra)
        m->now.ra = (struct place){where, offset};
}

static void restore(struct machine *m, uint64_t reg)
{
    if (reg == REG_FP)
        m->now.fp = m->at_first.fp;
    else if (reg == m->e->ra)
        m->now.ra = m->at_first.ra;
}

/* "The frame pointer and N", and "what lies there": of functions that align their stack. */
static bool is_at_fp(struct reader *r, bool is_deref, int64_t *offset)
{
    struct reader expression = *r;
    uint64_t bytes = uleb(&expression);

    *r = expression;
    skip(r, bytes);
    if (r->failed)
        return false;
    expression.end = r->at;
    uint64_t op = take(&expression, 1);
    *offset = sleb(&expression);
    if (op != 0x70 + REG_FP || (is_deref && take(&expression, 1) != 0x06))
        return false;
    return !expression.failed && expression.at == expression.end;
}

static void set_cfa(struct machine *m, uint64_t reg, int64_t offset)
{
    m->now.cfa_reg = reg;
    m->now.cfa_offset = offset;
    m->now.cfa_is_usable = true;
    m->now.is_deref = false;
}

/* Those with their operand in six bits. True: it was one. */
static bool step_short(struct machine *m, struct reader *r, uint64_t op)
{
    switch (op >> 6) {
    case 1:
        m->here += (op & 0x3F) * m->e->code_unit;
        return true;
    case 2:
        set(m, op & 0x3F, AT_CFA, (int64_t)uleb(r) * m->e->data_unit);
        return true;
    case 3:
        restore(m, op & 0x3F);
        return true;
    default:
        return false;
    }
}

/* Those that say how the frame's address is had. */
static bool step_cfa(struct machine *m, struct reader *r, uint64_t op)
{
    uint64_t reg;

    switch (op) {
    case 0x0C: /* def_cfa */
        reg = uleb(r);
        set_cfa(m, reg, (int64_t)uleb(r));
        return true;
    case 0x12: /* def_cfa_sf */
        reg = uleb(r);
        set_cfa(m, reg, sleb(r) * m->e->data_unit);
        return true;
    case 0x0D: /* def_cfa_register */
        m->now.cfa_reg = uleb(r);
        return true;
    case 0x0E: /* def_cfa_offset */
        m->now.cfa_offset = (int64_t)uleb(r);
        return true;
    case 0x13: /* def_cfa_offset_sf */
        m->now.cfa_offset = sleb(r) * m->e->data_unit;
        return true;
    case 0x0F: /* def_cfa_expression */
        m->now.cfa_reg = REG_FP;
        m->now.is_deref = true;
        m->now.cfa_is_usable = is_at_fp(r, true, &m->now.cfa_offset);
        return true;
    default:
        return false;
    }
}

/* Those that say where a register is. */
static bool step_place(struct machine *m, struct reader *r, uint64_t op)
{
    uint64_t reg = uleb(r);
    int64_t offset = 0;

    switch (op) {
    case 0x05: /* offset_extended */
        set(m, reg, AT_CFA, (int64_t)uleb(r) * m->e->data_unit);
        return true;
    case 0x11: /* offset_extended_sf */
        set(m, reg, AT_CFA, sleb(r) * m->e->data_unit);
        return true;
    case 0x06: /* restore_extended */
        restore(m, reg);
        return true;
    case 0x07: /* undefined */
        set(m, reg, LOST, 0);
        return true;
    case 0x08: /* same_value */
        set(m, reg, KEPT, 0);
        return true;
    case 0x09: /* register */
        (void)uleb(r);
        set(m, reg, UNUSABLE, 0);
        return true;
    case 0x10: /* expression */
        set(m, reg, is_at_fp(r, false, &offset) ? AT_FP : UNUSABLE, offset);
        return true;
    case 0x14: /* val_offset */
    case 0x15: /* val_offset_sf */
        (void)uleb(r);
        set(m, reg, UNUSABLE, 0);
        return true;
    case 0x16: /* val_expression */
        skip(r, uleb(r));
        set(m, reg, UNUSABLE, 0);
        return true;
    default:
        return false;
    }
}

/* False: nothing that is known here. An advance changes nothing else. */
static bool step(struct machine *m, struct reader *r)
{
    uint64_t op = take(r, 1);

    if (step_short(m, r, op) || step_cfa(m, r, op))
        return true;
    switch (op) {
    case 0x00: /* nop */
        return true;
    case 0x01: /* set_loc */
        m->here = take_pointer(r, m->e->encoding);
        return true;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        m->here += take(r, (size_t)1 << (op - 2)) * m->e->code_unit;
        return true;
    case 0x0A: /* remember_state */
        if (m->depth == REMEMBERED)
            return false;
        m->remembered[m->depth++] = m->now;
        return true;
    case 0x0B: /* restore_state */
        if (m->depth == 0)
            return false;
        m->now = m->remembered[--m->depth];
        return true;
    case 0x2E: /* GNU_args_size */
        (void)uleb(r);
        return true;
    default:
        return step_place(m, r, op);
    }
}

static bool run(struct machine *m, struct reader r, uintptr_t address)
{
    while (r.at < r.end && m->here <= address)
        if (!step(m, &r) || r.failed)
            return false;
    return true;
}

static bool fits(int64_t offset)
{
    return offset == (int32_t)offset;
}

static struct xs_cfi rule_of(const struct state *s)
{
    struct xs_cfi none = {0};
    struct xs_cfi rule = {
        .kind = XS_CFI_CALLER,
        .cfa = s->is_deref            ? XS_CFI_AT_FP
               : s->cfa_reg == REG_SP ? XS_CFI_SP_PLUS
                                      : XS_CFI_FP_PLUS,
        .fp = s->fp.where == AT_CFA  ? XS_CFI_FP_AT_CFA
              : s->fp.where == AT_FP ? XS_CFI_FP_AT_FP
                                     : XS_CFI_FP_SAME,
        .cfa_offset = (int32_t)s->cfa_offset,
        .fp_offset = (int32_t)s->fp.offset,
        .ra_offset = (int32_t)s->ra.offset,
    };

    if (s->ra.where == LOST)
        return (struct xs_cfi){.kind = XS_CFI_FIRST};
    if (!s->cfa_is_usable || (s->cfa_reg != REG_SP && s->cfa_reg != REG_FP) ||
        s->ra.where != AT_CFA || s->fp.where == UNUSABLE || !fits(s->cfa_offset) ||
        !fits(s->fp.offset) || !fits(s->ra.offset))
        return none;
    return rule;
}

struct xs_cfi xs_cfi_find(const struct xs_cfi_table *t, uintptr_t address)
{
    struct machine m = {0};
    struct xs_cfi none = {0};
    uintptr_t at = search(t, address);

    if (at < t->start || at >= t->end)
        return none;
    struct entry e = read_entry(t, at);
    if (!e.is_usable || address - e.start >= e.bytes)
        return none;
    m.e = &e;
    if (!run(&m, e.first, address))
        return none;
    m.at_first = m.now;
    m.here = e.start;
    if (!run(&m, e.own, address))
        return none;
    return rule_of(&m.now);
}
