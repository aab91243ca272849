/* What the two halves of the stand-in libcupti that trace share: records (libcupti.c) and callbacks (libcalls.c). */
#pragma once

#include <stdint.h>

/* The calls that the stand-in makes, by the numbers that CUDA 13.0 gives them. */
enum { GET_DEVICE = 17, MEMCPY_ASYNC = 41, STREAM_SYNCHRONIZE = 131, LAUNCH_KERNEL = 211, GRAPH_LAUNCH = 311 };
enum { CU_INIT = 1, CU_MEMSET_ASYNC = 216, CU_STREAM_SYNCHRONIZE = 126, CU_MEMCPY_ASYNC = 306, CU_LAUNCH_KERNEL = 307, CU_GRAPH_LAUNCH = 514 };

extern uint64_t switches[];
extern int finalized;

typedef struct {
    uint32_t runtime, driver, correlation, inner;
    uint64_t outer_slot, inner_slot;
    int silent;
} api_call;

int each(int which, uint64_t count);                        /* whether a switch picks the count-th */
api_call call_begin(uint32_t runtime, uint32_t driver);
void call_end(api_call *call);
void tell_node(uint32_t id, uint64_t node, uint64_t original);
void calls_reset(void);
