/* What this package knows of CUPTI's binary interface: prefixes of its activity records, and of its callback and
   parameter structs, declared anew here. Records only ever grow at their end, so a prefix reads every version from
   CUDA 11.8 on; cuptiActivityGetNextRecord does the stepping, because it alone knows a record's full size.
   tests/test_abi.py holds every offset against the real headers wherever those are installed. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    CUPTI_OK = 0,
    CUPTI_INVALID_PARAMETER = 1,
    CUPTI_OUT_OF_MEMORY = 8,
    CUPTI_MAX_LIMIT_REACHED = 12,
    CUPTI_NOT_READY = 13,
    CUPTI_NOT_INITIALIZED = 15,
    CUPTI_QUEUE_EMPTY = 18,
    CUPTI_NOT_SUPPORTED = 27,
    CUPTI_MULTIPLE_SUBSCRIBERS = 39,
    CUPTI_UNKNOWN = 999
};

enum {
    KIND_MEMCPY = 1,
    KIND_MEMSET = 2,
    KIND_DRIVER = 4,
    KIND_RUNTIME = 5,
    KIND_KERNEL = 10,
    KIND_MARKER = 12,
    KIND_OVERHEAD = 17,
    KIND_MEMCPY_PEER = 22,
    KIND_SYNCHRONIZATION = 38,
    KIND_MEMORY = 49
};

/* `kind` 3 is the serialising kernel record; it has the layout of kind 10. */
enum { KIND_KERNEL_SERIAL = 3 };
enum { DOMAIN_DRIVER = 1, DOMAIN_RUNTIME = 2, DOMAIN_RESOURCE = 3 };
enum { CALL_ENTERS = 0, CALL_EXITS = 1 };
enum { RESOURCE_GRAPH_NODE_CREATED = 13, RESOURCE_GRAPH_NODE_CLONED = 20 };
enum { ATTRIBUTE_DEVICE_BUFFER_POOL_LIMIT = 2 };
enum { FLUSH_FORCED = 1 };
enum { CUDA_BASE = 100000 };           /* added to a driver's result code, to tell it from CUPTI's */

/* API versions from which something holds. */
enum { API_OVERHEAD_CORRELATION = 22, API_MAY_REJECT_BUFFER = 27 };

typedef struct {
    uint32_t kind;
} raw_record;

typedef struct {
    uint32_t kind;
    uint8_t cache_config, shared_config;
    uint16_t registers;
    uint32_t partition_requested, partition_executed;
    uint64_t start, end, completed;
    uint32_t device, context, stream;
    int32_t grid[3], block[3];
    int32_t static_shared, dynamic_shared;
    uint32_t local_per_thread, local_total, correlation;
    int64_t grid_id;
    const char *name;
    void *reserved;
    uint64_t queued, submitted;
    uint8_t launch_type, carveout_requested, carveout, padding;
    uint32_t shared_executed;
    uint64_t graph_node;
    uint32_t shared_limit, graph;
} raw_kernel;

typedef struct {
    uint32_t kind;
    uint8_t direction, source_kind, destination_kind, flags;
    uint64_t bytes, start, end;
    uint32_t device, context, stream, correlation, runtime_correlation, padding;
    void *reserved;
    uint64_t graph_node;
    uint32_t graph;
} raw_memcpy;

typedef struct {
    uint32_t kind;
    uint8_t direction, source_kind, destination_kind, flags;
    uint64_t bytes, start, end;
    uint32_t device, context, stream, source_device, source_context, destination_device, destination_context, correlation;
    void *reserved;
    uint64_t graph_node;
    uint32_t graph;
} raw_memcpy_peer;

typedef struct {
    uint32_t kind, value;
    uint64_t bytes, start, end;
    uint32_t device, context, stream, correlation;
    uint16_t flags, memory_kind;
    uint32_t padding;
    void *reserved;
    uint64_t graph_node;
    uint32_t graph;
} raw_memset;

typedef struct {
    uint32_t kind, overhead, object_kind, object[3];
    uint64_t start, end;
    uint32_t correlation;                 /* from API_OVERHEAD_CORRELATION on */
} raw_overhead;

typedef struct {
    uint32_t kind, type;
    uint64_t start, end;
    uint32_t correlation, context, stream, event;
} raw_synchronization;

typedef struct {
    uint32_t kind, flags;
    uint64_t timestamp;
    uint32_t id, object_kind, object[3], padding;
    const char *name, *domain;
} raw_marker;

typedef struct {
    uint32_t kind, operation, memory_kind, correlation;
    uint64_t address, bytes, timestamp, program_counter;
    uint32_t process, device, context, stream;
    const char *name;
    uint32_t is_async;
} raw_memory;

/* What a callback about an API call receives; `slot` is the same at a call's enter and exit. */
typedef struct {
    uint32_t site;
    const char *function;
    const void *parameters, *result;
    const char *symbol;
    void *context;
    uint32_t context_id;
    uint64_t *slot;
    uint32_t correlation;
} raw_call;

/* What a resource callback about a graph node receives. */
typedef struct {
    void *context, *handle, *descriptor;
} raw_resource;

typedef struct {
    void *graph, *original_graph, *node, *original_node;
} raw_graph_node;

typedef void (*buffer_requested_fn)(uint8_t **buffer, size_t *size, size_t *max_records);
typedef void (*buffer_completed_fn)(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);
typedef void (*callback_fn)(void *user, uint32_t domain, uint32_t id, const void *data);

/* Parameter structs of the profiler APIs carry their own size, so the first (12.6) layout serves all later ones.
   PARAMS_SIZE is the size up to and with the last field, without the padding after it. */
#define PARAMS_SIZE(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))

typedef struct { size_t size; void *priv; } raw_initialize;
typedef struct { size_t size; void *priv; size_t device; const char *chip; } raw_chip_name;
typedef struct { size_t size; void *priv; void *context; size_t image_size; uint8_t *image; } raw_availability;
typedef struct {
    size_t size; void *priv; int device;
    int supported, architecture, sli, vgpu, confidential, cmp, wsl, api;
} raw_device_supported;

typedef struct { size_t size; void *priv; int profiler; const char *chip; const uint8_t *availability; void *host; } raw_host_initialize;
typedef struct { size_t size; void *priv; void *host; } raw_host_only;
typedef struct { size_t size; void *priv; size_t count; const char *const *names; } raw_host_chips;
typedef struct { size_t size; void *priv; void *host; int type; const char **names; size_t count; } raw_host_base_metrics;
typedef struct { size_t size; void *priv; void *host; int type; const char *metric; size_t count; const char **names; } raw_host_submetrics;
typedef struct { size_t size; void *priv; void *host; const char *metric, *description, *hardware_unit, *dimension; int type; } raw_host_properties;
typedef struct { size_t size; void *priv; void *host; const char **names; size_t count; } raw_host_add;
typedef struct { size_t size; void *priv; void *host; size_t image_size; } raw_host_image_size;
typedef struct { size_t size; void *priv; void *host; size_t image_size; uint8_t *image; } raw_host_image;
typedef struct { size_t size; void *priv; size_t image_size; uint8_t *image; size_t passes; } raw_host_passes;
typedef struct {
    size_t size; void *priv; void *host; const uint8_t *counters; size_t counters_size, range;
    const char **names; size_t count; double *values;
} raw_host_evaluate;

typedef struct { size_t size; void *priv; void *context, *range; } raw_range_enable;
typedef struct { size_t size; void *priv; void *range; } raw_range_only;
typedef struct {
    size_t size; void *priv; void *range; const char **names; size_t count, max_ranges; uint32_t max_nodes; size_t counters_size;
} raw_range_counters_size;
typedef struct { size_t size; void *priv; void *range; size_t counters_size; uint8_t *counters; } raw_range_counters_init;
typedef struct {
    size_t size; void *priv; void *range; size_t config_size; const uint8_t *config; size_t counters_size; uint8_t *counters;
    int mode, replay; size_t max_ranges; uint16_t nesting_levels, min_nesting_level; size_t pass; uint16_t target_nesting_level;
} raw_range_config;
typedef struct { size_t size; void *priv; void *range; size_t pass, nesting_level; uint8_t complete; } raw_range_stop;
typedef struct { size_t size; void *priv; void *range; const char *name; } raw_range_push;
typedef struct { size_t size; void *priv; void *range; size_t dropped; } raw_range_decode;
typedef struct { size_t size; void *priv; const uint8_t *counters; size_t counters_size, ranges; } raw_range_info;
typedef struct { size_t size; void *priv; const uint8_t *counters; size_t counters_size, index; const char *delimiter, *name; } raw_range_name;

enum { RANGE_AUTO = 1, RANGE_USER = 2, REPLAY_KERNEL = 2, REPLAY_USER = 3, PROFILER_RANGE = 0, SUPPORT_YES = 3 };
