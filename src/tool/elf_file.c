#include "tool/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENTS_MAX 128
#define DYNAMIC_MAX  4096
#define CHAIN_MAX    (1u << 20) /* symbols of one hash bucket that are looked at */
#define NOTES_MAX    4096       /* bytes of each note segment that are looked at */
#define NAME_MAX_LEN 128

struct reader {
    int fd;
    uint64_t size;
    size_t segment_count;
    Elf64_Phdr segment[SEGMENTS_MAX];
};

/* The dynamic section's addresses; 0: absent. */
struct dynamic {
    uint64_t strings;
    uint64_t strings_size;
    uint64_t symbols;
    uint64_t hash;
    uint64_t gnu_hash;
};

unsigned xs_elf_native_machine(void)
{
#if defined(__x86_64__)
    return EM_X86_64;
#elif defined(__aarch64__)
    return EM_AARCH64;
#else
#error "not a machine that libxsigma runs on"
#endif
}

const char *xs_elf_machine_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {
        {EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"}, {EM_386, "i386"},      {EM_ARM, "arm"},
        {EM_RISCV, "risc-v"},  {EM_PPC64, "ppc64"},     {EM_S390, "s390"},     {EM_MIPS, "mips"},
        {EM_SPARCV9, "sparc"}, {EM_PPC, "ppc"},         {EM_IA_64, "itanium"},
    };

    for (size_t i = 0; i < XS_COUNT_OF(names); i++)
        if (names[i].machine == machine)
            return names[i].name;
    return NULL;
}

bool xs_elf_file_is_native(const struct xs_elf_file *f)
{
    return f->is_64_bit && f->is_little_endian && f->machine == xs_elf_native_machine();
}

/* All of [offset, offset + len), or an error. */
static int read_at(const struct reader *r, uint64_t offset, void *mem, size_t len)
{
    char *at = mem;

    if (offset > r->size || len > r->size - offset)
        return EBADMSG;
    while (len > 0) {
        ssize_t n = pread(r->fd, at, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return EBADMSG; /* it shrinks while we read */
        at += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* Where the loader would put `address`, as an offset in the file. */
static bool offset_of(const struct reader *r, uint64_t address, uint64_t *offset)
{
    for (size_t i = 0; i < r->segment_count; i++) {
        const Elf64_Phdr *s = &r->segment[i];

        if (s->p_type == PT_LOAD && address >= s->p_vaddr && address - s->p_vaddr < s->p_filesz &&
            !__builtin_add_overflow(address - s->p_vaddr, s->p_offset, offset))
            return true;
    }
    return false;
}

static int read_address(const struct reader *r, uint64_t address, void *mem, size_t len)
{
    uint64_t offset;

    return offset_of(r, address, &offset) ? read_at(r, offset, mem, len) : EBADMSG;
}

/* Element `index` of an array of elements of `size` bytes. */
static int read_element(const struct reader *r, uint64_t array, uint64_t index, void *mem,
                        size_t size)
{
    uint64_t address;

    if (__builtin_mul_overflow(index, size, &address) ||
        __builtin_add_overflow(address, array, &address))
        return EBADMSG;
    return read_address(r, address, mem, size);
}

/* The string at `index` of the string table, cut to what fits; "" if there is none. */
static void read_string(const struct reader *r, const struct dynamic *d, uint64_t index, char *mem,
                        size_t cap)
{
    uint64_t offset;
    uint64_t len;

    mem[0] = '\0';
    if (index >= d->strings_size || !offset_of(r, d->strings, &offset) ||
        __builtin_add_overflow(offset, index, &offset) || offset >= r->size)
        return;
    len = d->strings_size - index;
    if (len > r->size - offset)
        len = r->size - offset;
    if (len > cap - 1)
        len = cap - 1;
    if (read_at(r, offset, mem, (size_t)len) != 0)
        len = 0;
    mem[len] = '\0';
}

/* --- symbols --- */

static bool is_definition(const struct reader *r, const struct dynamic *d, uint64_t index,
                          const char *name)
{
    char found[NAME_MAX_LEN];
    Elf64_Sym symbol;
    unsigned type;
    unsigned binding;

    if (read_element(r, d->symbols, index, &symbol, sizeof(symbol)) != 0)
        return false;
    type = ELF64_ST_TYPE(symbol.st_info);
    binding = ELF64_ST_BIND(symbol.st_info);
    if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_VISIBILITY(symbol.st_other) == STV_HIDDEN ||
        ELF64_ST_VISIBILITY(symbol.st_other) == STV_INTERNAL)
        return false;
    if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
        return false;
    if (binding != STB_GLOBAL && binding != STB_WEAK && binding != STB_GNU_UNIQUE)
        return false;
    read_string(r, d, symbol.st_name, found, sizeof(found));
    return strcmp(found, name) == 0;
}

static bool gnu_hash_defines(const struct reader *r, const struct dynamic *d, const char *name)
{
    struct {
        uint32_t bucket_count;
        uint32_t first_symbol;
        uint32_t bloom_words;
        uint32_t bloom_shift;
    } head;
    uint32_t hash = 5381;
    uint64_t buckets;
    uint64_t chains;
    uint32_t index;

    for (const char *c = name; *c != '\0'; c++)
        hash = hash * 33 + (unsigned char)*c;
    if (read_address(r, d->gnu_hash, &head, sizeof(head)) != 0 || head.bucket_count == 0 ||
        __builtin_add_overflow(d->gnu_hash, sizeof(head) + (uint64_t)head.bloom_words * 8,
                               &buckets) ||
        __builtin_add_overflow(buckets, (uint64_t)head.bucket_count * 4, &chains))
        return false;
    if (read_element(r, buckets, hash % head.bucket_count, &index, sizeof(index)) != 0 ||
        index < head.first_symbol)
        return false;
    for (uint32_t n = 0; n < CHAIN_MAX && index != UINT32_MAX; n++, index++) {
        uint32_t found;

        if (read_element(r, chains, index - head.first_symbol, &found, sizeof(found)) != 0)
            return false;
        if ((found | 1) == (hash | 1) && is_definition(r, d, index, name))
            return true;
        if ((found & 1) != 0)
            return false;
    }
    return false;
}

static bool sysv_hash_defines(const struct reader *r, const struct dynamic *d, const char *name)
{
    uint32_t head[2]; /* buckets, chains */
    uint32_t hash = 0;
    uint32_t index;

    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash ^= (hash >> 24) & 0xF0;
        hash &= 0x0FFFFFFF;
    }
    if (read_address(r, d->hash, head, sizeof(head)) != 0 || head[0] == 0)
        return false;
    if (read_element(r, d->hash, 2 + (uint64_t)(hash % head[0]), &index, sizeof(index)) != 0)
        return false;
    for (uint32_t n = 0; n < CHAIN_MAX && index != 0 && index < head[1]; n++) {
        if (is_definition(r, d, index, name))
            return true;
        if (read_element(r, d->hash, 2 + (uint64_t)head[0] + index, &index, sizeof(index)) != 0)
            return false;
    }
    return false;
}

static bool defines(const struct reader *r, const struct dynamic *d, const char *name)
{
    if (d->symbols == 0 || d->strings == 0)
        return false;
    if (d->gnu_hash != 0)
        return gnu_hash_defines(r, d, name);
    return d->hash != 0 && sysv_hash_defines(r, d, name);
}

/* --- dynamic section --- */

/* Runtimes that must be first among the libraries, or find nothing when their malloc is not used.
 * One that is linked in statically shows as a malloc of the program's own. */
static const struct {
    const char *name;
    const char *library; /* follows "lib" or "libclang_rt." */
} sanitizers[] = {
    {"AddressSanitizer", "asan"}, {"ThreadSanitizer", "tsan"},      {"MemorySanitizer", "msan"},
    {"LeakSanitizer", "lsan"},    {"HWAddressSanitizer", "hwasan"},
};

static const char *sanitizer_of_library(const char *library)
{
    const char *rest = library;

    if (strncmp(rest, "lib", 3) != 0)
        return NULL;
    rest += 3;
    if (strncmp(rest, "clang_rt.", 9) == 0)
        rest += 9;
    for (size_t i = 0; i < XS_COUNT_OF(sanitizers); i++) {
        size_t len = strlen(sanitizers[i].library);
        if (strncmp(rest, sanitizers[i].library, len) == 0 && strchr(".-_", rest[len]) != NULL)
            return sanitizers[i].name;
    }
    return NULL;
}

static void read_needed(struct xs_elf_file *f, const struct reader *r, const struct dynamic *d,
                        const Elf64_Phdr *segment, uint64_t count)
{
    for (uint64_t i = 0; i < count && f->sanitizer == NULL; i++) {
        char name[NAME_MAX_LEN];
        Elf64_Dyn entry;

        if (read_at(r, segment->p_offset + i * sizeof(entry), &entry, sizeof(entry)) != 0 ||
            entry.d_tag == DT_NULL)
            return;
        if (entry.d_tag != DT_NEEDED)
            continue;
        read_string(r, d, entry.d_un.d_val, name, sizeof(name));
        f->sanitizer = sanitizer_of_library(name);
    }
}

static int read_dynamic(struct xs_elf_file *f, const struct reader *r, const Elf64_Phdr *segment)
{
    uint64_t count = segment->p_filesz / sizeof(Elf64_Dyn);
    struct dynamic d = {0};

    if (segment->p_offset > r->size || segment->p_filesz > r->size - segment->p_offset)
        return EBADMSG;
    if (count > DYNAMIC_MAX)
        count = DYNAMIC_MAX;
    for (uint64_t i = 0; i < count; i++) {
        Elf64_Dyn entry;
        int err = read_at(r, segment->p_offset + i * sizeof(entry), &entry, sizeof(entry));

        if (err != 0)
            return err;
        if (entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_STRTAB)
            d.strings = entry.d_un.d_ptr;
        else if (entry.d_tag == DT_STRSZ)
            d.strings_size = entry.d_un.d_val;
        else if (entry.d_tag == DT_SYMTAB)
            d.symbols = entry.d_un.d_ptr;
        else if (entry.d_tag == DT_HASH)
            d.hash = entry.d_un.d_ptr;
        else if (entry.d_tag == DT_GNU_HASH)
            d.gnu_hash = entry.d_un.d_ptr;
    }
    read_needed(f, r, &d, segment, count);
    f->owns_malloc = defines(r, &d, "malloc");
    return 0;
}

/* --- the other segments --- */

static int read_interpreter(struct xs_elf_file *f, const struct reader *r,
                            const Elf64_Phdr *segment)
{
    size_t len = segment->p_filesz;
    int err;

    if (len < 2 || len > sizeof(f->interpreter))
        return EBADMSG;
    err = read_at(r, segment->p_offset, f->interpreter, len);
    if (err == 0 && f->interpreter[len - 1] != '\0')
        err = EBADMSG; /* the kernel refuses it too */
    f->has_interpreter = err == 0;
    return err;
}

/* Go's linker leaves a note of type 4 with its name. */
static bool has_go_note(const struct reader *r, const Elf64_Phdr *segment)
{
    char mem[NOTES_MAX];
    uint64_t size = segment->p_filesz < sizeof(mem) ? segment->p_filesz : sizeof(mem);
    uint64_t at = 0;

    if (read_at(r, segment->p_offset, mem, (size_t)size) != 0)
        return false;
    while (at + sizeof(Elf64_Nhdr) + 4 <= size) {
        Elf64_Nhdr note;

        memcpy(&note, mem + at, sizeof(note));
        at += sizeof(note);
        if (note.n_type == 4 && note.n_namesz == 4 && memcmp(mem + at, "Go\0\0", 4) == 0)
            return true;
        at += ((uint64_t)note.n_namesz + 3) / 4 * 4 + ((uint64_t)note.n_descsz + 3) / 4 * 4;
    }
    return false;
}

static int read_segments(struct xs_elf_file *f, struct reader *r, const Elf64_Ehdr *head)
{
    int err = 0;

    if (head->e_phnum == 0)
        return 0;
    if (head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum > SEGMENTS_MAX)
        return EBADMSG;
    r->segment_count = head->e_phnum;
    err = read_at(r, head->e_phoff, r->segment, r->segment_count * sizeof(r->segment[0]));
    for (size_t i = 0; i < r->segment_count && err == 0; i++) {
        const Elf64_Phdr *s = &r->segment[i];

        if (s->p_type == PT_INTERP && !f->has_interpreter)
            err = read_interpreter(f, r, s);
        else if (s->p_type == PT_DYNAMIC)
            err = read_dynamic(f, r, s);
        else if (s->p_type == PT_NOTE && !f->is_go)
            f->is_go = has_go_note(r, s);
    }
    return err;
}

int xs_elf_file_read(struct xs_elf_file *f, int fd)
{
    struct reader r = {.fd = fd};
    unsigned char ident[EI_NIDENT + 4]; /* and e_type, e_machine */
    Elf64_Ehdr head;
    struct stat st;
    int err;

    *f = (struct xs_elf_file){0};
    if (fstat(fd, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode) || st.st_size < SELFMAG)
        return ENOEXEC;
    r.size = (uint64_t)st.st_size;
    err = read_at(&r, 0, ident, SELFMAG);
    if (err != 0)
        return err;
    if (memcmp(ident, ELFMAG, SELFMAG) != 0)
        return ENOEXEC;
    err = read_at(&r, 0, ident, sizeof(ident));
    if (err != 0)
        return err;
    if ((ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64) ||
        (ident[EI_DATA] != ELFDATA2LSB && ident[EI_DATA] != ELFDATA2MSB))
        return EBADMSG;
    f->is_64_bit = ident[EI_CLASS] == ELFCLASS64;
    f->is_little_endian = ident[EI_DATA] == ELFDATA2LSB;
    size_t low = f->is_little_endian ? 0 : 1;
    f->type = ident[EI_NIDENT + low] | (unsigned)ident[EI_NIDENT + 1 - low] << 8;
    f->machine = ident[EI_NIDENT + 2 + low] | (unsigned)ident[EI_NIDENT + 3 - low] << 8;
    if (!xs_elf_file_is_native(f))
        return 0;
    err = read_at(&r, 0, &head, sizeof(head));
    return err != 0 ? err : read_segments(f, &r, &head);
}
