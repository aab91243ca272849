/* The fixed pool of activity buffers and the thread that decodes them.
   CUPTI's threads only ever take and give back a buffer, under a lock that is never held while CUPTI is called. Buffers
   are touched before CUPTI sees them, and one that it holds is never unmapped: it may hold it for as long as it likes. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core.h"

enum { HEADER_BYTES = 4096, FIRST_BUFFERS = 4 };

typedef enum { FREE, GIVEN, FULL } buffer_state;

typedef struct buffer {
    struct buffer *next_known, *next;    /* all buffers; the free or the full ones */
    uint64_t serial;                     /* rises with every giving out */
    size_t bytes, valid;
    buffer_state state;
} buffer;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, progress;       /* for the worker; for those who wait on it */
    pthread_t worker;
    int open, quit, drain_wanted, collect_wanted, may_reject;
    size_t buffer_bytes;
    uint32_t max_buffers, version, allocated;
    uint64_t serial, first_serial, given, returned, rejected, dropped, decode_ns;
    buffer *known, *free, *full, **full_tail;
    pcu_tables tables, drained;
    decode_counts counts;
    call_counts calls;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .progress = PTHREAD_COND_INITIALIZER};

/* The worker's own processor time. */
static uint64_t worked_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static buffer *buffer_new(size_t bytes)
{
    void *memory = mmap(NULL, HEADER_BYTES + bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    buffer *made = memory;
    made->bytes = bytes;
    return made;
}

/* With the lock held. */
static void buffer_know(buffer *made)
{
    made->next_known = pool.known;
    pool.known = made;
    pool.allocated++;
}

static void buffer_free(buffer *done)
{
    done->state = FREE;
    done->next = pool.free;
    pool.free = done;
}

/* Adds a spare while the pool is below its cap; the lock is released meanwhile. */
static void add_spare(void)
{
    pthread_mutex_unlock(&pool.lock);
    buffer *made = buffer_new(pool.buffer_bytes);
    pthread_mutex_lock(&pool.lock);
    if (made) {
        buffer_know(made);
        buffer_free(made);
    }
}

static int below_cap(void)
{
    return pool.allocated < pool.max_buffers;
}

void pool_request(uint8_t **data, size_t *size, size_t *max_records)
{
    *data = NULL;
    *size = *max_records = 0;
    pthread_mutex_lock(&pool.lock);
    /* Libraries before API 27 crash on a refusal, so they get memory past the cap instead. */
    if (!pool.free && (below_cap() || !pool.may_reject))
        add_spare();
    buffer *taken = pool.free;
    if (taken) {
        pool.free = taken->next;
        taken->state = GIVEN;
        taken->serial = ++pool.serial;
        pool.given++;
        *data = (uint8_t *)taken + HEADER_BYTES;
        *size = taken->bytes;
    } else {
        pool.rejected++;
    }
    if (!pool.free && below_cap())
        pthread_cond_signal(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

void pool_complete(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid)
{
    (void)context;
    (void)stream;
    (void)size;
    if (!data)
        return;
    buffer *full = (buffer *)(data - HEADER_BYTES);
    pthread_mutex_lock(&pool.lock);
    full->valid = valid;
    full->state = FULL;
    full->next = NULL;
    pool.returned++;
    *pool.full_tail = full;
    pool.full_tail = &full->next;
    pthread_cond_signal(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

/* CUPTI tells how many records it dropped since it was last asked. */
void pool_ask_dropped(void)
{
    size_t dropped = 0;
    if (cupti.ActivityGetNumDroppedRecords(NULL, 0, &dropped) != CUPTI_OK)
        return;
    pthread_mutex_lock(&pool.lock);
    pool.dropped += dropped;
    pthread_mutex_unlock(&pool.lock);
}

static void decode_next(void)
{
    buffer *full = pool.full;
    pool.full = full->next;
    if (!pool.full)
        pool.full_tail = &pool.full;
    pthread_mutex_unlock(&pool.lock);

    decode_counts counts = {0};
    uint64_t began = worked_ns();
    if (full->valid)
        decode_buffer((uint8_t *)full + HEADER_BYTES, full->valid, pool.version, &pool.tables, &counts);
    uint64_t took = worked_ns() - began;
    pool_ask_dropped();

    pthread_mutex_lock(&pool.lock);
    pool.counts.records += counts.records;
    pool.counts.bad_timestamps += counts.bad_timestamps;
    pool.counts.unknown_kinds += counts.unknown_kinds;
    pool.counts.truncated += counts.truncated;
    pool.counts.out_of_memory += counts.out_of_memory;
    pool.decode_ns += took;
    buffer_free(full);
    pthread_cond_broadcast(&pool.progress);
}

/* A thread has filled a chunk of its log; its calls go into the table before there are too many. */
void pool_ask_collect(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.collect_wanted = 1;
    pthread_cond_signal(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void collect(void)
{
    pool.collect_wanted = 0;
    pthread_mutex_unlock(&pool.lock);
    call_counts counts = {0};
    calls_collect(&pool.tables.calls, &counts);
    pthread_mutex_lock(&pool.lock);
    pool.calls.calls += counts.calls;
    pool.calls.dropped += counts.dropped;
    pool.calls.out_of_memory += counts.out_of_memory;
}

/* The worker alone owns the tables; others ask it to hand them over between two buffers. */
static void hand_over(void)
{
    collect();
    pool.drained = pool.tables;
    tables_open(&pool.tables);
    pool.drain_wanted = 0;
    pthread_cond_broadcast(&pool.progress);
}

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&pool.lock);
    while (!pool.quit || pool.full) {
        if (pool.full)
            decode_next();
        else if (pool.drain_wanted)
            hand_over();
        else if (pool.collect_wanted)
            collect();
        else if (!pool.free && below_cap() && !pool.quit)
            add_spare();
        else
            pthread_cond_wait(&pool.wake, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Only the forking thread lives on in a child: its pool starts empty, and the parent's buffers are left alone. */
void pool_forked(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.progress, NULL);
    pool.open = 0;
    pool.known = pool.free = pool.full = NULL;
}

/* Keeps the last session's free buffers that fit, unmaps the others; those that CUPTI still holds stay known. */
static void keep_fitting(size_t buffer_bytes, uint32_t max_buffers)
{
    pool.free = NULL;
    pool.allocated = 0;
    for (buffer **at = &pool.known; *at;) {
        buffer *each = *at;
        if (each->state != FREE) {
            at = &each->next_known;
        } else if (each->bytes == buffer_bytes && pool.allocated < max_buffers) {
            buffer_free(each);
            pool.allocated++;
            at = &each->next_known;
        } else {
            *at = each->next_known;
            munmap(each, HEADER_BYTES + each->bytes);
        }
    }
}

int pool_open(size_t buffer_bytes, uint32_t max_buffers, uint32_t version)
{
    pthread_mutex_lock(&pool.lock);
    if (!pool.full)
        pool.full_tail = &pool.full;
    keep_fitting(buffer_bytes, max_buffers);
    pool.first_serial = pool.serial;
    pool.buffer_bytes = buffer_bytes;
    pool.max_buffers = max_buffers;
    pool.version = version;
    pool.may_reject = version >= API_MAY_REJECT_BUFFER;
    pool.given = pool.returned = pool.rejected = pool.dropped = pool.decode_ns = 0;
    collect();                           /* an earlier session's, with its tables below */
    memset(&pool.counts, 0, sizeof pool.counts);
    memset(&pool.calls, 0, sizeof pool.calls);
    pool.quit = pool.drain_wanted = 0;
    while (pool.allocated < FIRST_BUFFERS && below_cap()) {
        uint32_t before = pool.allocated;
        add_spare();
        if (pool.allocated == before)
            break;
    }
    tables_close(&pool.tables);
    tables_open(&pool.tables);
    int made = pool.allocated > 0 && pthread_create(&pool.worker, NULL, work, NULL) == 0;
    pool.open = made;
    pthread_mutex_unlock(&pool.lock);
    return made ? 0 : -1;
}

/* Decodes what has come back and ends the worker. The tables stay until they are drained or a pool opens again. */
void pool_close(void)
{
    pthread_mutex_lock(&pool.lock);
    int open = pool.open;
    pool.quit = 1;
    pool.open = 0;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    if (!open)
        return;
    pthread_join(pool.worker, NULL);
    pthread_mutex_lock(&pool.lock);
    collect();
    pthread_mutex_unlock(&pool.lock);
}

uint64_t pool_serial(void)
{
    pthread_mutex_lock(&pool.lock);
    uint64_t serial = pool.serial;
    pthread_mutex_unlock(&pool.lock);
    return serial;
}

static int outstanding(uint64_t serial)
{
    int count = 0;
    for (buffer *each = pool.known; each; each = each->next_known)
        count += each->state != FREE && each->serial > pool.first_serial && each->serial <= serial;
    return count;
}

/* Waits until every buffer given out up to `serial` is back and decoded: 0, or -1 after the timeout. */
int pool_fence(uint64_t serial, double timeout_s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)(timeout_s * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    int late = 0;
    pthread_mutex_lock(&pool.lock);
    while (!late && outstanding(serial))
        late = pthread_cond_timedwait(&pool.progress, &pool.lock, &until) != 0;
    late = outstanding(serial) != 0;
    pthread_mutex_unlock(&pool.lock);
    return late ? -1 : 0;
}

void pool_drain(pcu_tables *out)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.open) {
        pool.drain_wanted = 1;
        pthread_cond_signal(&pool.wake);
        while (pool.drain_wanted)
            pthread_cond_wait(&pool.progress, &pool.lock);
    } else {
        hand_over();
    }
    *out = pool.drained;
    pthread_mutex_unlock(&pool.lock);
}

void pool_stats(pcu_stats *out)
{
    pthread_mutex_lock(&pool.lock);
    *out = (pcu_stats){
        .records = pool.counts.records,
        .calls = pool.calls.calls,
        .dropped = pool.dropped,
        .calls_dropped = pool.calls.dropped,
        .rejected = pool.rejected,
        .bad_timestamps = pool.counts.bad_timestamps,
        .unknown_kinds = pool.counts.unknown_kinds,
        .truncated = pool.counts.truncated,
        .out_of_memory = pool.counts.out_of_memory + pool.calls.out_of_memory,
        .decode_ns = pool.decode_ns,
        .buffers_given = pool.given,
        .buffers_returned = pool.returned,
        .buffers_outstanding = (uint64_t)outstanding(UINT64_MAX),
        .buffers_allocated = pool.allocated,
    };
    pthread_mutex_unlock(&pool.lock);
}
