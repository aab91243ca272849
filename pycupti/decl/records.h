/* Rows of the tables that the decoder fills: one struct a table, natural alignment, no pointers.
   Times are Unix nanoseconds; 0 in `start` or `end` means that CUPTI gave no time. `name` indexes the interned names.
   `graph_node` is 0 outside CUDA graphs. A call's `span` is the one open on its `thread` (pthread_self, Python's
   threading.get_ident), 0 for none. Plain C without directives: cffi reads this file, the C core includes it. */

typedef struct {
    uint64_t start, end, graph_node;
    uint32_t correlation, device, context, stream, graph, name;
    int32_t grid[3], block[3];
    int32_t static_shared, dynamic_shared;
    uint32_t local_per_thread, registers;
} pcu_kernel;

typedef struct {
    uint64_t start, end, bytes, graph_node;
    uint32_t correlation, device, context, stream, graph;
    uint32_t source_device, destination_device;
    uint8_t direction, source_kind, destination_kind, is_async;
} pcu_copy;

typedef struct {
    uint64_t start, end, bytes, graph_node;
    uint32_t correlation, device, context, stream, graph, value;
    uint16_t memory_kind, is_async;
} pcu_set;

typedef struct {
    uint64_t start, end, span, thread;
    uint32_t correlation, function, result, domain;
} pcu_call;

typedef struct {
    uint64_t start, end;
    uint32_t overhead, object_kind, object[3], correlation;
} pcu_overhead;

typedef struct {
    uint64_t start, end;
    uint32_t correlation, context, stream, event, type;
} pcu_synchronization;

typedef struct {
    uint64_t timestamp;
    uint32_t id, flags, process, thread, name, domain;
} pcu_marker;

typedef struct {
    uint64_t timestamp, address, bytes;
    uint32_t correlation, operation, memory_kind, process, device, context, stream, name, is_async;
} pcu_memory;

typedef struct {
    uint64_t node, span;
} pcu_graph_node;
