/* Which span is open on each thread, and for CUDA graphs the one that was open when each node was captured. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { DEPTH = 256 };

typedef struct {
    uint32_t depth;                      /* past DEPTH only counted, so that pushes and pops still balance */
    uint64_t spans[DEPTH];
} span_stack;

static __thread span_stack stack;

int pcu_push(uint64_t span)
{
    uint32_t at = stack.depth++;
    if (at >= DEPTH)
        return CUPTI_MAX_LIMIT_REACHED;
    stack.spans[at] = span;
    return CUPTI_OK;
}

int pcu_pop(void)
{
    if (stack.depth == 0)
        return CUPTI_QUEUE_EMPTY;
    stack.depth--;
    return CUPTI_OK;
}

uint32_t pcu_depth(void)
{
    return stack.depth;
}

uint64_t correlate_open(void)
{
    return stack.depth ? stack.spans[(stack.depth < DEPTH ? stack.depth : DEPTH) - 1] : 0;
}

/* Node id to span: open addressing, kept for the life of the process as graphs are. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pcu_graph_node *nodes;
static size_t nodes_count, nodes_capacity;

static pcu_graph_node *slot_of(uint64_t node)
{
    size_t at = (node * 0x9E3779B97F4A7C15u >> 20) & (nodes_capacity - 1);
    while (nodes[at].node && nodes[at].node != node)
        at = (at + 1) & (nodes_capacity - 1);
    return &nodes[at];
}

static int grow(void)
{
    pcu_graph_node *old = nodes;
    size_t old_capacity = nodes_capacity, wanted = old_capacity ? old_capacity * 2 : 1024;
    pcu_graph_node *bigger = calloc(wanted, sizeof *bigger);
    if (!bigger)
        return -1;
    nodes = bigger;
    nodes_capacity = wanted;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].node)
            *slot_of(old[i].node) = old[i];
    free(old);
    return 0;
}

static void remember(uint64_t node, uint64_t span)
{
    if (!node || (nodes_count * 2 >= nodes_capacity && grow() != 0))
        return;
    pcu_graph_node *slot = slot_of(node);
    nodes_count += !slot->node;
    *slot = (pcu_graph_node){.node = node, .span = span};
}

static uint64_t recall(uint64_t node)
{
    return nodes_capacity && node ? slot_of(node)->span : 0;
}

/* CUPTI is asked first and the lock taken after, never the other way round. */
void correlate_graph_node(uint32_t id, const raw_resource *resource)
{
    const raw_graph_node *graph = resource->descriptor;
    uint64_t node = 0, original = 0;
    if (!graph || cupti.GetGraphNodeId(graph->node, &node) != CUPTI_OK)
        return;
    if (id == RESOURCE_GRAPH_NODE_CLONED && cupti.GetGraphNodeId(graph->original_node, &original) != CUPTI_OK)
        return;
    pthread_mutex_lock(&lock);
    remember(node, id == RESOURCE_GRAPH_NODE_CLONED ? recall(original) : correlate_open());
    pthread_mutex_unlock(&lock);
}

void correlate_forked(void)
{
    pthread_mutex_init(&lock, NULL);
    stack.depth = 0;
}

/* All nodes known, as rows. */
void correlate_graph_nodes(pcu_table *out)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < nodes_capacity; i++) {
        pcu_graph_node *row = nodes[i].span ? table_add(out) : NULL;
        if (row)
            *row = nodes[i];
    }
    pthread_mutex_unlock(&lock);
}
