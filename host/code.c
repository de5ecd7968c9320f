#include "code.h"

#include <sys/mman.h>

enum { MAX_AREAS = 256 };

typedef struct {
    char *base;
    size_t bytes;
    const void *owner;
    void *frame; /* registered with the unwinder, or NULL */
    bool executable;
} area_t;

_Thread_local const void *code_owner;
static _Thread_local area_t areas[MAX_AREAS]; /* base NULL: free; a state stays in its thread */

/* Made by the linker around the section that the build puts LuaJIT's text into. */
extern const char __start_luajit_text[],
    __stop_luajit_text[];                    // NOLINT(bugprone-reserved-identifier)
extern void __register_frame(void *frame);   // NOLINT
extern void __deregister_frame(void *frame); // NOLINT

static area_t *area_of(uintptr_t address) {
    for (size_t i = 0; i < MAX_AREAS; i++) {
        uintptr_t base = (uintptr_t)areas[i].base;
        if (base != 0 && address >= base && address < base + areas[i].bytes) { return &areas[i]; }
    }
    return NULL;
}

static area_t *owned_area(const void *address) {
    return code_owner == NULL ? NULL : area_of((uintptr_t)address);
}

bool code_is_lua(uintptr_t pc) {
    if (pc >= (uintptr_t)__start_luajit_text && pc < (uintptr_t)__stop_luajit_text) { return true; }
    const area_t *area = area_of(pc);
    return area != NULL && area->executable;
}

void *code_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    void *map = mmap(at, bytes, protection, flags, fd, offset);
    if (map == MAP_FAILED || code_owner == NULL) { return map; }
    for (size_t i = 0; i < MAX_AREAS; i++) {
        if (areas[i].base != NULL) { continue; }
        areas[i] = (area_t){.base = map,
                            .bytes = bytes,
                            .owner = code_owner,
                            .executable = (protection & PROT_EXEC) != 0};
        break; /* when the table is full the area is not known: never left, never given back */
    }
    return map;
}

int code_munmap(void *at, size_t bytes) {
    area_t *area = owned_area(at);
    if (area != NULL && area->base == at) { *area = (area_t){0}; }
    return munmap(at, bytes);
}

int code_mprotect(void *at, size_t bytes, int protection) {
    area_t *area = owned_area(at);
    if (area != NULL && (protection & PROT_EXEC) != 0) { area->executable = true; }
    return mprotect(at, bytes, protection);
}

void code_register_frame(void *frame) {
    area_t *area = owned_area(frame);
    if (area != NULL) { area->frame = frame; }
    __register_frame(frame);
}

void code_deregister_frame(void *frame) {
    area_t *area = owned_area(frame);
    if (area != NULL) { area->frame = NULL; }
    __deregister_frame(frame);
}

void code_release(const void *owner) {
    for (size_t i = MAX_AREAS; i-- > 0;) {
        if (areas[i].base == NULL || areas[i].owner != owner) { continue; }
        area_t area = areas[i];
        areas[i] = (area_t){0};
        if (area.frame != NULL) { __deregister_frame(area.frame); }
        (void)munmap(area.base, area.bytes);
    }
}
