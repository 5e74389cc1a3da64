#include "sys/elf.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "base/align.h"
#include "sys/mem.h"

struct object {
    ElfW(Addr) base;
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash;
    const uint32_t *sysv_hash;
};

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static bool is_ours(const struct link_map *map)
{
    return map->l_addr == (ElfW(Addr))(uintptr_t)&__ehdr_start;
}

/* glibc relocates these pointers in place, except in objects whose dynamic section is read-only. */
static const void *dyn_pointer(const struct link_map *map, const ElfW(Dyn) * d)
{
    ElfW(Addr) at = d->d_un.d_ptr;

    return (const void *)(uintptr_t)(at < map->l_addr ? at + map->l_addr : at);
}

static bool object_open(const struct link_map *map, struct object *o)
{
    *o = (struct object){.base = map->l_addr};
    if (map->l_ld == NULL)
        return false;
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB)
            o->symbols = dyn_pointer(map, d);
        else if (d->d_tag == DT_STRTAB)
            o->strings = dyn_pointer(map, d);
        else if (d->d_tag == DT_GNU_HASH)
            o->gnu_hash = dyn_pointer(map, d);
        else if (d->d_tag == DT_HASH)
            o->sysv_hash = dyn_pointer(map, d);
    }
    return o->symbols != NULL && o->strings != NULL;
}

/* Not strcmp: dlsym and mallopt come here, and what puts itself in front of libc (the runtimes of
 * sanitizers) asks dlsym for the function that its own strcmp is to call, and calls mallopt first.
 */
static bool same_name(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b)
        a++, b++;
    return *a == *b;
}

static void *symbol_value(const struct object *o, uint32_t index, const char *name)
{
    const ElfW(Sym) *s = &o->symbols[index];
    unsigned type = ELF64_ST_TYPE(s->st_info);

    if (s->st_shndx == SHN_UNDEF || s->st_value == 0)
        return NULL;
    if (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE)
        return NULL;
    if (!same_name(o->strings + s->st_name, name))
        return NULL;
    return (void *)(uintptr_t)(o->base + s->st_value);
}

static void *find_gnu(const struct object *o, const char *name)
{
    const uint32_t *h = o->gnu_hash;
    uint32_t bucket_count = h[0];
    uint32_t first = h[1];
    uint32_t bloom_words = h[2];
    const uint32_t *buckets = h + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
    const uint32_t *chain = buckets + bucket_count;
    uint32_t hash = 5381;

    for (const char *c = name; *c != '\0'; c++)
        hash = hash * 33 + (unsigned char)*c;
    if (bucket_count == 0)
        return NULL;
    uint32_t i = buckets[hash % bucket_count];
    if (i < first)
        return NULL;
    for (;; i++) {
        uint32_t entry = chain[i - first];
        if ((entry | 1) == (hash | 1)) {
            void *value = symbol_value(o, i, name);
            if (value != NULL)
                return value;
        }
        if ((entry & 1) != 0)
            return NULL;
    }
}

static void *find_sysv(const struct object *o, const char *name)
{
    const uint32_t *h = o->sysv_hash;
    uint32_t bucket_count = h[0];
    const uint32_t *buckets = h + 2;
    const uint32_t *chain = buckets + bucket_count;
    uint32_t hash = 0;

    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash ^= (hash >> 24) & 0xF0;
        hash &= 0x0FFFFFFF;
    }
    if (bucket_count == 0)
        return NULL;
    for (uint32_t i = buckets[hash % bucket_count]; i != STN_UNDEF; i = chain[i]) {
        void *value = symbol_value(o, i, name);
        if (value != NULL)
            return value;
    }
    return NULL;
}

static void *find_in(const struct link_map *map, const char *name)
{
    struct object o;

    if (!object_open(map, &o))
        return NULL;
    if (o.gnu_hash != NULL)
        return find_gnu(&o, name);
    return o.sysv_hash != NULL ? find_sysv(&o, name) : NULL;
}

void *xs_elf_in(const void *link_map, const char *name)
{
    return find_in(link_map, name);
}

/* Tables of relocations: those of calls, and the others, where imports stand that are not called
 * lazily. */
struct relocations {
    const ElfW(Rela) * calls;
    size_t calls_bytes;
    const ElfW(Rela) * rest;
    size_t rest_bytes;
};

static struct relocations relocations_of(const struct link_map *map)
{
    struct relocations r = {0};

    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_JMPREL)
            r.calls = dyn_pointer(map, d);
        else if (d->d_tag == DT_PLTRELSZ)
            r.calls_bytes = d->d_un.d_val;
        else if (d->d_tag == DT_RELA)
            r.rest = dyn_pointer(map, d);
        else if (d->d_tag == DT_RELASZ)
            r.rest_bytes = d->d_un.d_val;
    }
    return r;
}

/* The word may have been made read-only when the object was relocated. */
static bool set_word(uintptr_t at, const void *to)
{
    size_t page = xs_mem_page();
    void *start = (void *)(at & ~(page - 1)); // NOLINT(performance-no-int-to-ptr)

    if (xs_mem_writable(start, page) != 0)
        return false;
    *(const void **)at = to; // NOLINT(performance-no-int-to-ptr)
    return true;
}

#if defined(__x86_64__)
#define R_IMPORTED R_X86_64_GLOB_DAT
#define R_CALLED   R_X86_64_JUMP_SLOT
#else
#define R_IMPORTED R_AARCH64_GLOB_DAT
#define R_CALLED   R_AARCH64_JUMP_SLOT
#endif

static bool redirect(const struct object *o, const ElfW(Rela) * r, size_t bytes, const char *name,
                     const void *to)
{
    bool any = false;

    for (size_t i = 0; r != NULL && i < bytes / sizeof(*r); i++) {
        unsigned long type = ELF64_R_TYPE(r[i].r_info);
        const ElfW(Sym) *s = &o->symbols[ELF64_R_SYM(r[i].r_info)];
        if ((type == R_IMPORTED || type == R_CALLED) && strcmp(o->strings + s->st_name, name) == 0)
            any |= set_word(o->base + r[i].r_offset, to);
    }
    return any;
}

bool xs_elf_redirect(const void *link_map, const char *name, const void *to)
{
    struct relocations r = relocations_of(link_map);
    struct object o;

    if (!object_open(link_map, &o))
        return false;
    bool called = redirect(&o, r.calls, r.calls_bytes, name, to);
    return redirect(&o, r.rest, r.rest_bytes, name, to) || called;
}

static bool imports(const struct object *o, const ElfW(Rela) * r, size_t bytes, const char *names)
{
    for (size_t i = 0; r != NULL && i < bytes / sizeof(*r); i++) {
        unsigned long type = ELF64_R_TYPE(r[i].r_info);
        const char *name = o->strings + o->symbols[ELF64_R_SYM(r[i].r_info)].st_name;
        for (const char *n = names; *n != '\0'; n += strlen(n) + 1)
            if ((type == R_IMPORTED || type == R_CALLED) && strcmp(name, n) == 0)
                return true;
    }
    return false;
}

static bool object_imports(const struct link_map *map, const char *names)
{
    struct relocations r;
    struct object o;

    if (!object_open(map, &o))
        return false;
    r = relocations_of(map);
    return imports(&o, r.calls, r.calls_bytes, names) || imports(&o, r.rest, r.rest_bytes, names);
}

static const char *base_name(const char *path)
{
    const char *name = path;

    for (; *path != '\0'; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

const char *xs_elf_loaded(const char *prefix, const char *other)
{
    for (const struct link_map *m = _r_debug.r_map; m != NULL; m = m->l_next) {
        const char *name = base_name(m->l_name);
        if (strncmp(name, prefix, strlen(prefix)) == 0 && strncmp(name, other, strlen(other)) != 0)
            return m->l_name;
    }
    return NULL;
}

void *xs_elf_libc(const char *name)
{
    for (const struct link_map *m = _r_debug.r_map; m != NULL; m = m->l_next)
        if (same_name(base_name(m->l_name), "libc.so.6"))
            return find_in(m, name);
    return NULL;
}

void *xs_elf_next(const char *name)
{
    bool after_us = false;

    for (const struct link_map *m = _r_debug.r_map; m != NULL; m = m->l_next) {
        if (after_us) {
            void *value = find_in(m, name);
            if (value != NULL)
                return value;
        } else {
            after_us = is_ours(m);
        }
    }
    return NULL;
}

const void *xs_elf_imported(const char *names, const char **object)
{
    const struct link_map *owner = _r_debug.r_map;

    while (owner != NULL && find_in(owner, names) == NULL)
        owner = owner->l_next;
    if (owner == NULL)
        return NULL;
    for (const struct link_map *m = _r_debug.r_map; m != NULL; m = m->l_next)
        if (m != owner && object_imports(m, names)) {
            *object = owner->l_name;
            return owner;
        }
    return NULL;
}

const void *xs_elf_defining(const char *names, const char *part, const char **object)
{
    for (const struct link_map *m = _r_debug.r_map; m != NULL; m = m->l_next) {
        if (strstr(m->l_name, part) == NULL)
            continue;
        for (const char *n = names; *n != '\0'; n += strlen(n) + 1)
            if (find_in(m, n) != NULL) {
                *object = m->l_name;
                return m;
            }
    }
    return NULL;
}

void *xs_elf_before(const char *name, const char **object)
{
    for (const struct link_map *m = _r_debug.r_map; m != NULL && !is_ours(m); m = m->l_next) {
        void *value = find_in(m, name);
        if (value != NULL) {
            *object = m->l_name;
            return value;
        }
    }
    return NULL;
}
