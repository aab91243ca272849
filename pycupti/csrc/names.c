/* Interned names. A cache by address makes the usual case one comparison; the content decides, because an unloaded
   module's address may come to hold another name. Names live as long as the process. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

typedef struct {
    const char *address;
    uint32_t index;
} cached;

enum { CACHE = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cached cache[CACHE];              /* the worker's alone */
static char **names;                     /* guarded by `lock` for everyone but the worker's reads */
static uint32_t *slots;                  /* open addressing over names: index + 1, 0 is empty */
static uint32_t count, slots_count;

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    return hash;
}

static void place(uint32_t index)
{
    uint32_t at = (uint32_t)hash_text(names[index]) & (slots_count - 1);
    while (slots[at])
        at = (at + 1) & (slots_count - 1);
    slots[at] = index + 1;
}

static int grow(void)
{
    uint32_t wanted = slots_count ? slots_count * 2 : 1024;
    char **more = realloc(names, wanted / 2 * sizeof *names);
    if (!more)
        return -1;
    names = more;
    uint32_t *table = calloc(wanted, sizeof *table);
    if (!table)
        return -1;
    free(slots);
    slots = table;
    slots_count = wanted;
    for (uint32_t i = 0; i < count; i++)
        place(i);
    return 0;
}

static uint32_t intern_content(const char *name)
{
    if (slots_count) {
        uint32_t at = (uint32_t)hash_text(name) & (slots_count - 1);
        for (; slots[at]; at = (at + 1) & (slots_count - 1))
            if (strcmp(names[slots[at] - 1], name) == 0)
                return slots[at] - 1;
    }
    char *copy = strdup(name);
    pthread_mutex_lock(&lock);
    uint32_t index = 0;
    if (copy && (count < slots_count / 2 || grow() == 0)) {
        names[index = count++] = copy;
        place(index);
    } else {
        free(copy);                      /* out of memory: the record keeps the first name, which is the empty one */
    }
    pthread_mutex_unlock(&lock);
    return index;
}

uint32_t name_intern(const char *name)
{
    if (!count)
        intern_content("");
    if (!name || !count)
        return 0;
    cached *entry = &cache[((uintptr_t)name >> 3) % CACHE];
    if (entry->address != name || strcmp(names[entry->index], name) != 0) {
        entry->index = intern_content(name);
        entry->address = name;
    }
    return entry->index;
}

void names_forked(void)
{
    pthread_mutex_init(&lock, NULL);
}

uint32_t pcu_names_count(void)
{
    pthread_mutex_lock(&lock);
    uint32_t known = count;
    pthread_mutex_unlock(&lock);
    return known;
}

const char *pcu_name(uint32_t index)
{
    pthread_mutex_lock(&lock);
    const char *name = index < count ? names[index] : NULL;
    pthread_mutex_unlock(&lock);
    return name;
}
