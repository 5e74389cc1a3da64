#include "sample/modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/fmt.h"
#include "sys/elf.h"
#include "sys/mem.h"
#include "sys/record.h"

#define MODULES 512
#define PHDRS   16

struct module {
    uintptr_t start;
    uintptr_t end;
    uintptr_t bias;
    uint32_t number; /* in the record, 0: not there yet */
    bool is_permanent;
    bool is_ours;
    ElfW(Half) phdr_count;
    ElfW(Phdr) phdr[PHDRS];
    const char *name; /* the loader's: valid while it is loaded */
};

/* glibc 2.35 and later; its own declaration is not in every header that we are built with. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[7];
};

XS_UNLIKELY_DATA static struct {
    struct module *module; /* a mapping of its own: hardly any process needs it */
    uint32_t count;
    uint32_t by_start[MODULES];
    struct xs_site_modules *section;
    int (*find_object)(void *address, struct found_object *out);
    _Atomic uint64_t closings; /* begun */
    _Atomic uint64_t closed;   /* ended */
    _Atomic uint64_t seen;     /* of those that ended, when the list was last looked through */
    char program[PATH_MAX];
} own;

extern const ElfW(Ehdr) __ehdr_start XS_HIDDEN;

/* ---- the list --------------------------------------------------------------------------- */

/* How many begin at or below the address. */
static uint32_t rank_of(uintptr_t address)
{
    uint32_t low = 0;
    uint32_t high = own.count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (own.module[own.by_start[mid]].start <= address)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct module *find(uintptr_t address)
{
    uint32_t n = rank_of(address);

    if (n == 0)
        return NULL;
    struct module *m = &own.module[own.by_start[n - 1]];
    return address < m->end ? m : NULL;
}

static bool enter(uintptr_t bias, const ElfW(Phdr) * phdr, ElfW(Half) count, const char *name,
                  bool is_permanent)
{
    struct module m = {.bias = bias, .name = name, .is_permanent = is_permanent};

    if (own.module == NULL || own.count == MODULES || count == 0)
        return false;
    m.start = UINTPTR_MAX;
    for (ElfW(Half) i = 0; i < count; i++) {
        if (phdr[i].p_type == PT_LOAD) {
            uintptr_t at = bias + phdr[i].p_vaddr;
            if (at < m.start)
                m.start = at;
            if (at + phdr[i].p_memsz > m.end)
                m.end = at + phdr[i].p_memsz;
        } else if (phdr[i].p_type != PT_GNU_EH_FRAME && phdr[i].p_type != PT_DYNAMIC &&
                   phdr[i].p_type != PT_NOTE) {
            continue;
        }
        if (m.phdr_count < PHDRS)
            m.phdr[m.phdr_count++] = phdr[i];
    }
    if (m.start >= m.end || find(m.start) != NULL)
        return false;
    m.is_ours = bias == (uintptr_t)&__ehdr_start;
    uint32_t at = rank_of(m.start);
    memmove(&own.by_start[at + 1], &own.by_start[at], (own.count - at) * sizeof(own.by_start[0]));
    own.by_start[at] = own.count;
    own.module[own.count++] = m;
    return true;
}

static int enter_first(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    (void)enter(info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum, info->dlpi_name, true);
    return 0;
}

bool xs_modules_open(void)
{
    ssize_t n = readlink("/proc/self/exe", own.program, sizeof(own.program) - 1);

    own.program[n > 0 ? n : 0] = '\0';
    if (own.module == NULL)
        own.module = xs_mem_map(MODULES * sizeof(own.module[0]), 1);
    own.find_object =
        (int (*)(void *, struct found_object *))(uintptr_t)xs_elf_libc("_dl_find_object");
    (void)dl_iterate_phdr(enter_first, NULL);
    return own.find_object != NULL;
}

void xs_modules_record(void)
{
    own.section = xs_record_section(XS_RECORD_MODULES, sizeof(*own.section));
}

struct xs_site_modules *xs_modules_section(void)
{
    return own.section;
}

bool xs_modules_know(uintptr_t address)
{
    return find(address) != NULL;
}

bool xs_modules_is_ours(uintptr_t address)
{
    const struct module *m = find(address);

    return m != NULL && m->is_ours;
}

bool xs_modules_table(uintptr_t address, struct xs_cfi_table *out)
{
    const struct module *m = find(address);

    for (ElfW(Half) i = 0; m != NULL && i < m->phdr_count; i++)
        if (m->phdr[i].p_type == PT_GNU_EH_FRAME) {
            *out = (struct xs_cfi_table){m->bias + m->phdr[i].p_vaddr, m->start, m->end};
            return out->header >= m->start && out->header < m->end;
        }
    return false;
}

bool xs_modules_learn(uintptr_t address)
{
    struct found_object o = {0};

    if (own.find_object == NULL ||
        own.find_object((void *)address, &o) != 0 || // NOLINT(performance-no-int-to-ptr)
        o.link_map == NULL)
        return false;
    /* The loader maps an object from its first page on, where its own description lies. */
    const ElfW(Ehdr) *e = o.map_start;
    if (memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 || e->e_phentsize != sizeof(ElfW(Phdr)) ||
        e->e_phoff > (uintptr_t)o.map_end - (uintptr_t)o.map_start)
        return false;
    const ElfW(Phdr) *phdr = (const void *)((const char *)e + e->e_phoff);
    return enter(o.link_map->l_addr, phdr, e->e_phnum, o.link_map->l_name, false);
}

/* Nothing that was there at start goes; the rest is asked for again when it is met again. */
static void forget(void)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < own.count; i++)
        if (own.module[i].is_permanent)
            own.module[kept++] = own.module[i];
    own.count = 0;
    for (uint32_t i = 0; i < kept; i++) {
        uint32_t at = rank_of(own.module[i].start);
        memmove(&own.by_start[at + 1], &own.by_start[at],
                (own.count - at) * sizeof(own.by_start[0]));
        own.by_start[at] = i;
        own.count++;
    }
}

void xs_modules_closing(void)
{
    atomic_fetch_add_explicit(&own.closings, 1, memory_order_seq_cst);
}

void xs_modules_closed(void)
{
    atomic_fetch_add_explicit(&own.closed, 1, memory_order_seq_cst);
}

/* What is unmapped is so between the two counts: while they differ, nothing is taken as known. */
bool xs_modules_is_fresh(void)
{
    uint64_t closed = atomic_load_explicit(&own.closed, memory_order_seq_cst);

    return closed == atomic_load_explicit(&own.closings, memory_order_seq_cst) &&
           closed == atomic_load_explicit(&own.seen, memory_order_relaxed);
}

bool xs_modules_refresh(void)
{
    uint64_t closed = atomic_load_explicit(&own.closed, memory_order_seq_cst);

    if (xs_modules_is_fresh())
        return false;
    atomic_store_explicit(&own.seen, closed, memory_order_relaxed);
    forget();
    return true;
}

/* ---- in the record ---------------------------------------------------------------------- */

static void read_build_id(const struct module *m, struct xs_site_module *out)
{
    for (ElfW(Half) i = 0; i < m->phdr_count; i++) {
        if (m->phdr[i].p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(m->bias + m->phdr[i].p_vaddr); // NOLINT
        const char *end = at + m->phdr[i].p_memsz;
        while ((size_t)(end - at) > sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *n = (const void *)at;
            size_t name = (n->n_namesz + 3u) & ~(size_t)3;
            size_t desc = (n->n_descsz + 3u) & ~(size_t)3;
            if (name + desc > (size_t)(end - at) - sizeof(*n))
                break;
            at += sizeof(*n);
            if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && memcmp(at, "GNU", 4) == 0) {
                out->build_id_bytes = n->n_descsz < sizeof(out->build_id)
                                          ? n->n_descsz
                                          : (uint32_t)sizeof(out->build_id);
                memcpy(out->build_id, at + name, out->build_id_bytes);
                return;
            }
            at += name + desc;
        }
    }
}

/* The same file loaded again, perhaps elsewhere, keeps its number. */
static uint32_t number_of(struct module *m)
{
    struct xs_site_modules *t = own.section;
    struct xs_site_module new = {.start = m->start, .end = m->end, .bias = m->bias};
    struct xs_buf path;
    uint32_t count;

    if (m->number != 0 || t == NULL)
        return m->number;
    read_build_id(m, &new);
    xs_buf_init(&path, new.path, sizeof(new.path));
    xs_put_str(&path, m->name != NULL && m->name[0] != '\0' ? m->name : own.program);
    count = atomic_load_explicit(&t->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct xs_site_module *old = &t->module[i];
        if (strcmp(old->path, new.path) == 0 && old->build_id_bytes == new.build_id_bytes &&
            memcmp(old->build_id, new.build_id, new.build_id_bytes) == 0 &&
            old->end - old->start == new.end - new.start) {
            old->start = new.start;
            old->end = new.end;
            old->bias = new.bias;
            return m->number = i + 1;
        }
    }
    if (count == XS_SITE_MODULES)
        return 0;
    t->module[count] = new;
    atomic_store_explicit(&t->count, count + 1, memory_order_release);
    return m->number = count + 1;
}

uint64_t xs_modules_frame(uintptr_t address)
{
    struct module *m = find(address);
    uint32_t number = m != NULL ? number_of(m) : 0;

    return number != 0 ? XS_FRAME(number, address - m->bias) : XS_FRAME(0, address);
}

void xs_modules_fork_child(void)
{
    for (uint32_t i = 0; i < own.count; i++)
        own.module[i].number = 0;
}

int xs_modules_each(int (*use)(struct dl_phdr_info *info, size_t size, void *arg), void *arg)
{
    int rc = 0;

    for (uint32_t i = 0; i < own.count && rc == 0; i++) {
        const struct module *m = &own.module[i];
        struct dl_phdr_info info = {
            .dlpi_addr = m->bias,
            .dlpi_name = m->name,
            .dlpi_phdr = m->phdr,
            .dlpi_phnum = m->phdr_count,
        };
        rc = use(&info, sizeof(info), arg);
    }
    return rc;
}
