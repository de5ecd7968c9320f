/* libFuzzer: the scene reader takes any bytes. Every node it answers lies inside the document. */
#include <stdint.h>
#include <stdlib.h>

#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    json_doc_t doc;
    json_error_t error;
    if (json_parse(&doc, (const char *)data, bytes, &error) != 0) {
        if (error.line == 0 || error.column == 0 || error.text[0] == '\0') { abort(); }
        return 0;
    }
    for (uint32_t i = 1; i < doc.count; i++) {
        if (doc.nodes[i].next >= doc.count || doc.nodes[i].first >= doc.count) { abort(); }
    }
    json_fini(&doc);
    return 0;
}
