/* tool/elf_file.h - what an ELF file on disk says about how it would start.
 * Units:   none.
 * Owns:    nothing; the caller's descriptor stays open.
 * Context: an ordinary program. The file is not trusted: everything is read by pread into buffers
 * of fixed size, and no offset, count or string is used before it was checked. Errors:  ENOEXEC: no
 * ELF file; EBADMSG: one whose headers make no sense; errno of a read. Source:  the gABI and the
 * psABI supplements; the GNU hash section as glibc's loader reads it.
 */
#ifndef XS_TOOL_ELF_FILE_H
#define XS_TOOL_ELF_FILE_H

#include "base/compiler.h"

struct xs_elf_file {
    bool is_64_bit;
    bool is_little_endian;
    unsigned machine; /* EM_... */
    unsigned type;    /* ET_... */
    /* Only of files for this machine: */
    bool has_interpreter;
    char interpreter[256];
    bool is_go;
    bool owns_malloc;      /* exports a malloc of its own */
    const char *sanitizer; /* whose runtime it loads: "AddressSanitizer", or NULL */
};

int xs_elf_file_read(struct xs_elf_file *f, int fd);

/* A program or library that could run in one process with us. */
bool xs_elf_file_is_native(const struct xs_elf_file *f);
unsigned xs_elf_native_machine(void);
const char *xs_elf_machine_name(unsigned machine); /* "x86-64", or NULL */

#endif
