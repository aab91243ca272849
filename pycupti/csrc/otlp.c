/* Columns to one OTLP ScopeSpans message. Written from the end to the front: a length is known once its content is
   there, so each span is walked once. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2 };
enum { SCOPE_NAME = 1, SCOPE_VERSION = 2, SCOPE_SPANS_SCOPE = 1, SCOPE_SPANS_SPANS = 2, SCOPE_SPANS_SCHEMA_URL = 3 };
enum { TRACE_ID = 1, SPAN_ID = 2, PARENT_ID = 4, NAME = 5, KIND = 6, START = 7, END = 8, ATTRIBUTES = 9 };
enum { KEY = 1, VALUE = 2, ANY_STRING = 1, ANY_INT = 3, ANY_DOUBLE = 4 };
enum { SPAN_BOUND = 96, ATTRIBUTE_BOUND = 40 };

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    int size = 1;
    for (uint64_t rest = value >> 7; rest; rest >>= 7)
        size++;
    at -= size;
    for (int i = 0; i < size; i++, value >>= 7)
        at[i] = (uint8_t)((value & 127) | (i + 1 < size ? 128 : 0));
    return at;
}

static uint8_t *put_tag(uint8_t *at, int field, int wire)
{
    *--at = (uint8_t)(field << 3 | wire);
    return at;
}

static uint8_t *put_raw(uint8_t *at, const void *data, size_t length)
{
    at -= length;
    memcpy(at, data, length);
    return at;
}

static uint8_t *put_bytes(uint8_t *at, int field, const void *data, size_t length)
{
    return put_tag(put_varint(put_raw(at, data, length), length), field, BYTES);
}

static uint8_t *put_text(uint8_t *at, int field, const char *text)
{
    size_t length = strlen(text);
    return length ? put_bytes(at, field, text, length) : at;
}

/* Closes a message whose content lies between `at` and `end`. */
static uint8_t *put_message(uint8_t *at, int field, const uint8_t *end)
{
    return put_tag(put_varint(at, (uint64_t)(end - at)), field, BYTES);
}

static uint8_t *put_fixed64(uint8_t *at, int field, uint64_t value)
{
    at -= 8;
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
    return put_tag(at, field, FIXED64);
}

/* A span id's bytes are its number with the highest first. */
static uint8_t *put_id(uint8_t *at, int field, uint64_t id)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(id >> (56 - 8 * i));
    return put_bytes(at, field, bytes, 8);
}

#define READ(type) \
    { \
        type value; \
        memcpy(&value, address, sizeof value); \
        return (uint64_t)(int64_t)value; \
    }

static uint64_t read_integer(const pcu_column *column, uint64_t row)
{
    const char *address = (const char *)column->data + (int64_t)row * column->stride;
    switch (column->type) {
    case PCU_U8: READ(uint8_t)
    case PCU_U16: READ(uint16_t)
    case PCU_U64: READ(uint64_t)
    case PCU_I32: READ(int32_t)
    case PCU_I64: READ(int64_t)
    default: READ(uint32_t)
    }
}

static double read_real(const pcu_column *column, uint64_t row)
{
    const char *address = (const char *)column->data + (int64_t)row * column->stride;
    float single;
    double value;
    if (column->type == PCU_F32) {
        memcpy(&single, address, sizeof single);
        return single;
    }
    memcpy(&value, address, sizeof value);
    return value;
}

static uint8_t *put_attribute(uint8_t *at, const pcu_attribute *attribute, uint64_t row)
{
    const pcu_column *column = &attribute->values;
    uint8_t *end = at;
    if (column->type == PCU_STRING) {
        uint64_t index = read_integer(column, row);
        at = put_bytes(at, ANY_STRING, column->strings[index], column->lengths[index]);
    } else if (column->type == PCU_F32 || column->type == PCU_F64) {
        double value = read_real(column, row);
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        at = put_fixed64(at, ANY_DOUBLE, bits);
    } else {
        at = put_tag(put_varint(at, read_integer(column, row)), ANY_INT, VARINT);
    }
    at = put_message(at, VALUE, end);
    if (attribute->key_length)
        at = put_bytes(at, KEY, attribute->key, attribute->key_length);
    return put_message(at, ATTRIBUTES, end);
}

static uint8_t *put_span(uint8_t *at, const pcu_spans *spans, uint64_t row)
{
    uint8_t *end = at;
    for (uint32_t i = spans->attributes_count; i-- > 0;)
        at = put_attribute(at, &spans->attributes[i], row);
    uint64_t finish = read_integer(&spans->end, row), start = read_integer(&spans->start, row);
    if (finish)
        at = put_fixed64(at, END, finish);
    if (start)
        at = put_fixed64(at, START, start);
    if (spans->kind)
        at = put_tag(put_varint(at, (uint64_t)spans->kind), KIND, VARINT);
    uint64_t name = read_integer(&spans->name, row), parent = read_integer(&spans->parent_id, row);
    if (spans->name.lengths[name])
        at = put_bytes(at, NAME, spans->name.strings[name], spans->name.lengths[name]);
    if (parent)
        at = put_id(at, PARENT_ID, parent);
    at = put_id(at, SPAN_ID, read_integer(&spans->span_id, row));
    at = put_bytes(at, TRACE_ID, spans->trace_id, 16);
    return put_message(at, SCOPE_SPANS_SPANS, end);
}

/* Adds the bytes of a string column to `bound`; -1 when an index has no string. */
static int add_strings(const pcu_column *column, uint64_t count, size_t *bound)
{
    for (uint64_t row = 0; row < count; row++) {
        uint64_t index = read_integer(column, row);
        if (index >= column->strings_count)
            return -1;
        *bound += column->lengths[index];
    }
    return 0;
}

static int size_bound(const pcu_spans *spans, size_t *bound)
{
    size_t each = SPAN_BOUND;
    *bound = 64 + strlen(spans->scope_name) + strlen(spans->scope_version) + strlen(spans->schema_url);
    if (add_strings(&spans->name, spans->count, bound) != 0)
        return -1;
    for (uint32_t i = 0; i < spans->attributes_count; i++) {
        const pcu_attribute *attribute = &spans->attributes[i];
        each += ATTRIBUTE_BOUND + attribute->key_length;
        if (attribute->values.type == PCU_STRING && add_strings(&attribute->values, spans->count, bound) != 0)
            return -1;
    }
    *bound += each * spans->count;
    return 0;
}

int pcu_encode_spans(const pcu_spans *spans, pcu_bytes *out)
{
    size_t bound;
    if (size_bound(spans, &bound) != 0)
        return -2;
    if (!(out->allocation = malloc(bound)))
        return -1;
    uint8_t *end = out->allocation + bound, *at = put_text(end, SCOPE_SPANS_SCHEMA_URL, spans->schema_url);
    for (uint64_t row = spans->count; row-- > 0;)
        at = put_span(at, spans, row);
    uint8_t *scope_end = at;
    at = put_text(at, SCOPE_VERSION, spans->scope_version);
    at = put_text(at, SCOPE_NAME, spans->scope_name);
    at = put_message(at, SCOPE_SPANS_SCOPE, scope_end);
    out->data = at;
    out->length = (uint64_t)(end - at);
    return 0;
}

void pcu_bytes_free(pcu_bytes *bytes)
{
    free(bytes->allocation);
    memset(bytes, 0, sizeof *bytes);
}
