/* The maps of the world's memfd, and what happens to accesses that go round the types.
 *
 *   core    read-write, fixed, the core's own
 *   view    read-only, for readers ┐ each in one slot of a ring of address ranges; the other
 *   window  read-write, for writers┘ slots are reserved and nothing may be touched there
 *
 *   ring ─▶ │ none │ none │ the map │ none │ ...        one mremap moves the map to the next slot
 *
 * A map moves when references into it have gone stale, so a use of one faults. The handler of the
 * host calls ecs_fault_divert: the page at fault is replaced by a private one, where the access
 * can finish without harm, and ecs_fault_settle puts it back.
 *
 * Kernels before 6.17 refuse to move a range that is split, so pages are put back before any move.
 * A kernel that moves nothing at all is found out by a trial when the process makes its first
 * world: the maps then stay where they are, and the window is closed by its protection instead. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"

#define GIB ((size_t)1 << 30)
#define NOTHING (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7, for maps of files 5.13 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

enum { VIEW_SLOTS = 4096, WINDOW_SLOTS = 1024, MIN_SLOTS = 16, PAGE = 4096 };

/* ---- rings ----------------------------------------------------------------------------------- */

static char *slot_at(const ecs__ring_t *ring, uint32_t slot) {
    return ring->base + (size_t)slot * ring->slot_bytes;
}

static char *map_file(const ecs__ring_t *ring, char *at, size_t bytes, size_t offset, int fd) {
    int sharing = ring->is_private ? MAP_PRIVATE : MAP_SHARED;
    char *map =
        mmap(at, bytes, ring->protection, sharing | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset);
    return map == MAP_FAILED ? NULL : map;
}

/* Reserves `slots` ranges, aligned to a GiB: such a range moves by a few page table entries,
 * whatever the size of the world. Fewer slots when addresses are short. */
static int ring_init(ecs__ring_t *ring, uint32_t slots, int fd) {
    size_t bytes = 0;
    char *wide = MAP_FAILED;
    for (ring->slots = slots; wide == MAP_FAILED && ring->slots >= 1; ring->slots /= 2) {
        bytes = ring->slot_bytes * ring->slots + GIB;
        wide = mmap(NULL, bytes, PROT_NONE, NOTHING, -1, 0);
        if (wide != MAP_FAILED) { break; }
    }
    if (wide == MAP_FAILED) { return ECS_E_MEMORY; }
    ring->reserved = wide;
    ring->reserved_bytes = bytes;
    ring->base = wide + (GIB - (uintptr_t)wide % GIB) % GIB;
    ring->map = map_file(ring, ring->base, ring->slot_bytes, 0, fd);
    return ring->map == NULL ? ECS_E_MEMORY : ECS_OK;
}

static void ring_fini(ecs__ring_t *ring) {
    if (ring->reserved != NULL) { (void)munmap(ring->reserved, ring->reserved_bytes); }
    *ring = (ecs__ring_t){0};
}

static bool move_pages(char *from, char *to, size_t bytes, int how) {
    return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | how, to) == to;
}

/* Moves the map to the next slot; the old one becomes untouchable. False when the kernel will not:
 * the map is then where it was.
 *
 * The old range stays mapped until nothing is mapped in its place: in a hole another thread's map
 * could come to lie, and be taken away from it. Kernels before 5.13 leave one for a moment. */
static bool ring_move(ecs__ring_t *ring) {
    uint32_t next = (ring->at + 1) % ring->slots;
    char *from = ring->map, *to = slot_at(ring, next);
    if (ring->slots < MIN_SLOTS) { return false; }
    if (!move_pages(from, to, ring->slot_bytes, MREMAP_DONTUNMAP) &&
        !move_pages(from, to, ring->slot_bytes, 0)) {
        return false;
    }
    (void)mmap(from, ring->slot_bytes, PROT_NONE, NOTHING | MAP_FIXED, -1, 0);
    ring->at = next;
    ring->map = to;
    return true;
}

static bool ring_holds(const ecs__ring_t *ring, const char *address) {
    return address >= ring->base && address < slot_at(ring, ring->slots);
}

static bool in_map(const ecs__ring_t *ring, const char *address) {
    return address >= ring->map && address < ring->map + ring->slot_bytes;
}

/* ---- what this kernel can do ----------------------------------------------------------------- */

static uint32_t kernel_lacks;

/* A page diverted and put back in the middle of a map, then the map moved: does all of it work? */
static uint32_t trial(const ecs__ring_t *like, int fd) {
    ecs__ring_t ring = *like;
    uint32_t lacks = 0;
    volatile char *page = NULL;
    if (ftruncate(fd, 3 * PAGE) != 0 || ring_init(&ring, MIN_SLOTS, fd) != 0) {
        return ECS_WALL_NO_ROTATION | ECS_WALL_PRIVATE_DIVERT;
    }
    char *map = mmap(ring.map + PAGE, PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, PAGE);
    if (map == MAP_FAILED) {
        lacks |= ECS_WALL_PRIVATE_DIVERT;
    } else {
        map[5] = 1;
        if (map_file(&ring, ring.map + PAGE, PAGE, PAGE, fd) == NULL || ring.map[PAGE + 5] != 0) {
            lacks |= ECS_WALL_PRIVATE_DIVERT;
        }
    }
    if (!ring_move(&ring)) { lacks |= ECS_WALL_NO_ROTATION; }
    page = ring.map + PAGE;
    if (page[5] != 0) { lacks |= ECS_WALL_NO_ROTATION; }
    ring_fini(&ring);
    return lacks;
}

static void probe(void) {
    ecs__ring_t like = {.slot_bytes = GIB, .protection = PROT_READ};
    int fd = memfd_create("stator-probe", MFD_CLOEXEC);
    kernel_lacks = fd < 0 ? ECS_WALL_NO_ROTATION | ECS_WALL_PRIVATE_DIVERT : trial(&like, fd);
    if (fd >= 0) { (void)close(fd); }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Whether a limit of the address space (ulimit -v) leaves no room for whole rings beside the rest.
 */
static bool addresses_are_short(size_t slot_bytes) {
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return limited && limit.rlim_cur / 2 < (VIEW_SLOTS + WINDOW_SLOTS) * slot_bytes;
}

int ecs__maps_init(ecs__maps_t *maps, int fd, size_t bytes, uint32_t walls) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, probe);
    *maps = (ecs__maps_t){.fd = fd, .bytes = bytes, .walls = walls | kernel_lacks};
    size_t slot = ecs__align(bytes, GIB);
    if (addresses_are_short(slot)) { maps->walls |= ECS_WALL_NO_ROTATION; }
    bool still = (maps->walls & ECS_WALL_NO_ROTATION) != 0;
    maps->view = (ecs__ring_t){.slot_bytes = slot,
                               .protection = PROT_READ,
                               .is_private = (maps->walls & ECS_WALL_PRIVATE_DIVERT) != 0};
    maps->window =
        (ecs__ring_t){.slot_bytes = slot, .protection = still ? PROT_NONE : PROT_READ | PROT_WRITE};
    maps->core = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (maps->core == MAP_FAILED) { maps->core = NULL; }
    int rc = maps->core == NULL ? ECS_E_MEMORY : ring_init(&maps->view, still ? 1 : VIEW_SLOTS, fd);
    if (rc == ECS_OK) { rc = ring_init(&maps->window, still ? 1 : WINDOW_SLOTS, fd); }
    if (!still && (maps->view.slots < MIN_SLOTS || maps->window.slots < MIN_SLOTS)) {
        maps->walls |= ECS_WALL_NO_ROTATION;
    }
    return rc;
}

void ecs__maps_fini(ecs__maps_t *maps) {
    if (maps->core != NULL) { (void)munmap(maps->core, maps->bytes); }
    ring_fini(&maps->view);
    ring_fini(&maps->window);
    *maps = (ecs__maps_t){0};
}

/* ---- moving ---------------------------------------------------------------------------------- */

static bool may_rotate(const ecs__maps_t *maps) {
    return (maps->walls & ECS_WALL_NO_ROTATION) == 0;
}

/* From now on the maps stay where they are. */
static void stop_rotating(ecs__maps_t *maps) {
    maps->walls |= ECS_WALL_NO_ROTATION;
    maps->move_errno = errno;
}

int ecs_views_expire(ecs_world_t *world) {
    ecs__maps_t *maps = &world->memory.maps;
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (!maps->view_stale) { return ECS_OK; }
    maps->view_out = maps->view_stale = false;
    (void)ecs_fault_settle(world);
    if (!may_rotate(maps)) { return ECS_OK; }
    if (!ring_move(&maps->view)) {
        stop_rotating(maps);
        return ecs__fail(world, ECS_E_KERNEL, "the view cannot be moved any more: %s",
                         strerror(maps->move_errno));
    }
    maps->moves++;
    return ECS_OK;
}

void ecs__window_open(ecs__maps_t *maps) {
    if (maps->window_out) { return; }
    maps->window_out = true;
    if (!may_rotate(maps)) {
        (void)mprotect(maps->window.map, maps->bytes, PROT_READ | PROT_WRITE);
    }
}

void ecs__window_close(ecs_world_t *world) {
    ecs__maps_t *maps = &world->memory.maps;
    if (!maps->window_out) { return; }
    maps->window_out = false;
    ecs__views_stale(maps);
    (void)ecs_fault_settle(world);
    if (may_rotate(maps) && ring_move(&maps->window)) { return; }
    if (may_rotate(maps)) { stop_rotating(maps); }
    (void)mprotect(maps->window.map, maps->bytes, PROT_NONE);
}

uint32_t ecs_walls(const ecs_world_t *world) { return world->memory.maps.walls; }

ecs_maps_t ecs_maps(const ecs_world_t *world) {
    const ecs__maps_t *maps = &world->memory.maps;
    return (ecs_maps_t){maps->view.map, maps->window.map, maps->core,
                        maps->bytes,    maps->moves,      world->memory.committed_bytes};
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void put_back(const ecs__maps_t *maps, const ecs__fix_t *fix) {
    const ecs__ring_t *ring = ring_holds(&maps->view, fix->page) ? &maps->view : &maps->window;
    bool current = in_map(ring, fix->page);
    if (!current) {
        (void)mmap(fix->page, PAGE, PROT_NONE, NOTHING | MAP_FIXED, -1, 0);
    } else if (ring->is_private && !fix->poison) {
        (void)mprotect(fix->page, PAGE, ring->protection);
        if (madvise(fix->page, PAGE, MADV_DONTNEED) != 0) { /* refused for locked pages */
            (void)madvise(fix->page, PAGE, MADV_DONTNEED_LOCKED);
        }
    } else {
        (void)map_file(ring, fix->page, PAGE, (size_t)(fix->page - ring->map), maps->fd);
    }
}

/* A page of its own in which the access can finish: a copy of the file's page for a write, else
 * poison, whose bytes make finite numbers. */
static bool divert_page(const ecs__maps_t *maps, const ecs__ring_t *ring, const ecs__fix_t *fix) {
    if (fix->poison) {
        char *page = mmap(fix->page, PAGE, PROT_READ | PROT_WRITE, NOTHING | MAP_FIXED, -1, 0);
        if (page == MAP_FAILED) { return false; }
        memset(page, ECS_POISON_BYTE, PAGE);
        return true;
    }
    if (ring->is_private) { return mprotect(fix->page, PAGE, PROT_READ | PROT_WRITE) == 0; }
    return mmap(fix->page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                maps->fd, (off_t)(fix->page - ring->map)) != MAP_FAILED;
}

ecs_fault_t ecs_fault_divert(ecs_world_t *world, const void *address, bool write) {
    ecs__maps_t *maps = &world->memory.maps;
    char *at = (char *)(uintptr_t)address;
    bool view = ring_holds(&maps->view, at);
    if (!view && !ring_holds(&maps->window, at)) { return ECS_FAULT_NONE; }
    const ecs__ring_t *ring = view ? &maps->view : &maps->window;
    bool inside = in_map(ring, at) && (size_t)(at - ring->map) < world->memory.committed_bytes;
    ecs__fix_t fix = {.page = (char *)((uintptr_t)at & ~(uintptr_t)(PAGE - 1)), .poison = !inside};
    if (maps->fix_count == ECS__MAX_FIXES) { /* no access needs as many pages at once */
        put_back(maps, &maps->fixes[0]);
        memmove(maps->fixes, maps->fixes + 1, (ECS__MAX_FIXES - 1) * sizeof *maps->fixes);
        maps->fix_count--;
    }
    if (!divert_page(maps, ring, &fix)) { return ECS_FAULT_NONE; }
    maps->fixes[maps->fix_count++] = fix;
    if (inside) { return view && write ? ECS_FAULT_READ_ONLY : ECS_FAULT_CLOSED; }
    return in_map(ring, at) ? ECS_FAULT_OUTSIDE : view ? ECS_FAULT_STALE : ECS_FAULT_CLOSED;
}

uint32_t ecs_fault_settle(ecs_world_t *world) {
    ecs__maps_t *maps = &world->memory.maps;
    uint32_t count = maps->fix_count;
    for (uint32_t i = count; i > 0; i--) {
        put_back(maps, &maps->fixes[i - 1]);
    }
    maps->fix_count = 0;
    return count;
}
