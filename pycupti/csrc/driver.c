/* The CUDA driver, as far as tracing needs it: proof that it works, and a device synchronise. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "core.h"

#define DRIVER_FUNCTIONS(X) \
    X(cuInit, (unsigned)) \
    X(cuDriverGetVersion, (int *)) \
    X(cuDeviceGetCount, (int *)) \
    X(cuDeviceGet, (int *, int)) \
    X(cuDeviceGetName, (char *, int, int)) \
    X(cuDevicePrimaryCtxGetState, (int, unsigned *, int *)) \
    X(cuDevicePrimaryCtxRetain, (void **, int)) \
    X(cuDevicePrimaryCtxRelease_v2, (int)) \
    X(cuCtxGetCurrent, (void **)) \
    X(cuCtxPushCurrent_v2, (void *)) \
    X(cuCtxPopCurrent_v2, (void **)) \
    X(cuCtxSynchronize, (void))

static struct {
#define FIELD(name, parameters) int(*name) parameters;
    DRIVER_FUNCTIONS(FIELD)
} driver;
static pcu_driver known;

void pcu_driver_probe(const char *path, pcu_driver *out)
{
    if (known.found && known.result == 0 && known.devices > 0) {
        *out = known;
        return;
    }
    memset(out, 0, sizeof *out);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *error = dlerror();
        snprintf(out->message, sizeof out->message, "%s", error ? error : "unknown");
        return;
    }
    out->found = 1;
#define BIND(name, parameters) \
    { \
        void *address = dlsym(library, #name); \
        if (!address) { \
            out->result = CUPTI_UNKNOWN; \
            snprintf(out->message, sizeof out->message, "%s has no function " #name, path); \
            return; \
        } \
        memcpy(&driver.name, &address, sizeof address); \
    }
    DRIVER_FUNCTIONS(BIND)
    out->result = driver.cuInit(0);
    if (out->result == 0)
        out->result = driver.cuDeviceGetCount(&out->devices);
    if (out->result == 0)
        out->result = driver.cuDriverGetVersion(&out->version);
    known = *out;
}

int pcu_device_name(int index, char *name, int size)
{
    int device, result = driver.cuDeviceGet(&device, index);
    return result ? result : driver.cuDeviceGetName(name, size, device);
}

static int synchronize_primary(int index)
{
    int device, active = 0;
    unsigned flags;
    int result = driver.cuDeviceGet(&device, index);
    if (result == 0)
        result = driver.cuDevicePrimaryCtxGetState(device, &flags, &active);
    if (result || !active)
        return result;
    void *context;
    if ((result = driver.cuDevicePrimaryCtxRetain(&context, device)) != 0)
        return result;
    if ((result = driver.cuCtxPushCurrent_v2(context)) == 0) {
        result = driver.cuCtxSynchronize();
        driver.cuCtxPopCurrent_v2(&context);
    }
    driver.cuDevicePrimaryCtxRelease_v2(device);
    return result;
}

/* Every primary context, and the current context, which may be another. */
int pcu_device_synchronize(void)
{
    void *current = NULL;
    int result = driver.cuCtxGetCurrent(&current);
    if (result == 0 && current)
        result = driver.cuCtxSynchronize();
    for (int i = 0; result == 0 && i < known.devices; i++)
        result = synchronize_primary(i);
    return result;
}

int pcu_context(int index, void **context)
{
    int device, result = driver.cuCtxGetCurrent(context);
    if (result || *context)
        return result;
    if ((result = driver.cuDeviceGet(&device, index)) != 0)
        return result;
    if ((result = driver.cuDevicePrimaryCtxRetain(context, device)) != 0)
        return result;
    return driver.cuCtxPushCurrent_v2(*context);
}
