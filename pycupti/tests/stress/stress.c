/* The core without Python, against the stand-in, from many threads; built with a sanitizer by test_sanitizers.py.
   Usage: stress LIBCUDA LIBCUPTI ROUNDS. Exits 1, saying why, when a record was lost without being counted. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "fake.h"

enum { THREADS = 6, LAUNCHES = 3000 };

static atomic_int done;

static void *launch(void *argument)
{
    uint64_t span = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < LAUNCHES; i++) {
        pcu_push(span);
        fake_launch("kernel", (uint32_t)span);
        if (i % 500 == 0)
            fake_graph("node", 3, 2);
        pcu_pop();
    }
    return NULL;
}

static uint64_t free_tables(pcu_tables *tables)
{
    uint64_t rows = 0;
    pcu_table *all[] = {&tables->kernels, &tables->copies, &tables->sets, &tables->calls, &tables->overheads,
                        &tables->synchronizations, &tables->markers, &tables->memory};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        rows += all[i]->rows;
        pcu_unmap(all[i]->data, all[i]->mapped);
    }
    pcu_unmap(tables->graph_nodes.data, tables->graph_nodes.mapped);
    return rows;
}

static void *drain(void *total)
{
    pcu_stats stats;
    while (!atomic_load(&done)) {
        pcu_tables tables;
        pcu_drain(&tables);
        *(uint64_t *)total += free_tables(&tables);
        pcu_flush(5);
        pcu_read_stats(&stats);
        for (uint32_t i = 0; i < pcu_names_count(); i++)
            if (!pcu_name(i))
                abort();
    }
    return NULL;
}

static int round_of(uint32_t version, uint32_t max_buffers)
{
    static const uint32_t kinds[] = {KIND_KERNEL, KIND_RUNTIME, KIND_DRIVER};
    uint32_t failed;
    uint64_t drained = 0;
    fake_reset();
    fake_set(FAKE_VERSION, version);
    fake_set(FAKE_ASYNC, 1);
    fake_set(FAKE_ZERO_TIMES, 100);
    fake_set(FAKE_DUPLICATES, 7);
    fake_set(FAKE_MISSING, 11);
    pcu_options options = {.buffer_bytes = 32768, .max_buffers = max_buffers, .device_buffers = 8, .kinds = kinds,
                           .kinds_count = 3, .graph_nodes = 1};
    if (pcu_start(&options, &failed) != 0)
        return fprintf(stderr, "start failed\n"), 1;
    pthread_t threads[THREADS], drainer;
    atomic_store(&done, 0);
    pthread_create(&drainer, NULL, drain, &drained);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, launch, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&done, 1);
    pthread_join(drainer, NULL);
    int result = pcu_stop(0, 10);
    pcu_tables tables;
    pcu_drain(&tables);
    drained += free_tables(&tables);
    pcu_stats stats;
    pcu_read_stats(&stats);
    printf("version %u: emitted %llu told %llu drained %llu dropped %llu rejected %llu\n", version,
           (unsigned long long)fake_emitted(), (unsigned long long)fake_told(), (unsigned long long)drained,
           (unsigned long long)stats.dropped, (unsigned long long)stats.rejected);
    return result != 0 || stats.records + stats.dropped != fake_emitted() || stats.calls != fake_told() ||
           stats.records + stats.calls != drained;
}

int main(int count, char **arguments)
{
    char message[256];
    pcu_driver driver;
    if (count != 4)
        return 2;
    pcu_driver_probe(arguments[1], &driver);
    if (!driver.found || driver.devices == 0 || pcu_cupti_open(arguments[2], message, sizeof message) != 0)
        return 3;
    int failed = 0;
    for (int i = 0; i < atoi(arguments[3]); i++)
        failed |= round_of(i % 2 ? 130001 : 24, i % 3 == 2 ? 2 : 32);
    return failed;
}
