/* CUDA API calls, through CUPTI's callbacks on the calling thread. A callback reads the clock and appends to a log of
   the thread's own: no lock, no CUPTI, no memory but a fresh chunk every few thousand calls. CUPTI's own records of
   calls and of external correlation ids cost a launch several times as much.
   What a callback costs is less what it does than what it touches, since a model's work leaves little of it in the
   caches: hence one line of the log for all that it needs, the next row asked for ahead, and the clock of clock.h. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "core.h"

enum { CHUNK_ROWS = 4096, FIRST_SPARES = 4, MOST_CALLS = 4096 };

/* The thread adds at the end of its last chunk; the one that collects takes from the start of the first. */
typedef struct chunk {
    struct chunk *_Atomic next;
    _Atomic uint32_t rows;
    uint32_t taken;
    pcu_call row[CHUNK_ROWS];
} chunk;

typedef struct call_log {
    chunk *last;
    uint32_t filled;                     /* rows of `last` */
    atomic_int ended;                    /* its thread is gone */
    uint64_t thread;
    wall_clock clock;
    struct call_log *next;
    chunk *first;
    _Atomic uint64_t dropped;
} call_log;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;     /* of `spare` and of `logs`' links */
static chunk *spare;
static call_log *_Atomic logs;
static atomic_int active;
static pthread_key_t key;
static __thread call_log *mine;
static __thread int muted;

static void *mapped(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static chunk *chunk_new(void)
{
    pthread_mutex_lock(&lock);
    chunk *made = spare;
    if (made)
        spare = atomic_load(&made->next);
    pthread_mutex_unlock(&lock);
    if (!made)
        return mapped(sizeof *made);
    made->taken = 0;
    atomic_store(&made->rows, 0);
    atomic_store(&made->next, NULL);
    return made;
}

static void chunk_free(chunk *done)
{
    pthread_mutex_lock(&lock);
    atomic_store(&done->next, spare);
    spare = done;
    pthread_mutex_unlock(&lock);
}

/* Runs on the thread itself; should it call CUDA once more, it gets another log. */
static void thread_ended(void *log)
{
    mine = NULL;
    atomic_store(&((call_log *)log)->ended, 1);
}

static void make_key(void)
{
    pthread_key_create(&key, thread_ended);
}

static call_log *log_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    call_log *made = mapped(sizeof *made);
    if (!made || !(made->first = made->last = chunk_new())) {
        if (made)
            munmap(made, sizeof *made);
        return NULL;
    }
    made->thread = (uint64_t)pthread_self();
    pthread_setspecific(key, made);
    pthread_mutex_lock(&lock);
    made->next = atomic_load(&logs);
    atomic_store(&logs, made);
    pthread_mutex_unlock(&lock);
    return mine = made;
}

/* Whether the last chunk has room for a row again. */
static int chunk_add(call_log *log)
{
    chunk *fresh = chunk_new();
    if (!fresh) {
        atomic_fetch_add(&log->dropped, 1);
        return 0;
    }
    atomic_store(&log->last->next, fresh);
    log->last = fresh;
    log->filled = 0;
    pool_ask_collect();
    return 1;
}

static void call_exits(call_log *log, uint32_t domain, uint32_t id, const raw_call *call)
{
    uint64_t start = *call->slot, end = clock_read(&log->clock);
    if (log->filled == CHUNK_ROWS && !chunk_add(log))
        return;
    pcu_call *row = &log->last->row[log->filled++];
    *row = (pcu_call){
        .start = start && start <= end ? start : end,                        /* it may have begun before the tracer */
        .end = end,
        .span = correlate_open(),
        .correlation = call->correlation,
        .function = id,
        .thread = log->thread,
        .result = call->result ? *(const uint32_t *)call->result : 0,
        .domain = domain,
    };
    atomic_store_explicit(&log->last->rows, log->filled, memory_order_release);
    __builtin_prefetch((const char *)(row + 2) - 1, 1);
}

void calls_callback(void *user, uint32_t domain, uint32_t id, const void *data)
{
    (void)user;
    if (!atomic_load_explicit(&active, memory_order_relaxed) || muted)
        return;
    if (domain == DOMAIN_RESOURCE) {
        if (id == RESOURCE_GRAPH_NODE_CREATED || id == RESOURCE_GRAPH_NODE_CLONED)
            correlate_graph_node(id, data);
        return;
    }
    const raw_call *call = data;
    call_log *log = mine ? mine : log_new();
    if (!log)
        return;
    if (call->site == CALL_ENTERS)
        *call->slot = clock_read(&log->clock);
    else
        call_exits(log, domain, id, call);
}

void calls_activate(int on)
{
    for (int i = 0; on && i < FIRST_SPARES; i++) {
        chunk *made = mapped(sizeof *made);
        if (made)
            chunk_free(made);
    }
    if (on)
        clock_trust();
    atomic_store(&active, on);
}

void calls_mute(int on)
{
    muted = on;
}

static int begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* Whether a call puts work on a device, waits for it, or allocates. */
static int wanted(const char *name)
{
    static const char *const begin[] = {"Launch", "GraphLaunch", "Memcpy", "Memset", "Malloc", "Free", "HostAlloc",
                                        "MemAlloc", "MemFree", "MemHostAlloc"};
    const char *what = begins(name, "cuda") ? name + 4 : name + 2;         /* past "cuda" or "cu" */
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
        if (begins(what, begin[i]))
            return 1;
    return strstr(what, "Synchronize") != NULL;
}

/* Calls are chosen by the names that libcupti gives them, because their numbers differ between versions' headers. A
   libcupti newer than the driver has names of calls that this driver lacks, and refuses these. */
int calls_enable(void *subscriber, uint32_t domain, int all)
{
    if (all)
        return cupti.EnableDomain(1, subscriber, domain);
    const char *name = NULL;
    int enabled = 0, refused = CUPTI_OK;
    for (uint32_t id = 1; id < MOST_CALLS && cupti.GetCallbackName(domain, id, &name) == CUPTI_OK; id++) {
        if (!name || !begins(name, "cu") || !wanted(name))
            continue;
        int result = cupti.EnableCallback(1, subscriber, domain, id);
        if (result != CUPTI_OK && result != CUPTI_INVALID_PARAMETER)
            return result;
        enabled |= result == CUPTI_OK;
        refused = result ? result : refused;
    }
    return enabled ? CUPTI_OK : refused;
}

static int add_row(pcu_table *table, const pcu_call *row)
{
    pcu_call *added = table_add(table);
    if (added)
        *added = *row;
    return added != NULL;
}

/* Takes a chunk's new rows; whether it is used up. */
static int chunk_collect(chunk *from, pcu_table *table, call_counts *counts)
{
    uint32_t rows = atomic_load_explicit(&from->rows, memory_order_acquire);
    for (; from->taken < rows; from->taken++) {
        counts->calls++;
        counts->out_of_memory += !add_row(table, &from->row[from->taken]);
    }
    return rows == CHUNK_ROWS && atomic_load(&from->next) != NULL;
}

static void log_collect(call_log *log, pcu_table *table, call_counts *counts)
{
    while (chunk_collect(log->first, table, counts)) {
        chunk *done = log->first;
        log->first = atomic_load(&done->next);
        chunk_free(done);
    }
    counts->dropped += atomic_exchange(&log->dropped, 0);
}

static void log_free(call_log *log)
{
    pthread_mutex_lock(&lock);
    call_log *before = atomic_load(&logs);
    if (before == log) {
        atomic_store(&logs, log->next);
    } else {
        while (before->next != log)
            before = before->next;
        before->next = log->next;
    }
    pthread_mutex_unlock(&lock);
    chunk_free(log->first);
    munmap(log, sizeof *log);
}

void calls_collect(pcu_table *table, call_counts *counts)
{
    for (call_log *log = atomic_load(&logs), *next; log; log = next) {
        int ended = atomic_load(&log->ended);                /* asked first: what it wrote last is then seen below */
        next = log->next;
        log_collect(log, table, counts);
        if (ended)
            log_free(log);
    }
}

/* In a child only the forking thread lives on; what the others logged is the parent's. */
void calls_forked(void)
{
    pthread_mutex_init(&lock, NULL);
    atomic_store(&active, 0);
    atomic_store(&logs, NULL);
    spare = NULL;
    mine = NULL;
}
