/* The activity tracer: one for a process, because CUPTI has one. No function here touches Python. */

typedef struct {
    size_t buffer_bytes;
    uint32_t max_buffers;
    uint32_t device_buffers;      /* limit of CUPTI's own pool of device buffers, 0 leaves its default */
    const uint32_t *kinds;        /* CUPTI's activity kinds; calls are taken by callbacks, all else as records */
    uint32_t kinds_count;
    int all_calls;                /* every call, not only those that put work on a device, wait or allocate */
    int graph_nodes;              /* note which span was open when a graph node was captured */
} pcu_options;

typedef struct {
    uint64_t records, calls, dropped, calls_dropped, rejected, bad_timestamps, unknown_kinds, truncated, out_of_memory;
    uint64_t decode_ns, buffers_given, buffers_returned, buffers_outstanding, buffers_allocated;
} pcu_stats;

typedef struct {
    uint8_t *data;
    uint64_t rows, mapped;
    uint32_t row_bytes;
} pcu_table;

typedef struct {
    pcu_table kernels, copies, sets, calls, overheads, synchronizations, markers, memory, graph_nodes;
} pcu_tables;

/* Returns 0 or CUPTI's code; `failed_kind` is the activity kind that was refused, 0 when it wasn't a kind. */
int pcu_start(const pcu_options *options, uint32_t *failed_kind);
/* Disable, flush, unsubscribe, and cuptiFinalize when asked. Harmless when nothing runs. */
int pcu_stop(int finalize, double timeout_s);
int pcu_running(void);
/* Detaches CUPTI from the process; whether that was the last thing done with it. Starting attaches it again. */
int pcu_finalize(void);
int pcu_finalized(void);
/* Synchronises the devices, flushes, and waits until every buffer given out before is back and decoded: 0, a result
   code, or -1 when `timeout_s` passed first. */
int pcu_flush(double timeout_s);
/* Moves the tables out; the caller frees each with pcu_unmap. */
int pcu_drain(pcu_tables *out);
void pcu_unmap(void *data, uint64_t mapped);
void pcu_read_stats(pcu_stats *out);

uint32_t pcu_names_count(void);
const char *pcu_name(uint32_t index);

/* Per-thread stack of span ids; what is launched belongs to the last one pushed. */
int pcu_push(uint64_t span);
int pcu_pop(void);
uint32_t pcu_depth(void);
