/* The callback half of the stand-in libcupti: who has subscribed to what, and the API calls and graph nodes that are
   told. Callbacks nest, come twice, never, or late. */
#include <stdatomic.h>
#include <stddef.h>

#include "abi.h"
#include "calls.h"
#include "fake.h"

enum { CALLS = 807, CU_LAUNCH_NEWER = CALLS - 1 };

static atomic_int subscribed;
static atomic_uchar watched[4][CALLS];           /* callbacks enabled, by domain */
static callback_fn _Atomic callback, last_callback;
static _Atomic uint64_t calls, told;
static _Atomic uint32_t correlations;

void calls_reset(void)
{
    calls = told = 0;
}

int each(int which, uint64_t count)
{
    return switches[which] && count % switches[which] == 0;
}

/* One side of a call, told to the subscriber without CUPTI's lock. `slot` is the call's own. */
static void tell_call(uint32_t domain, uint32_t function, uint32_t site, uint32_t correlation, uint64_t *slot)
{
    static const uint32_t result = 0;
    callback_fn tell = callback;
    if (!tell || !watched[domain][function])
        return;
    raw_call call = {.site = site, .function = "call", .result = site == CALL_EXITS ? &result : NULL, .context_id = 1,
                     .slot = slot, .correlation = correlation};
    tell(NULL, domain, function, &call);
    told += site == CALL_EXITS;
}

/* A runtime call makes a driver call, which has the same correlation id unless FAKE_INNER_IDS is set; a program may
   make the driver call alone (`runtime` 0). Each FAKE_MISSING-th call isn't told of. */
api_call call_begin(uint32_t runtime, uint32_t driver)
{
    api_call call = {.runtime = runtime, .driver = driver, .correlation = ++correlations};
    call.inner = switches[FAKE_INNER_IDS] && runtime ? ++correlations : call.correlation;
    call.silent = each(FAKE_MISSING, ++calls);
    if (call.silent)
        return call;
    if (runtime)
        tell_call(DOMAIN_RUNTIME, runtime, CALL_ENTERS, call.correlation, &call.outer_slot);
    if (driver)
        tell_call(DOMAIN_DRIVER, driver, CALL_ENTERS, call.inner, &call.inner_slot);
    return call;
}

void call_end(api_call *call)
{
    if (call->silent)
        return;
    if (call->driver)
        tell_call(DOMAIN_DRIVER, call->driver, CALL_EXITS, call->inner, &call->inner_slot);
    if (call->runtime)
        tell_call(DOMAIN_RUNTIME, call->runtime, CALL_EXITS, call->correlation, &call->outer_slot);
    if (each(FAKE_DUPLICATES, calls) && call->driver)
        tell_call(DOMAIN_DRIVER, call->driver, CALL_EXITS, call->inner, &call->inner_slot);
}

void tell_node(uint32_t id, uint64_t node, uint64_t original)
{
    raw_graph_node graph = {.node = (void *)(uintptr_t)node, .original_node = (void *)(uintptr_t)original};
    raw_resource resource = {.descriptor = &graph};
    callback_fn tell = callback;
    if (tell && watched[DOMAIN_RESOURCE][id])
        tell(NULL, DOMAIN_RESOURCE, id, &resource);
}

uint64_t fake_told(void)
{
    return told;
}

void fake_late(void)
{
    uint64_t slot = 1;
    raw_call call = {.site = CALL_EXITS, .slot = &slot, .correlation = ++correlations};
    if (last_callback)
        last_callback(NULL, DOMAIN_RUNTIME, LAUNCH_KERNEL, &call);
}

int fake_subscribed(void)
{
    return subscribed;
}

int cuptiSubscribe(void **subscriber, callback_fn function, void *user)
{
    (void)user;
    if (switches[FAKE_SUBSCRIBE_RESULT])
        return (int)switches[FAKE_SUBSCRIBE_RESULT];
    if (subscribed)
        return CUPTI_MULTIPLE_SUBSCRIBERS;
    subscribed = 1;
    finalized = 0;
    callback = last_callback = function;
    *subscriber = &subscribed;
    return CUPTI_OK;
}

int cuptiUnsubscribe(void *subscriber)
{
    (void)subscriber;
    subscribed = 0;
    callback = NULL;
    for (uint32_t domain = 1; domain <= DOMAIN_RESOURCE; domain++)
        for (uint32_t id = 0; id < CALLS; id++)
            watched[domain][id] = 0;
    return CUPTI_OK;
}

int cuptiEnableCallback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id)
{
    if (subscriber != &subscribed || domain > DOMAIN_RESOURCE || id >= CALLS)
        return CUPTI_INVALID_PARAMETER;
    if (enable && switches[FAKE_ENABLE_RESULT] && switches[FAKE_ENABLE_KIND] == KIND_DRIVER && domain == DOMAIN_DRIVER)
        return (int)switches[FAKE_ENABLE_RESULT];
    if (enable && switches[FAKE_OLD_DRIVER] && domain == DOMAIN_DRIVER && id == CU_LAUNCH_NEWER)
        return CUPTI_INVALID_PARAMETER;
    watched[domain][id] = (uint8_t)enable;
    return CUPTI_OK;
}

int cuptiEnableDomain(uint32_t enable, void *subscriber, uint32_t domain)
{
    for (uint32_t id = 1; id < CALLS; id++)
        cuptiEnableCallback(enable, subscriber, domain, id);
    return CUPTI_OK;
}

int cuptiGetCallbackName(uint32_t domain, uint32_t function, const char **name)
{
    static const struct {
        uint32_t domain, function;
        const char *name;
    } named[] = {
        {DOMAIN_RUNTIME, GET_DEVICE, "cudaGetDevice_v3020"},
        {DOMAIN_RUNTIME, MEMCPY_ASYNC, "cudaMemcpyAsync_v3020"},
        {DOMAIN_RUNTIME, STREAM_SYNCHRONIZE, "cudaStreamSynchronize_v3020"},
        {DOMAIN_RUNTIME, LAUNCH_KERNEL, "cudaLaunchKernel_v7000"},
        {DOMAIN_RUNTIME, GRAPH_LAUNCH, "cudaGraphLaunch_v10000"},
        {DOMAIN_DRIVER, CU_INIT, "cuInit"},
        {DOMAIN_DRIVER, CU_MEMCPY_ASYNC, "cuMemcpyAsync"},
        {DOMAIN_DRIVER, CU_MEMSET_ASYNC, "cuMemsetD8Async"},
        {DOMAIN_DRIVER, CU_STREAM_SYNCHRONIZE, "cuStreamSynchronize"},
        {DOMAIN_DRIVER, CU_LAUNCH_KERNEL, "cuLaunchKernel"},
        {DOMAIN_DRIVER, CU_GRAPH_LAUNCH, "cuGraphLaunch"},
        {DOMAIN_DRIVER, CU_LAUNCH_NEWER, "cuLaunchNewer"},
    };
    if (function >= CALLS)
        return CUPTI_INVALID_PARAMETER;
    *name = domain == DOMAIN_RUNTIME ? "cudaElse_v3020" : "cuElse";
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i].domain == domain && named[i].function == function)
            *name = named[i].name;
    return CUPTI_OK;
}
