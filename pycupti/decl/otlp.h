/* Columns to the bytes of one OTLP ScopeSpans message. */

typedef struct {
    const void *data;             /* first value */
    int64_t stride;               /* bytes from one value to the next */
    int type;                     /* pcu_column_type */
    const char *const *strings;   /* what a string column's values index */
    const uint32_t *lengths;
    uint32_t strings_count;
} pcu_column;

enum pcu_column_type {
    PCU_U8, PCU_U16, PCU_U32, PCU_U64, PCU_I32, PCU_I64, PCU_F32, PCU_F64, PCU_STRING
};

typedef struct {
    const char *key;
    uint32_t key_length;
    pcu_column values;
} pcu_attribute;

typedef struct {
    const char *scope_name, *scope_version, *schema_url;
    const uint8_t *trace_id;              /* 16 bytes, shared by all spans */
    pcu_column span_id, parent_id, start, end, name;
    int kind;
    uint64_t count;
    const pcu_attribute *attributes;
    uint32_t attributes_count;
} pcu_spans;

typedef struct {
    uint8_t *allocation;
    const uint8_t *data;
    uint64_t length;
} pcu_bytes;

/* 0; -1 out of memory; -2 an index is past its strings. `out` is freed with pcu_bytes_free. */
int pcu_encode_spans(const pcu_spans *spans, pcu_bytes *out);
void pcu_bytes_free(pcu_bytes *bytes);
