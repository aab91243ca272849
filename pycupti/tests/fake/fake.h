/* How a test drives the stand-in libcupti. */
#pragma once

#include <stdint.h>

/* Without a buffer, records are always dropped and counted. */
enum fake_switch {
    FAKE_VERSION,             /* the API version reported, and with it the sizes of records */
    FAKE_ASYNC,               /* buffers come back on another thread */
    FAKE_DELAY_US,            /* an asynchronous completion waits this long */
    FAKE_SUBSCRIBE_RESULT,
    FAKE_ENABLE_RESULT,       /* what enabling FAKE_ENABLE_KIND answers */
    FAKE_ENABLE_KIND,
    FAKE_ZERO_TIMES,          /* each n-th kernel has no times */
    FAKE_DUPLICATES,          /* each n-th call's exit is told twice */
    FAKE_MISSING,             /* each n-th call isn't told of */
    FAKE_INNER_IDS,           /* a driver call made by a runtime call has a correlation id of its own */
    FAKE_UNKNOWN,             /* an unknown record after each n-th kernel */
    FAKE_TRUNCATE,            /* bytes cut off every buffer's end when it is given back */
    FAKE_KEEP_BUFFERS,        /* a plain flush gives nothing back */
    FAKE_FLUSH_RESULT,
    FAKE_OLD_DRIVER,          /* the driver lacks a call that libcupti has a name for */
    FAKE_SWITCHES
};

void fake_set(int which, uint64_t value);
void fake_reset(void);

/* A runtime call that launches a kernel by a driver call, on this thread: callbacks, and a kernel record. Returns its
   correlation id. */
uint32_t fake_launch(const char *name, uint32_t stream);
void fake_launch_many(const char *name, uint32_t stream, uint32_t count);
/* `count` launches by each of `threads` threads, each with one span of its own: its number from `first_span` on. */
void fake_launch_threads(const char *name, uint32_t count, uint32_t threads, uint64_t first_span, int (*push)(uint64_t),
                         int (*pop)(void));
void fake_query(void);        /* a runtime call, and the driver's below it, that launch nothing */
void fake_synchronize(void);
void fake_copy(uint64_t bytes, int peer);
void fake_memset(uint64_t bytes);
void fake_others(void);       /* one each of overhead, synchronisation, marker and memory */
/* A graph: one node captured under the span open now, instantiated, and launched `replays` times. */
void fake_graph(const char *name, uint32_t nodes, uint32_t replays);

uint64_t fake_emitted(void);          /* records written to a buffer or dropped for want of one */
uint64_t fake_lost(void);             /* records dropped */
uint64_t fake_wait_returned(void);    /* waits for pending completions: buffers completed so far */
uint64_t fake_told(void);             /* calls whose exit was told */
void fake_late(void);                 /* a call's exit told to the last subscriber, subscribed or not */
uint64_t fake_kernels(void);           /* kernels launched since the last reset */
int fake_subscribed(void);
uint32_t fake_enabled(void);          /* how many kinds are enabled */
int fake_finalized(void);
