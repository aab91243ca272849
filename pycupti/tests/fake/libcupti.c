/* A stand-in for libcupti: the activity API over our own declarations, with the record sizes of real versions. It
   behaves as the real one where that has bitten: buffers come back from another thread and after a flush has returned,
   records lie across buffers. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"
#include "calls.h"
#include "fake.h"

/* Full record sizes, by the first API version that has them. */
typedef struct {
    uint32_t version;
    size_t kernel, copy, set, peer, overhead, synchronization, memory;
} strides;

static const strides layouts[] = {
    {130500, 248, 112, 104, 96, 56, 56, 128},
    {130000, 216, 96, 88, 96, 56, 56, 128},
    {26, 208, 96, 88, 96, 56, 56, 128},
    {24, 208, 88, 88, 96, 56, 40, 128},
    {22, 208, 88, 88, 96, 56, 40, 120},
    {19, 208, 88, 88, 96, 40, 40, 120},
    {0, 200, 88, 88, 96, 40, 40, 120},
};
enum { MARKER_SIZE = 56, UNKNOWN_SIZE = 48, UNKNOWN_KIND = 57, LARGEST = 256 };
enum { KINDS = 64 };


typedef struct pending {
    struct pending *next;
    uint8_t *data;
    size_t size, valid;
} pending;

uint64_t switches[FAKE_SWITCHES] = {[FAKE_VERSION] = 130001};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;     /* CUPTI's lock: held while it fills buffers */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t completer;
static int completer_runs, crashed_version;
int finalized;
static uint8_t enabled[KINDS];
static buffer_requested_fn requested;
static buffer_completed_fn completed;
static uint8_t *current;
static size_t current_size, current_used;
static pending *queue, **queue_tail = &queue;
static uint64_t emitted, lost, unasked_lost, completions, waiting, kernels, graph_nodes;
static uint64_t clock_ns = 1700000000000000000u;

__attribute__((constructor)) static void configure(void)
{
    const char *version = getenv("FAKE_CUPTI_VERSION");
    if (version)
        switches[FAKE_VERSION] = strtoul(version, NULL, 10);
    crashed_version = getenv("FAKE_CUPTI_CRASH_ON_CALL") != NULL;
}

void fake_set(int which, uint64_t value)
{
    pthread_mutex_lock(&lock);
    switches[which] = value;
    pthread_mutex_unlock(&lock);
}

void fake_reset(void)
{
    pthread_mutex_lock(&lock);
    uint64_t version = switches[FAKE_VERSION];
    memset(switches, 0, sizeof switches);
    switches[FAKE_VERSION] = version;
    emitted = lost = unasked_lost = kernels = 0;
    calls_reset();
    pthread_mutex_unlock(&lock);
}

static const strides *layout(void)
{
    const strides *found = layouts;
    while (found->version > switches[FAKE_VERSION])
        found++;
    return found;
}

static void complete(pending *done)
{
    completed(NULL, 0, done->data, done->size, done->valid);
    free(done);
    pthread_mutex_lock(&lock);
    completions++;
    waiting--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void *complete_all(void *unused)
{
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!queue)
            pthread_cond_wait(&changed, &lock);
        pending *done = queue;
        queue = done->next;
        if (!queue)
            queue_tail = &queue;
        uint64_t delay = switches[FAKE_DELAY_US];
        pthread_mutex_unlock(&lock);
        if (delay)
            usleep((useconds_t)delay);
        complete(done);
    }
    return NULL;
}

/* With the lock held, which is released for the callback, as a synchronous CUPTI would not. */
static void give_back(void)
{
    if (!current)
        return;
    pending *done = malloc(sizeof *done);
    size_t cut = switches[FAKE_TRUNCATE] < current_used ? switches[FAKE_TRUNCATE] : current_used;
    *done = (pending){NULL, current, current_size, current_used - cut};
    current = NULL;
    waiting++;
    if (!switches[FAKE_ASYNC]) {
        pthread_mutex_unlock(&lock);
        complete(done);
        pthread_mutex_lock(&lock);
        return;
    }
    if (!completer_runs) {
        completer_runs = 1;
        pthread_create(&completer, NULL, complete_all, NULL);
        pthread_detach(completer);
    }
    *queue_tail = done;
    queue_tail = &done->next;
    pthread_cond_broadcast(&changed);
}

/* Room for a record of `size` bytes, or NULL when no buffer is to be had. With the lock held. */
static void *room(size_t size)
{
    while (current && current_used + size > current_size)       /* another thread may have taken a new one meanwhile */
        give_back();
    if (!current) {
        size_t limit = 0;
        requested(&current, &current_size, &limit);
        current_used = 0;
    }
    if (!current || current_used + size > current_size)
        return NULL;
    void *at = current + current_used;
    current_used += size;
    return at;
}

static void emit(uint32_t kind, const void *prefix, size_t prefix_size, size_t size)
{
    uint8_t record[LARGEST];
    if (!requested || kind >= KINDS || (kind != UNKNOWN_KIND && !enabled[kind]))
        return;
    memset(record, 0xA5, size);              /* what lies past the prefix must never matter */
    memcpy(record, prefix, prefix_size < size ? prefix_size : size);
    emitted++;
    void *at = room(size);
    if (at) {
        memcpy(at, record, size);
    } else {
        lost++;
        unasked_lost++;
    }
}

static uint64_t tick(void)
{
    return clock_ns += 100;
}

static void emit_kernel(const char *name, uint32_t stream, uint32_t correlation, uint64_t node)
{
    raw_kernel kernel = {.kind = KIND_KERNEL, .registers = 40, .start = tick(), .end = tick(), .device = 0,
                         .context = 1, .stream = stream, .grid = {1, 2, 3}, .block = {32, 4, 1}, .static_shared = 48,
                         .dynamic_shared = 1024, .local_per_thread = 16, .correlation = correlation, .name = name,
                         .graph_node = node, .graph = node ? 7 : 0};
    kernels++;
    if (each(FAKE_ZERO_TIMES, kernels))
        kernel.start = kernel.end = 0;
    emit(KIND_KERNEL, &kernel, PARAMS_SIZE(raw_kernel, graph), layout()->kernel);
    raw_record unknown = {UNKNOWN_KIND};
    if (each(FAKE_UNKNOWN, kernels))
        emit(UNKNOWN_KIND, &unknown, sizeof unknown, UNKNOWN_SIZE);
}

uint32_t fake_launch(const char *name, uint32_t stream)
{
    api_call call = call_begin(LAUNCH_KERNEL, CU_LAUNCH_KERNEL);
    pthread_mutex_lock(&lock);
    emit_kernel(name, stream, call.correlation, 0);
    pthread_mutex_unlock(&lock);
    call_end(&call);
    return call.correlation;
}

void fake_launch_many(const char *name, uint32_t stream, uint32_t count)
{
    while (count--)
        fake_launch(name, stream);
}

typedef struct {
    const char *name;
    uint32_t count, stream;
    uint64_t span;
    int (*push)(uint64_t);
    int (*pop)(void);
} launcher;

static void *launch_all(void *argument)
{
    launcher *one = argument;
    one->push(one->span);
    fake_launch_many(one->name, one->stream, one->count);
    one->pop();
    return NULL;
}

void fake_launch_threads(const char *name, uint32_t count, uint32_t threads, uint64_t first_span, int (*push)(uint64_t),
                         int (*pop)(void))
{
    pthread_t *ids = calloc(threads, sizeof *ids);
    launcher *all = calloc(threads, sizeof *all);
    for (uint32_t i = 0; i < threads; i++) {
        all[i] = (launcher){name, count, i, first_span + i, push, pop};
        pthread_create(&ids[i], NULL, launch_all, &all[i]);
    }
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    free(ids);
    free(all);
}

void fake_query(void)
{
    api_call call = call_begin(GET_DEVICE, CU_INIT);
    call_end(&call);
}

void fake_synchronize(void)
{
    api_call call = call_begin(STREAM_SYNCHRONIZE, CU_STREAM_SYNCHRONIZE);
    call_end(&call);
}

void fake_copy(uint64_t bytes, int peer)
{
    api_call call = call_begin(MEMCPY_ASYNC, CU_MEMCPY_ASYNC);
    pthread_mutex_lock(&lock);
    raw_memcpy copy = {.kind = KIND_MEMCPY, .direction = 1, .source_kind = 1, .destination_kind = 3, .flags = 1,
                       .bytes = bytes, .start = tick(), .end = tick(), .context = 1, .stream = 7,
                       .correlation = call.correlation};
    raw_memcpy_peer across = {.kind = KIND_MEMCPY_PEER, .direction = 10, .source_kind = 3, .destination_kind = 3,
                              .flags = 1, .bytes = bytes, .start = tick(), .end = tick(), .device = 1, .context = 1,
                              .stream = 7, .source_device = 1, .destination_device = 2,
                              .correlation = call.correlation};
    if (peer)
        emit(KIND_MEMCPY_PEER, &across, PARAMS_SIZE(raw_memcpy_peer, graph), layout()->peer);
    else
        emit(KIND_MEMCPY, &copy, PARAMS_SIZE(raw_memcpy, graph), layout()->copy);
    pthread_mutex_unlock(&lock);
    call_end(&call);
}

void fake_memset(uint64_t bytes)
{
    api_call call = call_begin(0, CU_MEMSET_ASYNC);
    pthread_mutex_lock(&lock);
    raw_memset set = {.kind = KIND_MEMSET, .value = 255, .bytes = bytes, .start = tick(), .end = tick(), .context = 1,
                      .stream = 7, .correlation = call.correlation, .flags = 1, .memory_kind = 3};
    emit(KIND_MEMSET, &set, PARAMS_SIZE(raw_memset, graph), layout()->set);
    pthread_mutex_unlock(&lock);
    call_end(&call);
}

void fake_others(void)
{
    pthread_mutex_lock(&lock);
    raw_overhead overhead = {.kind = KIND_OVERHEAD, .overhead = 1 << 16, .object_kind = 2, .object = {11, 12, 13},
                             .start = tick(), .end = tick(), .correlation = 99};
    size_t known = switches[FAKE_VERSION] >= API_OVERHEAD_CORRELATION ? sizeof overhead : PARAMS_SIZE(raw_overhead, end);
    emit(KIND_OVERHEAD, &overhead, known, layout()->overhead);
    raw_synchronization wait = {.kind = KIND_SYNCHRONIZATION, .type = 3, .start = tick(), .end = tick(),
                                .correlation = 98, .context = 1, .stream = 7, .event = 5};
    emit(KIND_SYNCHRONIZATION, &wait, sizeof wait, layout()->synchronization);
    raw_marker marker = {.kind = KIND_MARKER, .flags = 2, .timestamp = tick(), .id = 4, .object_kind = 2,
                         .object = {21, 22, 0}, .name = "layer", .domain = "mine"};
    emit(KIND_MARKER, &marker, sizeof marker, MARKER_SIZE);
    raw_memory memory = {.kind = KIND_MEMORY, .operation = 1, .memory_kind = 3, .correlation = 97, .address = 0xF00,
                         .bytes = 64, .timestamp = tick(), .process = 31, .context = 1, .stream = 7, .name = "buffer",
                         .is_async = 1};
    emit(KIND_MEMORY, &memory, PARAMS_SIZE(raw_memory, is_async), layout()->memory);
    pthread_mutex_unlock(&lock);
}

void fake_graph(const char *name, uint32_t nodes, uint32_t replays)
{
    uint64_t first = __atomic_fetch_add(&graph_nodes, 2 * nodes, __ATOMIC_SEQ_CST) + 1;
    for (uint32_t i = 0; i < nodes; i++)
        tell_node(RESOURCE_GRAPH_NODE_CREATED, first + i, 0);
    for (uint32_t i = 0; i < nodes; i++)
        tell_node(RESOURCE_GRAPH_NODE_CLONED, first + nodes + i, first + i);
    for (uint32_t replay = 0; replay < replays; replay++) {
        api_call call = call_begin(GRAPH_LAUNCH, CU_GRAPH_LAUNCH);
        pthread_mutex_lock(&lock);
        for (uint32_t i = 0; i < nodes; i++)
            emit_kernel(name, 7, call.correlation, first + nodes + i);
        pthread_mutex_unlock(&lock);
        call_end(&call);
    }
}

uint64_t fake_emitted(void)
{
    pthread_mutex_lock(&lock);
    uint64_t value = emitted;
    pthread_mutex_unlock(&lock);
    return value;
}

uint64_t fake_lost(void)
{
    pthread_mutex_lock(&lock);
    uint64_t value = lost;
    pthread_mutex_unlock(&lock);
    return value;
}

uint64_t fake_wait_returned(void)
{
    pthread_mutex_lock(&lock);
    while (waiting)
        pthread_cond_wait(&changed, &lock);
    uint64_t value = completions;
    pthread_mutex_unlock(&lock);
    return value;
}

uint64_t fake_kernels(void)
{
    pthread_mutex_lock(&lock);
    uint64_t value = kernels;
    pthread_mutex_unlock(&lock);
    return value;
}

int fake_finalized(void)
{
    return finalized;
}

uint32_t fake_enabled(void)
{
    uint32_t count = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < KINDS; i++)
        count += enabled[i];
    pthread_mutex_unlock(&lock);
    return count;
}

/* From here on: the interface of libcupti itself. */

int cuptiGetVersion(uint32_t *version)
{
    if (crashed_version)
        abort();
    *version = (uint32_t)switches[FAKE_VERSION];
    return CUPTI_OK;
}

int cuptiActivityRegisterCallbacks(buffer_requested_fn request, buffer_completed_fn done)
{
    pthread_mutex_lock(&lock);
    requested = request;
    completed = done;
    pthread_mutex_unlock(&lock);
    return CUPTI_OK;
}

static int switch_kind(uint32_t kind, uint8_t on)
{
    if (kind >= KINDS)
        return 21;
    pthread_mutex_lock(&lock);
    int refused = on && switches[FAKE_ENABLE_RESULT] && kind == switches[FAKE_ENABLE_KIND];
    int result = refused ? (int)switches[FAKE_ENABLE_RESULT] : CUPTI_OK;
    if (!refused)
        enabled[kind] = on;
    pthread_mutex_unlock(&lock);
    return result;
}

int cuptiActivityEnable(uint32_t kind)
{
    return switch_kind(kind, 1);
}

int cuptiActivityDisable(uint32_t kind)
{
    return switch_kind(kind, 0);
}

int cuptiActivityFlushAll(uint32_t flag)
{
    pthread_mutex_lock(&lock);
    int result = (int)switches[FAKE_FLUSH_RESULT];
    if (!result && (flag == FLUSH_FORCED || !switches[FAKE_KEEP_BUFFERS]))
        give_back();
    pthread_mutex_unlock(&lock);
    return result;
}

static size_t stride(uint32_t kind)
{
    switch (kind) {
    case KIND_KERNEL: return layout()->kernel;
    case KIND_MEMCPY: return layout()->copy;
    case KIND_MEMCPY_PEER: return layout()->peer;
    case KIND_MEMSET: return layout()->set;
    case KIND_OVERHEAD: return layout()->overhead;
    case KIND_SYNCHRONIZATION: return layout()->synchronization;
    case KIND_MEMORY: return layout()->memory;
    case KIND_MARKER: return MARKER_SIZE;
    default: return UNKNOWN_SIZE;
    }
}

int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, raw_record **record)
{
    uint8_t *next = *record ? (uint8_t *)*record + stride((*record)->kind) : buffer;
    if (next >= buffer + valid)
        return CUPTI_MAX_LIMIT_REACHED;
    *record = (raw_record *)next;
    return CUPTI_OK;
}

int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped)
{
    (void)context;
    (void)stream;
    pthread_mutex_lock(&lock);
    *dropped = unasked_lost;
    unasked_lost = 0;
    pthread_mutex_unlock(&lock);
    return CUPTI_OK;
}

int cuptiActivitySetAttribute(uint32_t attribute, size_t *size, void *value)
{
    (void)attribute;
    (void)size;
    (void)value;
    return CUPTI_OK;
}

int cuptiGetGraphNodeId(void *node, uint64_t *id)
{
    *id = (uint64_t)(uintptr_t)node;
    return CUPTI_OK;
}

int cuptiFinalize(void)
{
    finalized = 1;
    return CUPTI_OK;
}
