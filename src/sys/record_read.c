#include "sys/record_read.h"

#include <errno.h>
#include <string.h>

int xs_record_check(const struct xs_record_bytes *r, struct xs_record_head *head)
{
    if (r->bytes < sizeof(*head))
        return EBADMSG;
    memcpy(head, r->at, sizeof(*head));
    if (head->magic != XS_RECORD_MAGIC)
        return EBADMSG;
    if (head->version != XS_RECORD_VERSION)
        return ENOTSUP;
    if (r->bytes < XS_RECORD_BYTES || head->bytes != XS_RECORD_BYTES || head->pid <= 0 ||
        memchr(head->program, '\0', sizeof(head->program)) == NULL)
        return EBADMSG;
    return 0;
}

const void *xs_record_find(const struct xs_record_bytes *r, enum xs_record_section kind, unsigned n,
                           size_t unit, size_t *count)
{
    const struct xs_record *record = (const struct xs_record *)(const void *)r->at;
    uint32_t sections = atomic_load_explicit(&record->sections, memory_order_relaxed);

    *count = 0;
    for (uint32_t i = 0; i < sections && i < XS_RECORD_SECTIONS; i++) {
        const struct xs_record_entry *e = &record->section[i];
        if (e->kind != (uint32_t)kind || n-- != 0)
            continue;
        if (e->offset % XS_RECORD_PAGE != 0 || e->offset < XS_RECORD_BYTES || e->offset >= r->bytes)
            return NULL;
        uint64_t bytes = r->bytes - e->offset;
        *count = (e->bytes < bytes ? e->bytes : bytes) / unit;
        return *count != 0 ? r->at + e->offset : NULL;
    }
    return NULL;
}

uint32_t xs_record_left_out(const struct xs_record_bytes *r)
{
    return ((const struct xs_record *)(const void *)r->at)->left_out;
}
