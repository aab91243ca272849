/* Tables that grow without copying: an anonymous mapping, moved by the kernel page by page when it must. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "core.h"

enum { FIRST_BYTES = 1 << 20 };

void table_open(pcu_table *table, uint32_t row_bytes)
{
    memset(table, 0, sizeof *table);
    table->row_bytes = row_bytes;
}

static int table_grow(pcu_table *table)
{
    size_t bytes = table->mapped ? table->mapped * 2 : FIRST_BYTES;
    void *data = table->data ? mremap(table->data, table->mapped, bytes, MREMAP_MAYMOVE)
                             : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return -1;
    table->data = data;
    table->mapped = bytes;
    return 0;
}

void *table_add(pcu_table *table)
{
    if ((table->rows + 1) * table->row_bytes > table->mapped && table_grow(table) != 0)
        return NULL;
    return table->data + table->rows++ * table->row_bytes;
}

void table_close(pcu_table *table)
{
    pcu_unmap(table->data, table->mapped);
    table_open(table, table->row_bytes);
}

void pcu_unmap(void *data, uint64_t mapped)
{
    if (data)
        munmap(data, mapped);
}
