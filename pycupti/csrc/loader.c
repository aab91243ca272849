/* Finds, opens and binds libcupti. Nothing here calls into it before the caller says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "core.h"

cupti_functions cupti;
static char opened_path[4096];
static int opened;

typedef struct {
    int skip;
    char path[4096];
} search;

static int match_cupti(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    search *wanted = data;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *base = slash ? slash + 1 : info->dlpi_name;
    if (strncmp(base, "libcupti.so", 11) != 0 || wanted->skip-- > 0)
        return 0;
    snprintf(wanted->path, sizeof wanted->path, "%s", info->dlpi_name);
    return 1;
}

const char *pcu_loaded_cupti(int index)
{
    static __thread search found;
    found.skip = index;
    found.path[0] = '\0';
    return dl_iterate_phdr(match_cupti, &found) ? found.path : NULL;
}

static int bind(void *library, const char *symbol, void *slot)
{
    void *address = dlsym(library, symbol);
    memcpy(slot, &address, sizeof address);
    return address != NULL;
}

int pcu_cupti_open(const char *path, char *message, int size)
{
    if (opened && strcmp(path, opened_path) == 0)
        return 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (!library)
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *error = dlerror();
        snprintf(message, (size_t)size, "%s", error ? error : "unknown");
        return -1;
    }
    cupti_functions functions;
#define REQUIRE(name, parameters) \
    if (!bind(library, "cupti" #name, &functions.name)) { \
        snprintf(message, (size_t)size, "%s has no function cupti%s", path, #name); \
        dlclose(library); \
        return -1; \
    }
#define ACCEPT(name, parameters) bind(library, "cupti" #name, &functions.name);
    CUPTI_REQUIRED(REQUIRE)
    CUPTI_OPTIONAL(ACCEPT)
    cupti = functions;
    snprintf(opened_path, sizeof opened_path, "%s", path);
    opened = 1;
    return 0;
}

int pcu_cupti_version(uint32_t *version)
{
    return opened ? cupti.GetVersion(version) : CUPTI_NOT_INITIALIZED;
}

const char *pcu_call_name(uint32_t domain, uint32_t function)
{
    const char *name = NULL;
    if (!opened || cupti.GetCallbackName(domain, function, &name) != CUPTI_OK)
        return NULL;
    return name;
}
