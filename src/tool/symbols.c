#include "tool/symbols.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- libdw, as its manual has it --------------------------------------------------------- */

#define TAG_INLINED    0x1d
#define TAG_SUBPROGRAM 0x2e
#define AT_CALL_FILE   0x58
#define AT_CALL_LINE   0x59
#define AT_LINKAGE     0x6e
#define AT_LINKAGE_OLD 0x2007

typedef struct {
    void *addr;
    void *cu;
    void *abbrev;
    long unused;
} die_t;

typedef struct {
    unsigned code;
    unsigned form;
    void *value;
    void *cu;
} attribute_t;

struct callbacks {
    void *find_elf;
    void *find_debuginfo;
    void *section_address;
    char **debuginfo_path;
};

/* X(result, name, arguments) */
#define CALLS(X)                                                                                   \
    X(void *, dwfl_begin, (const struct callbacks *))                                              \
    X(void *, dwfl_report_offline, (void *, const char *, const char *, int))                      \
    X(int, dwfl_report_end, (void *, void *, void *))                                              \
    X(void *, dwfl_module_getelf, (void *, uint64_t *))                                            \
    X(int, dwfl_module_build_id, (void *, const unsigned char **, uint64_t *))                     \
    X(const char *, dwfl_module_addrname, (void *, uint64_t))                                      \
    X(void *, dwfl_module_getsrc, (void *, uint64_t))                                              \
    X(const char *, dwfl_lineinfo, (void *, uint64_t *, int *, int *, uint64_t *, uint64_t *))     \
    X(die_t *, dwfl_module_addrdie, (void *, uint64_t, uint64_t *))                                \
    X(int, dwarf_getscopes, (die_t *, uint64_t, die_t **))                                         \
    X(int, dwarf_getscopes_die, (die_t *, die_t **))                                               \
    X(int, dwarf_tag, (die_t *))                                                                   \
    X(const char *, dwarf_diename, (die_t *))                                                      \
    X(attribute_t *, dwarf_attr, (die_t *, unsigned, attribute_t *))                               \
    X(attribute_t *, dwarf_attr_integrate, (die_t *, unsigned, attribute_t *))                     \
    X(const char *, dwarf_formstring, (attribute_t *))                                             \
    X(int, dwarf_formudata, (attribute_t *, uint64_t *))                                           \
    X(int, dwarf_getsrcfiles, (die_t *, void **, size_t *))                                        \
    X(const char *, dwarf_filesrc, (void *, size_t, uint64_t *, uint64_t *))

static struct {
#define X(result, name, arguments) result(*name) arguments;
    CALLS(X)
#undef X
    void *standard_find_debuginfo;
    void *offline_section_address;
} dw;

static struct {
    bool is_tried;
    bool is_there;
    const char *trouble;
    char *(*demangle)(const char *name, char *out, size_t *length, int *status);
} own;

static bool open_libdw(void)
{
    void *library = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    bool all = library != NULL;

    if (!all) {
        own.trouble = "libdw.so.1 (elfutils) is not installed: no names of functions";
        return false;
    }
#define X(result, name, arguments)                                                                 \
    dw.name = (result(*) arguments)(uintptr_t)dlsym(library, #name);                               \
    all = all && dw.name != NULL;
    CALLS(X)
#undef X
    dw.standard_find_debuginfo = dlsym(library, "dwfl_standard_find_debuginfo");
    dw.offline_section_address = dlsym(library, "dwfl_offline_section_address");
    if (!all || dw.standard_find_debuginfo == NULL || dw.offline_section_address == NULL) {
        own.trouble = "this libdw.so.1 lacks what is needed: no names of functions";
        return false;
    }
    return true;
}

static bool is_open(void)
{
    if (own.is_tried)
        return own.is_there;
    own.is_tried = true;
    /* It would ask servers for what this machine lacks. */
    unsetenv("DEBUGINFOD_URLS");
    own.is_there = open_libdw();
    void *cxx = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
    if (cxx != NULL)
        own.demangle = (char *(*)(const char *, char *, size_t *, int *))(uintptr_t)dlsym(
            cxx, "__cxa_demangle");
    return own.is_there;
}

const char *xs_symbols_trouble(void)
{
    const char *trouble = own.trouble;

    own.trouble = NULL;
    return trouble;
}

/* ---- modules ------------------------------------------------------------------------------ */

struct module {
    struct module *next;
    void *at; /* libdw's; NULL: no names are to be had */
    uint64_t bias;
    uint8_t id[32];
    size_t id_bytes;
    char path[];
};

static struct module *modules;

static void *open_module(const char *path, const uint8_t *id, size_t id_bytes, uint64_t *bias)
{
    static struct callbacks calls;
    const unsigned char *found;
    uint64_t at;
    struct stat st;

    /* A device or a pipe would be waited for. */
    if (path[0] != '/' || stat(path, &st) != 0 || !S_ISREG(st.st_mode) || !is_open())
        return NULL;
    calls.find_debuginfo = dw.standard_find_debuginfo;
    calls.section_address = dw.offline_section_address;
    void *session = dw.dwfl_begin(&calls);
    if (session == NULL)
        return NULL;
    void *m = dw.dwfl_report_offline(session, path, path, -1);
    (void)dw.dwfl_report_end(session, NULL, NULL);
    if (m == NULL || dw.dwfl_module_getelf(m, bias) == NULL)
        return NULL;
    /* Another build has other addresses. */
    int n = dw.dwfl_module_build_id(m, &found, &at);
    if (id_bytes != 0 && (n < 0 || (size_t)n != id_bytes || memcmp(found, id, id_bytes) != 0))
        return NULL;
    return m;
}

static struct module *find_module(const char *path, const uint8_t *id, size_t id_bytes)
{
    struct module *m = modules;

    while (m != NULL && (strcmp(m->path, path) != 0 || m->id_bytes != id_bytes ||
                         (id_bytes != 0 && memcmp(m->id, id, id_bytes) != 0)))
        m = m->next;
    if (m != NULL)
        return m;
    m = calloc(1, sizeof(*m) + strlen(path) + 1);
    if (m == NULL)
        return NULL;
    memcpy(m->path, path, strlen(path) + 1);
    m->id_bytes = id_bytes;
    if (id_bytes != 0)
        memcpy(m->id, id, id_bytes);
    m->at = open_module(path, id, id_bytes, &m->bias);
    m->next = modules;
    modules = m;
    return m;
}

/* ---- names -------------------------------------------------------------------------------- */

static const char *readable(const char *name)
{
    int status = -1;
    char *plain = NULL;

    if (name != NULL && strncmp(name, "_Z", 2) == 0 && own.demangle != NULL)
        plain = own.demangle(name, NULL, NULL, &status);
    return plain != NULL && status == 0 ? plain : name;
}

static const char *name_of(die_t *d)
{
    attribute_t a;
    attribute_t *found = dw.dwarf_attr_integrate(d, AT_LINKAGE, &a);

    if (found == NULL)
        found = dw.dwarf_attr_integrate(d, AT_LINKAGE_OLD, &a);
    const char *linkage = found != NULL ? dw.dwarf_formstring(found) : NULL;
    return readable(linkage != NULL ? linkage : dw.dwarf_diename(d));
}

static uint64_t number_of(die_t *d, unsigned name)
{
    attribute_t a;
    uint64_t n = 0;

    if (dw.dwarf_attr(d, name, &a) == NULL || dw.dwarf_formudata(&a, &n) != 0)
        return 0;
    return n;
}

/* Where the inlined function was called. */
static void move_to_call(die_t *cu, die_t *d, struct xs_frame_line *f)
{
    void *files;
    size_t count;
    uint64_t file = number_of(d, AT_CALL_FILE);

    f->file = NULL;
    if (dw.dwarf_getsrcfiles(cu, &files, &count) == 0 && file < count)
        f->file = dw.dwarf_filesrc(files, file, NULL, NULL);
    f->line = (uint32_t)number_of(d, AT_CALL_LINE);
}

/* By the tables of functions within functions: false if they say nothing. */
static bool by_scopes(const struct module *m, uint64_t at, struct xs_frame_line *f,
                      xs_use_frame *use, void *arg)
{
    uint64_t bias = 0;
    die_t *cu = dw.dwfl_module_addrdie(m->at, at, &bias);
    die_t *inner = NULL;
    die_t *scopes = NULL;
    bool done = false;

    if (cu == NULL || dw.dwarf_getscopes(cu, at - bias, &inner) <= 0)
        return false;
    int n = dw.dwarf_getscopes_die(&inner[0], &scopes);
    for (int i = 0; i < n && !done; i++) {
        int tag = dw.dwarf_tag(&scopes[i]);
        if (tag != TAG_INLINED && tag != TAG_SUBPROGRAM)
            continue;
        f->function = name_of(&scopes[i]);
        f->inlined = tag == TAG_INLINED;
        done = !f->inlined;
        if (f->function == NULL && done)
            f->function = readable(dw.dwfl_module_addrname(m->at, at));
        use(f, arg);
        if (f->inlined)
            move_to_call(cu, &scopes[i], f);
    }
    free(inner);
    free(scopes);
    return done;
}

void xs_symbols_at(const char *path, const uint8_t *build_id, size_t id_bytes, uint64_t address,
                   xs_use_frame *use, void *arg)
{
    struct xs_frame_line f = {.address = address, .module = path};
    const struct module *m = find_module(path, build_id, id_bytes);

    if (m == NULL || m->at == NULL) {
        use(&f, arg);
        return;
    }
    uint64_t at = address + m->bias;
    void *line = dw.dwfl_module_getsrc(m->at, at);
    int number = 0;
    if (line != NULL)
        f.file = dw.dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL);
    f.line = number > 0 ? (uint32_t)number : 0;
    if (by_scopes(m, at, &f, use, arg))
        return;
    f.function = readable(dw.dwfl_module_addrname(m->at, at));
    f.inlined = false;
    use(&f, arg);
}
