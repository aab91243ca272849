/* Starting and stopping the process's one activity tracer. */
#include <stdatomic.h>
#include <string.h>

#include "core.h"

enum { KINDS = 64 };

static struct {
    atomic_int running, finalized;
    void *subscriber;
    uint32_t kinds[KINDS], kinds_count;
} session;

static void disable_all(void)
{
    while (session.kinds_count)
        cupti.ActivityDisable(session.kinds[--session.kinds_count]);
    for (uint32_t domain = DOMAIN_DRIVER; domain <= DOMAIN_RESOURCE; domain++)
        cupti.EnableDomain(0, session.subscriber, domain);
}

static int enable_kind(uint32_t kind, int all_calls)
{
    if (kind == KIND_DRIVER || kind == KIND_RUNTIME)
        return calls_enable(session.subscriber, kind == KIND_DRIVER ? DOMAIN_DRIVER : DOMAIN_RUNTIME, all_calls);
    int result = cupti.ActivityEnable(kind);
    if (result == CUPTI_OK)
        session.kinds[session.kinds_count++] = kind;
    return result;
}

static int enable_all(const pcu_options *options, uint32_t *failed_kind)
{
    int result = CUPTI_OK;
    for (uint32_t i = 0; i < options->kinds_count && i < KINDS; i++) {
        if ((result = enable_kind(options->kinds[i], options->all_calls)) != CUPTI_OK) {
            *failed_kind = options->kinds[i];
            return result;
        }
    }
    if (options->graph_nodes) {
        result = cupti.EnableCallback(1, session.subscriber, DOMAIN_RESOURCE, RESOURCE_GRAPH_NODE_CREATED);
        if (result == CUPTI_OK)
            result = cupti.EnableCallback(1, session.subscriber, DOMAIN_RESOURCE, RESOURCE_GRAPH_NODE_CLONED);
    }
    return result;
}

/* CUPTI doesn't survive a fork, and neither does the worker: a child starts with nothing running. */
static void forked(void)
{
    atomic_store(&session.running, 0);
    session.kinds_count = 0;
    pool_forked();
    names_forked();
    correlate_forked();
    calls_forked();
}

static void register_fork_handler(void)
{
    pthread_atfork(NULL, NULL, forked);
}

int pcu_start(const pcu_options *options, uint32_t *failed_kind)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handler);
    uint32_t version = 0;
    *failed_kind = 0;
    if (atomic_load(&session.running))
        return CUPTI_MULTIPLE_SUBSCRIBERS;
    int result = pcu_cupti_version(&version);
    if (result != CUPTI_OK)
        return result;
    /* The subscription comes first: it is what tells whether another client is in the process. */
    if ((result = cupti.Subscribe(&session.subscriber, calls_callback, NULL)) != CUPTI_OK)
        return result;
    if (pool_open(options->buffer_bytes, options->max_buffers, version) != 0) {
        cupti.Unsubscribe(session.subscriber);
        return CUPTI_OUT_OF_MEMORY;
    }
    if (options->device_buffers) {
        size_t limit = options->device_buffers, size = sizeof limit;
        cupti.ActivitySetAttribute(ATTRIBUTE_DEVICE_BUFFER_POOL_LIMIT, &size, &limit);   /* a wish: too late is fine */
    }
    result = cupti.ActivityRegisterCallbacks(pool_request, pool_complete);
    if (result == CUPTI_OK)
        result = enable_all(options, failed_kind);
    if (result != CUPTI_OK) {
        disable_all();
        cupti.Unsubscribe(session.subscriber);
        pool_close();
        return result;
    }
    calls_activate(1);
    atomic_store(&session.running, 1);
    atomic_store(&session.finalized, 0);
    return CUPTI_OK;
}

int pcu_running(void)
{
    return atomic_load(&session.running);
}

/* Plain first: a forced flush may hand back kernels that haven't finished. The fence is by buffer, since CUPTI may
   complete buffers after its flush has returned. */
static int flush(double timeout_s)
{
    calls_mute(1);
    int result = pcu_device_synchronize();
    calls_mute(0);
    if (result)
        result += CUDA_BASE;
    uint64_t serial = pool_serial();
    int flushed = cupti.ActivityFlushAll(0);
    if (result || flushed)
        return result ? result : flushed;
    int late = pool_fence(serial, timeout_s / 2);
    if (late) {
        if ((flushed = cupti.ActivityFlushAll(FLUSH_FORCED)) != CUPTI_OK)
            return flushed;
        late = pool_fence(serial, timeout_s / 2);
    }
    pool_ask_dropped();
    return late;
}

int pcu_flush(double timeout_s)
{
    return pcu_running() ? flush(timeout_s) : CUPTI_OK;
}

int pcu_stop(int finalize, double timeout_s)
{
    int expected = 1;
    if (!atomic_compare_exchange_strong(&session.running, &expected, 0))
        return CUPTI_OK;
    calls_activate(0);
    disable_all();
    int result = flush(timeout_s);
    cupti.Unsubscribe(session.subscriber);
    pool_close();
    if (finalize) {
        int finalized = pcu_finalize();
        result = result ? result : finalized;
    }
    return result;
}

int pcu_finalize(void)
{
    int result = cupti.Finalize();
    atomic_store(&session.finalized, result == CUPTI_OK);
    return result;
}

int pcu_finalized(void)
{
    return atomic_load(&session.finalized);
}

int pcu_drain(pcu_tables *out)
{
    pool_drain(out);
    correlate_graph_nodes(&out->graph_nodes);
    return CUPTI_OK;
}

void pcu_read_stats(pcu_stats *out)
{
    pool_stats(out);
}
