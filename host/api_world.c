/* stator.core.world: what lua/stator needs of the core besides the FFI leaves. */
#include <string.h>

#include "api.h"

enum { MAX_LIST = 64 };

static ecs_world_t *world_of(lua_State *L) { return rt_of(L)->world; }

/* nil, the core's message and the error's name. */
static int refuse(lua_State *L, int error) {
    lua_pushnil(L);
    lua_pushstring(L, ecs_last_error(world_of(L)));
    lua_pushstring(L, ecs_error_name(error));
    return 3;
}

static uint32_t strings_at(lua_State *L, int index, const char **out) {
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = lua_objlen(L, index); /* lua/stator has checked that they are at most MAX_LIST */
    if (count > MAX_LIST) { return (uint32_t)luaL_argerror(L, index, "more than 64 entries"); }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        out[i] = luaL_checkstring(L, -1);
        lua_pop(L, 1); /* the table keeps the text alive */
    }
    return (uint32_t)count;
}

/* component(name, { "double x", ... }, sparse) -> id | nil, message, code */
static int l_component(lua_State *L) {
    const char *fields[MAX_LIST];
    uint32_t count = strings_at(L, 2, fields), id = 0;
    int rc = ecs_component_register(world_of(L), luaL_checkstring(L, 1), fields, count, &id);
    if (rc == ECS_OK && lua_toboolean(L, 3)) { rc = ecs_component_sparse(world_of(L), id); }
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

/* struct(name, { "double x", ... }) -> id | nil, message, code */
static int l_struct(lua_State *L) {
    const char *fields[MAX_LIST];
    uint32_t count = strings_at(L, 2, fields), id = 0;
    int rc = ecs_struct_register(world_of(L), luaL_checkstring(L, 1), fields, count, &id);
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

/* enum(name, { "idle", ... }) -> id | nil, message, code */
static int l_enum(lua_State *L) {
    const char *members[MAX_LIST];
    uint32_t count = strings_at(L, 2, members), id = 0;
    int rc = ecs_enum_register(world_of(L), luaL_checkstring(L, 1), members, count, &id);
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

static void set_integer(lua_State *L, const char *name, uint32_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void api_push_fields(lua_State *L, const ecs_field_t *fields, uint32_t count) {
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 12);
        lua_pushstring(L, fields[i].name);
        lua_setfield(L, -2, "name");
        set_integer(L, "type", fields[i].type);
        set_integer(L, "count", fields[i].count);
        set_integer(L, "offset", fields[i].offset_bytes);
        set_integer(L, "size", fields[i].size_bytes);
        set_integer(L, "enum", fields[i].enum_id);
        set_integer(L, "struct", fields[i].struct_id);
        lua_pushboolean(L, fields[i].is_array != 0);
        lua_setfield(L, -2, "is_array");
        lua_pushstring(L, fields[i].unit);
        lua_setfield(L, -2, "unit");
        lua_pushnumber(L, fields[i].min);
        lua_setfield(L, -2, "min");
        lua_pushnumber(L, fields[i].max);
        lua_setfield(L, -2, "max");
        lua_pushboolean(L, fields[i].has_range != 0);
        lua_setfield(L, -2, "has_range");
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* fields(component) -> fields, size, pointer to the default */
static int l_fields(lua_State *L) {
    ecs_world_t *world = world_of(L);
    uint32_t id = (uint32_t)luaL_checkinteger(L, 1), count = 0;
    const ecs_field_t *fields = ecs_component_fields(world, id, &count);
    api_push_fields(L, fields, count);
    lua_pushinteger(L, (lua_Integer)ecs_component_size_bytes(world, id));
    lua_pushlightuserdata(L, (void *)(uintptr_t)ecs_component_default(world, id));
    return 3;
}

/* struct_fields(struct) -> fields, size, name, pointer to the default */
static int l_struct_fields(lua_State *L) {
    ecs_world_t *world = world_of(L);
    uint32_t id = (uint32_t)luaL_checkinteger(L, 1), count = 0;
    const ecs_field_t *fields = ecs_struct_fields(world, id, &count);
    api_push_fields(L, fields, count);
    lua_pushinteger(L, (lua_Integer)ecs_struct_size_bytes(world, id));
    lua_pushstring(L, ecs_struct_name(world, id));
    lua_pushlightuserdata(L, (void *)(uintptr_t)ecs_struct_default(world, id));
    return 4;
}

static uint32_t ids_in(lua_State *L, const char *name, uint32_t *out) {
    lua_getfield(L, 1, name);
    uint32_t count = (uint32_t)lua_objlen(L, -1);
    if (count > ECS_MAX_TERMS) {
        return (uint32_t)luaL_error(L, "%s names more than 16 components", name);
    }
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        out[i] = (uint32_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return count;
}

/* query { write, read, maybe, with, without, changed, added: lists of ids } -> pointer */
static int l_query(lua_State *L) {
    ecs_query_desc_t desc = {0};
    ecs_query_t *query = NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    desc.write_count = ids_in(L, "write", desc.write);
    desc.read_count = ids_in(L, "read", desc.read);
    desc.maybe_count = ids_in(L, "maybe", desc.maybe);
    desc.with_count = ids_in(L, "with", desc.with);
    desc.without_count = ids_in(L, "without", desc.without);
    desc.changed_count = ids_in(L, "changed", desc.changed);
    desc.added_count = ids_in(L, "added", desc.added);
    int rc = ecs_query_create(world_of(L), &desc, &query);
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushlightuserdata(L, query);
    return 1;
}

/* query_release(pointer) -> true | nil, message, code */
static int l_query_release(lua_State *L) {
    luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
    int rc = ecs_query_release(world_of(L), lua_touserdata(L, 1));
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushboolean(L, 1);
    return 1;
}

/* pointer() -> the world, for FFI */
static int l_pointer(lua_State *L) {
    lua_pushlightuserdata(L, world_of(L));
    return 1;
}

/* observe(kind, component) */
static int l_observe(lua_State *L) {
    int rc = ecs_observe(world_of(L), (uint32_t)luaL_checkinteger(L, 1),
                         (uint32_t)luaL_optinteger(L, 2, 0));
    return rc == ECS_OK ? 0 : refuse(L, rc);
}

/* events() -> flat array { kind, id, component, by an observer, ... } of the last apply */
static int l_events(lua_State *L) {
    uint32_t count = 0;
    const ecs_event_t *events = ecs_events(world_of(L), &count);
    lua_createtable(L, (int)count * 4, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushinteger(L, (lua_Integer)events[i].kind);
        lua_rawseti(L, -2, (int)i * 4 + 1);
        lua_pushnumber(L, events[i].id);
        lua_rawseti(L, -2, (int)i * 4 + 2);
        lua_pushinteger(L,
                        events[i].component == 0xffffffffu ? -1 : (lua_Integer)events[i].component);
        lua_rawseti(L, -2, (int)i * 4 + 3);
        lua_pushboolean(L, events[i].owner >> 60 == OWNER_OBSERVER);
        lua_rawseti(L, -2, (int)i * 4 + 4);
    }
    return 1;
}

/* sent() -> flat array { event, to or 0, by an observer, pointer to the value, ... } of the last
 * apply; pointers are good until the next one */
static int l_sent(lua_State *L) {
    uint32_t count = 0;
    const ecs_sent_t *sent = ecs_sent(world_of(L), &count);
    lua_createtable(L, (int)count * 4, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushinteger(L, (lua_Integer)sent[i].event);
        lua_rawseti(L, -2, (int)i * 4 + 1);
        lua_pushnumber(L, sent[i].to);
        lua_rawseti(L, -2, (int)i * 4 + 2);
        lua_pushboolean(L, sent[i].owner >> 60 == OWNER_OBSERVER);
        lua_rawseti(L, -2, (int)i * 4 + 3);
        lua_pushlightuserdata(L, (void *)(uintptr_t)sent[i].value);
        lua_rawseti(L, -2, (int)i * 4 + 4);
    }
    return 1;
}

/* aged(component): it keeps its age -> true | nil, message, code */
static int l_aged(lua_State *L) {
    int rc = ecs_component_aged(world_of(L), (uint32_t)luaL_checkinteger(L, 1));
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushboolean(L, 1);
    return 1;
}

/* begin(owner kind, owner) opens a batch; seal() -> whether it holds anything; drop() */
static int l_begin(lua_State *L) {
    uint64_t owner = RT_OWNER((uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_checknumber(L, 2));
    int rc = ecs_batch_begin(world_of(L), owner);
    return rc == ECS_OK ? 0 : luaL_error(L, "%s", ecs_last_error(world_of(L)));
}

static int l_seal(lua_State *L) {
    bool sealed = false;
    rt_batch_end(rt_of(L), &sealed);
    lua_pushboolean(L, sealed);
    return 1;
}

static int l_drop(lua_State *L) {
    rt_batch_drop(rt_of(L));
    return 0;
}

enum { PLACE_BITS = 30 }; /* of a mark: the rest of a Lua number counts rollbacks */

/* mark() -> batch, place, kept; rollback([batch, place, kept]) forgets what came after, or all */
static int l_mark(lua_State *L) {
    ecs_mark_t mark = ecs_batch_mark(world_of(L));
    lua_pushnumber(L, (lua_Number)mark.batch);
    lua_pushnumber(L, (lua_Number)((uint64_t)mark.cuts << PLACE_BITS | mark.at));
    lua_pushnumber(L, (lua_Number)rt_of(L)->keep->pending_count);
    return 3;
}

static int l_rollback(lua_State *L) {
    uint64_t place = (uint64_t)luaL_optnumber(L, 2, 0);
    ecs_mark_t mark = {(uint64_t)luaL_optnumber(L, 1, 0),
                       (uint32_t)(place & ((1u << PLACE_BITS) - 1)),
                       (uint32_t)(place >> PLACE_BITS)};
    rt_batch_rollback(rt_of(L), mark, (uint32_t)luaL_optnumber(L, 3, 0));
    return 0;
}

/* recorded() -> whether the open batch holds a command, so that an apply may refuse it */
static int l_recorded(lua_State *L) {
    lua_pushboolean(L, ecs_batch_recorded(world_of(L)));
    return 1;
}

/* tainted() -> whether the slice has made a stray access: its batch will be dropped */
static int l_tainted(lua_State *L) {
    lua_pushboolean(L, rt_of(L)->guard->tainted);
    return 1;
}

/* flags("strict" | "warn" | "ignore") for the commands recorded from now on in the open batch */
static int l_flags(lua_State *L) {
    static const char *const names[] = {"warn", "strict", "ignore", NULL};
    static const uint32_t flags[] = {0, ECS_FLAG_STRICT, ECS_FLAG_SILENT};
    (void)ecs_batch_flags(world_of(L), flags[luaL_checkoption(L, 1, NULL, names)]);
    return 0;
}

/* phase(name): while the scene is being built. apply_scene() applies what was recorded -> true, or
 * nil, message, error name */
static int l_phase(lua_State *L) {
    static const char *const names[] = {"setup", "idle", "run", NULL};
    int rc = ecs_phase_set(world_of(L), (ecs_phase_t)luaL_checkoption(L, 1, NULL, names));
    return rc == ECS_OK ? 0 : luaL_error(L, "%s", ecs_last_error(world_of(L)));
}

/* waiting() -> whether commands wait for an apply */
static int l_waiting(lua_State *L) {
    uint64_t owner = 0;
    ecs_world_t *world = world_of(L);
    lua_pushboolean(L, ecs_batch_count(world) > 0 || ecs_batch_open(world, &owner));
    return 1;
}

/* component_id(name) -> id, or nil */
static int l_component_id(lua_State *L) {
    uint32_t id = 0;
    if (ecs_component_find(world_of(L), luaL_checkstring(L, 1), &id) != ECS_OK) { return 0; }
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

static int l_apply_scene(lua_State *L) {
    ecs_world_t *world = world_of(L);
    uint32_t count = 0;
    (void)ecs_phase_set(world, ECS_PHASE_APPLY);
    int rc = ecs_apply(world);
    const ecs_batch_result_t *results = ecs_apply_results(world, &count);
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        rc = results[i].error;
    }
    (void)ecs_phase_set(world, ECS_PHASE_IDLE);
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushboolean(L, 1);
    return 1;
}

/* components(id) -> names */
static int l_components(lua_State *L) {
    ecs_world_t *world = world_of(L);
    uint32_t list[ECS_MAX_COMPONENTS];
    uint32_t count = ecs_entity_components(world, luaL_checknumber(L, 1), list, ECS_MAX_COMPONENTS);
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushstring(L, ecs_component_name(world, list[i]));
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* provenance(id, component) -> owner kind, owner, place, tick of the newest write | nil, message */
static int l_provenance(lua_State *L) {
    ecs_stamp_t stamp = {0};
    int rc = ecs_provenance(world_of(L), luaL_checknumber(L, 1), (uint32_t)luaL_checkinteger(L, 2),
                            &stamp);
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushnumber(L, (lua_Number)(stamp.owner >> 60));
    lua_pushnumber(L, (lua_Number)(stamp.owner & ~((uint64_t)15 << 60)));
    lua_pushinteger(L, (lua_Integer)stamp.place);
    lua_pushnumber(L, (lua_Number)stamp.changed);
    return 4;
}

/* entities() -> ids of all entities in the order of their slots */
static int l_entities(lua_State *L) {
    uint32_t at = 0;
    int n = 0;
    lua_newtable(L);
    for (ecs_id_t id = 0; (id = ecs_entity_next(world_of(L), &at)) != 0;) {
        lua_pushnumber(L, id);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* hash() -> 16 hexadecimal digits; check() -> true | nil, message */
static int l_hash(lua_State *L) {
    char text[20];
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)ecs_hash(world_of(L)));
    lua_pushstring(L, text);
    return 1;
}

static int l_check(lua_State *L) {
    int rc = ecs_check(world_of(L));
    if (rc != ECS_OK) { return refuse(L, rc); }
    lua_pushboolean(L, 1);
    return 1;
}

int api_open_world(lua_State *L) {
    static const luaL_Reg functions[] = {{"component", l_component},
                                         {"enum", l_enum},
                                         {"fields", l_fields},
                                         {"struct", l_struct},
                                         {"struct_fields", l_struct_fields},
                                         {"query", l_query},
                                         {"query_release", l_query_release},
                                         {"pointer", l_pointer},
                                         {"observe", l_observe},
                                         {"events", l_events},
                                         {"sent", l_sent},
                                         {"aged", l_aged},
                                         {"begin", l_begin},
                                         {"seal", l_seal},
                                         {"drop", l_drop},
                                         {"mark", l_mark},
                                         {"recorded", l_recorded},
                                         {"rollback", l_rollback},
                                         {"tainted", l_tainted},
                                         {"flags", l_flags},
                                         {"phase", l_phase},
                                         {"apply_scene", l_apply_scene},
                                         {"waiting", l_waiting},
                                         {"component_id", l_component_id},
                                         {"components", l_components},
                                         {"provenance", l_provenance},
                                         {"entities", l_entities},
                                         {"hash", l_hash},
                                         {"check", l_check},
                                         {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
