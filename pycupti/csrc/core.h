/* What the parts of the core offer each other, beside the public declarations in decl/. */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

#include "../decl/records.h"

#include "../decl/loader.h"

#include "../decl/tracer.h"

#include "../decl/otlp.h"

#include "../decl/range.h"

/* loader.c: libcupti's functions; X(name, parameters), each returns int. Required ones exist since 11.8. */
#define CUPTI_REQUIRED(X) \
    X(GetVersion, (uint32_t *)) \
    X(Subscribe, (void **, callback_fn, void *)) \
    X(Unsubscribe, (void *)) \
    X(EnableCallback, (uint32_t, void *, uint32_t, uint32_t)) \
    X(EnableDomain, (uint32_t, void *, uint32_t)) \
    X(GetCallbackName, (uint32_t, uint32_t, const char **)) \
    X(ActivityRegisterCallbacks, (buffer_requested_fn, buffer_completed_fn)) \
    X(ActivityEnable, (uint32_t)) \
    X(ActivityDisable, (uint32_t)) \
    X(ActivityFlushAll, (uint32_t)) \
    X(ActivityGetNextRecord, (uint8_t *, size_t, raw_record **)) \
    X(ActivityGetNumDroppedRecords, (void *, uint32_t, size_t *)) \
    X(ActivitySetAttribute, (uint32_t, size_t *, void *)) \
    X(GetGraphNodeId, (void *, uint64_t *)) \
    X(Finalize, (void))

#define CUPTI_OPTIONAL(X) \
    X(ProfilerInitialize, (raw_initialize *)) \
    X(ProfilerDeInitialize, (raw_initialize *)) \
    X(DeviceGetChipName, (raw_chip_name *)) \
    X(ProfilerDeviceSupported, (raw_device_supported *)) \
    X(ProfilerGetCounterAvailability, (raw_availability *)) \
    X(ProfilerHostInitialize, (raw_host_initialize *)) \
    X(ProfilerHostDeinitialize, (raw_host_only *)) \
    X(ProfilerHostGetSupportedChips, (raw_host_chips *)) \
    X(ProfilerHostGetBaseMetrics, (raw_host_base_metrics *)) \
    X(ProfilerHostGetSubMetrics, (raw_host_submetrics *)) \
    X(ProfilerHostGetMetricProperties, (raw_host_properties *)) \
    X(ProfilerHostConfigAddMetrics, (raw_host_add *)) \
    X(ProfilerHostGetConfigImageSize, (raw_host_image_size *)) \
    X(ProfilerHostGetConfigImage, (raw_host_image *)) \
    X(ProfilerHostGetNumOfPasses, (raw_host_passes *)) \
    X(ProfilerHostEvaluateToGpuValues, (raw_host_evaluate *)) \
    X(RangeProfilerEnable, (raw_range_enable *)) \
    X(RangeProfilerDisable, (raw_range_only *)) \
    X(RangeProfilerGetCounterDataSize, (raw_range_counters_size *)) \
    X(RangeProfilerCounterDataImageInitialize, (raw_range_counters_init *)) \
    X(RangeProfilerSetConfig, (raw_range_config *)) \
    X(RangeProfilerStart, (raw_range_only *)) \
    X(RangeProfilerStop, (raw_range_stop *)) \
    X(RangeProfilerPushRange, (raw_range_push *)) \
    X(RangeProfilerPopRange, (raw_range_only *)) \
    X(RangeProfilerDecodeData, (raw_range_decode *)) \
    X(RangeProfilerGetCounterDataInfo, (raw_range_info *)) \
    X(RangeProfilerCounterDataGetRangeInfo, (raw_range_name *))

typedef struct {
#define FIELD(name, parameters) int(*name) parameters;
    CUPTI_REQUIRED(FIELD)
    CUPTI_OPTIONAL(FIELD)
#undef FIELD
} cupti_functions;

extern cupti_functions cupti;

/* table.c */
void *table_add(pcu_table *table);
void table_open(pcu_table *table, uint32_t row_bytes);
void table_close(pcu_table *table);

/* names.c */
uint32_t name_intern(const char *name);
void names_forked(void);

/* decode.c: all rows of one buffer into the tables; runs on the worker, which alone owns the tables. */
typedef struct {
    uint64_t records, bad_timestamps, unknown_kinds, truncated, out_of_memory;
} decode_counts;
void tables_open(pcu_tables *tables);
void tables_close(pcu_tables *tables);
void decode_buffer(uint8_t *data, size_t valid, uint32_t version, pcu_tables *tables, decode_counts *counts);

/* pool.c */
int pool_open(size_t buffer_bytes, uint32_t max_buffers, uint32_t version);
void pool_close(void);
uint64_t pool_serial(void);
int pool_fence(uint64_t serial, double timeout_s);
void pool_drain(pcu_tables *out);
void pool_stats(pcu_stats *out);
void pool_ask_dropped(void);
void pool_ask_collect(void);
void pool_forked(void);
void pool_request(uint8_t **buffer, size_t *size, size_t *max_records);
void pool_complete(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);

/* correlate.c */
uint64_t correlate_open(void);                         /* this thread's open span, 0 for none */
void correlate_graph_node(uint32_t id, const raw_resource *resource);
void correlate_graph_nodes(pcu_table *out);
void correlate_forked(void);

/* calls.c: CUPTI's callbacks, and the logs that they write. */
typedef struct {
    uint64_t calls, dropped, out_of_memory;
} call_counts;
void calls_callback(void *user, uint32_t domain, uint32_t id, const void *data);
int calls_enable(void *subscriber, uint32_t domain, int all);
void calls_activate(int active);
void calls_mute(int on);                               /* this thread's calls are the core's own */
/* Moves what has been logged into a table; one thread at a time. */
void calls_collect(pcu_table *table, call_counts *counts);
void calls_forked(void);
