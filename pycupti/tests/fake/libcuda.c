/* A stand-in for the CUDA driver: as many devices as FAKE_CUDA_DEVICES says, and cuInit's answer from FAKE_CUDA_INIT. */
#include <stdio.h>
#include <stdlib.h>

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags)
{
    (void)flags;
    return number("FAKE_CUDA_INIT", 0);
}

int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return 0;
}

int cuDeviceGetCount(int *count)
{
    *count = number("FAKE_CUDA_DEVICES", 1);
    return 0;
}

int cuDeviceGet(int *device, int index)
{
    *device = index;
    return 0;
}

int cuDeviceGetName(char *name, int size, int device)
{
    snprintf(name, (size_t)size, "Fake GPU %d", device);
    return 0;
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
    (void)device;
    *flags = 0;
    *active = 1;
    return 0;
}

static int context;

int cuDevicePrimaryCtxRetain(void **out, int device)
{
    (void)device;
    *out = &context;
    return 0;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    (void)device;
    return 0;
}

int cuCtxGetCurrent(void **out)
{
    *out = &context;
    return 0;
}

int cuCtxPushCurrent_v2(void *in)
{
    (void)in;
    return 0;
}

int cuCtxPopCurrent_v2(void **out)
{
    *out = &context;
    return 0;
}

void (*fake_on_synchronize)(void);           /* what CUPTI would tell of the call */

int cuCtxSynchronize(void)
{
    if (fake_on_synchronize)
        fake_on_synchronize();
    return number("FAKE_CUDA_SYNCHRONIZE", 0);
}
