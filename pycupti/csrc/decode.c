/* Activity records to table rows. */
#include <string.h>

#include "core.h"

#define ROW(table, type) \
    type *row = table_add(&tables->table); \
    if (!row) { \
        counts->out_of_memory++; \
        return; \
    }

static void check_times(uint64_t start, uint64_t end, decode_counts *counts)
{
    if (!start || !end || end < start)
        counts->bad_timestamps++;
}

static void decode_kernel(const raw_kernel *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(kernels, pcu_kernel)
    row->start = raw->start;
    row->end = raw->end;
    row->graph_node = raw->graph_node;
    row->correlation = raw->correlation;
    row->device = raw->device;
    row->context = raw->context;
    row->stream = raw->stream;
    row->graph = raw->graph;
    row->name = name_intern(raw->name);
    memcpy(row->grid, raw->grid, sizeof row->grid);
    memcpy(row->block, raw->block, sizeof row->block);
    row->static_shared = raw->static_shared;
    row->dynamic_shared = raw->dynamic_shared;
    row->local_per_thread = raw->local_per_thread;
    row->registers = raw->registers;
    check_times(raw->start, raw->end, counts);
}

/* The part in which a copy, a peer copy and a memset agree. */
#define WORK(raw, row) \
    row->start = raw->start; \
    row->end = raw->end; \
    row->bytes = raw->bytes; \
    row->graph_node = raw->graph_node; \
    row->correlation = raw->correlation; \
    row->device = raw->device; \
    row->context = raw->context; \
    row->stream = raw->stream; \
    row->graph = raw->graph; \
    row->is_async = raw->flags & 1; \
    check_times(raw->start, raw->end, counts);

#define COPY_ENDS(raw, row) \
    row->direction = raw->direction; \
    row->source_kind = raw->source_kind; \
    row->destination_kind = raw->destination_kind;

static void decode_memcpy(const raw_memcpy *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(copies, pcu_copy)
    WORK(raw, row)
    COPY_ENDS(raw, row)
    row->source_device = row->destination_device = raw->device;
}

static void decode_memcpy_peer(const raw_memcpy_peer *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(copies, pcu_copy)
    WORK(raw, row)
    COPY_ENDS(raw, row)
    row->source_device = raw->source_device;
    row->destination_device = raw->destination_device;
}

static void decode_memset(const raw_memset *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(sets, pcu_set)
    WORK(raw, row)
    row->value = raw->value;
    row->memory_kind = raw->memory_kind;
}

static void decode_overhead(const raw_overhead *raw, uint32_t version, pcu_tables *tables, decode_counts *counts)
{
    ROW(overheads, pcu_overhead)
    row->start = raw->start;
    row->end = raw->end;
    row->overhead = raw->overhead;
    row->object_kind = raw->object_kind;
    memcpy(row->object, raw->object, sizeof row->object);
    row->correlation = version >= API_OVERHEAD_CORRELATION ? raw->correlation : 0;
    check_times(raw->start, raw->end, counts);
}

static void decode_synchronization(const raw_synchronization *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(synchronizations, pcu_synchronization)
    row->start = raw->start;
    row->end = raw->end;
    row->correlation = raw->correlation;
    row->context = raw->context;
    row->stream = raw->stream;
    row->event = raw->event;
    row->type = raw->type;
    check_times(raw->start, raw->end, counts);
}

static void decode_marker(const raw_marker *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(markers, pcu_marker)
    row->timestamp = raw->timestamp;
    row->id = raw->id;
    row->flags = raw->flags;
    row->process = raw->object[0];
    row->thread = raw->object[1];
    row->name = name_intern(raw->name);
    row->domain = name_intern(raw->domain);
}

static void decode_memory(const raw_memory *raw, pcu_tables *tables, decode_counts *counts)
{
    ROW(memory, pcu_memory)
    row->timestamp = raw->timestamp;
    row->address = raw->address;
    row->bytes = raw->bytes;
    row->correlation = raw->correlation;
    row->operation = raw->operation;
    row->memory_kind = raw->memory_kind;
    row->process = raw->process;
    row->device = raw->device;
    row->context = raw->context;
    row->stream = raw->stream;
    row->name = name_intern(raw->name);
    row->is_async = raw->is_async;
}

/* How many bytes of a record of this kind are read; 0 for a kind that isn't known. */
static size_t prefix_size(uint32_t kind, uint32_t version)
{
    switch (kind) {
    case KIND_KERNEL:
    case KIND_KERNEL_SERIAL: return PARAMS_SIZE(raw_kernel, graph);
    case KIND_MEMCPY: return PARAMS_SIZE(raw_memcpy, graph);
    case KIND_MEMCPY_PEER: return PARAMS_SIZE(raw_memcpy_peer, graph);
    case KIND_MEMSET: return PARAMS_SIZE(raw_memset, graph);
    case KIND_OVERHEAD:
        return version >= API_OVERHEAD_CORRELATION ? PARAMS_SIZE(raw_overhead, correlation)
                                                   : PARAMS_SIZE(raw_overhead, end);
    case KIND_SYNCHRONIZATION: return sizeof(raw_synchronization);
    case KIND_MARKER: return sizeof(raw_marker);
    case KIND_MEMORY: return PARAMS_SIZE(raw_memory, is_async);
    default: return 0;
    }
}

static void decode_record(const raw_record *record, uint32_t version, pcu_tables *tables, decode_counts *counts)
{
    const void *raw = record;
    switch (record->kind) {
    case KIND_KERNEL:
    case KIND_KERNEL_SERIAL: decode_kernel(raw, tables, counts); break;
    case KIND_MEMCPY: decode_memcpy(raw, tables, counts); break;
    case KIND_MEMCPY_PEER: decode_memcpy_peer(raw, tables, counts); break;
    case KIND_MEMSET: decode_memset(raw, tables, counts); break;
    case KIND_OVERHEAD: decode_overhead(raw, version, tables, counts); break;
    case KIND_SYNCHRONIZATION: decode_synchronization(raw, tables, counts); break;
    case KIND_MARKER: decode_marker(raw, tables, counts); break;
    default: decode_memory(raw, tables, counts); break;
    }
}

void decode_buffer(uint8_t *data, size_t valid, uint32_t version, pcu_tables *tables, decode_counts *counts)
{
    raw_record *record = NULL;
    int result;
    while ((result = cupti.ActivityGetNextRecord(data, valid, &record)) == CUPTI_OK) {
        size_t room = (size_t)(data + valid - (uint8_t *)record);
        size_t wanted = room < sizeof *record ? 0 : prefix_size(record->kind, version);
        if (room < sizeof *record || room < wanted) {
            counts->truncated++;
            return;
        }
        counts->records++;
        if (wanted)
            decode_record(record, version, tables, counts);
        else
            counts->unknown_kinds++;
    }
    if (result != CUPTI_MAX_LIMIT_REACHED)
        counts->truncated++;
}

#define EACH_TABLE(X) \
    X(kernels, pcu_kernel) \
    X(copies, pcu_copy) \
    X(sets, pcu_set) \
    X(calls, pcu_call) \
    X(overheads, pcu_overhead) \
    X(synchronizations, pcu_synchronization) \
    X(markers, pcu_marker) \
    X(memory, pcu_memory) \
    X(graph_nodes, pcu_graph_node)

void tables_open(pcu_tables *tables)
{
#define OPEN(name, type) table_open(&tables->name, sizeof(type));
    EACH_TABLE(OPEN)
}

void tables_close(pcu_tables *tables)
{
#define CLOSE(name, type) table_close(&tables->name);
    EACH_TABLE(CLOSE)
}
