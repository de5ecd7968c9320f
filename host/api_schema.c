/* stator.core.schema: versions of structs and enums, migrations, copies of values. Between steps.
 * What can fail answers nil, message, code. */
#include <string.h>

#include "api.h"
#include "schema.h"

#define PLAN "stator.plan"
enum { MAX_LIST = 64 };

static schema_t *schema(lua_State *L) { return schema_of(rt_of(L)); }

static int refuse(lua_State *L, int error, const char *text) {
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, ecs_error_name(error));
    return 3;
}

/* Of the core. */
static int failed(lua_State *L, int error) {
    return refuse(L, error, ecs_last_error(rt_of(L)->world));
}

static int succeeded(lua_State *L) {
    lua_pushboolean(L, 1);
    return 1;
}

static uint32_t strings_at(lua_State *L, int index, const char **out) {
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = lua_objlen(L, index);
    if (count > MAX_LIST) { return (uint32_t)luaL_argerror(L, index, "more than 64 entries"); }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        out[i] = luaL_checkstring(L, -1);
        lua_pop(L, 1); /* the table keeps the text alive */
    }
    return (uint32_t)count;
}

/* ---- versions -------------------------------------------------------------------------------- */

static int push_type(lua_State *L, int rc, uint32_t id, uint64_t version) {
    if (rc != ECS_OK) { return failed(L, rc); }
    lua_pushinteger(L, (lua_Integer)id);
    lua_pushnumber(L, (lua_Number)version);
    return 2;
}

/* struct(name, { "double x", ... }) -> id, version: the current one of its name from now on */
static int l_struct(lua_State *L) {
    const char *fields[MAX_LIST];
    uint32_t count = strings_at(L, 2, fields), id = 0;
    ecs_world_t *world = rt_of(L)->world;
    int rc = ecs_struct_define(world, luaL_checkstring(L, 1), fields, count, &id);
    return push_type(L, rc, id, ecs_struct_version(world, id));
}

/* enum(name, { "idle", ... }) -> id, version */
static int l_enum(lua_State *L) {
    const char *members[MAX_LIST];
    uint32_t count = strings_at(L, 2, members), id = 0;
    ecs_world_t *world = rt_of(L)->world;
    int rc = ecs_enum_define(world, luaL_checkstring(L, 1), members, count, &id);
    return push_type(L, rc, id, ecs_enum_version(world, id));
}

/* struct_version(id), enum_version(id) -> version; 0: that id is no type's */
static int l_struct_version(lua_State *L) {
    uint32_t id = (uint32_t)luaL_checkinteger(L, 1);
    lua_pushnumber(L, (lua_Number)ecs_struct_version(rt_of(L)->world, id));
    return 1;
}

static int l_enum_version(lua_State *L) {
    uint32_t id = (uint32_t)luaL_checkinteger(L, 1);
    lua_pushnumber(L, (lua_Number)ecs_enum_version(rt_of(L)->world, id));
    return 1;
}

/* retire(name): the name means nothing any more -> true */
static int l_retire(lua_State *L) {
    int rc = ecs_type_retire(rt_of(L)->world, luaL_checkstring(L, 1));
    return rc == ECS_OK ? succeeded(L) : failed(L, rc);
}

/* sweep() -> how many versions were given back */
static int l_sweep(lua_State *L) {
    int rc = ecs_types_sweep(rt_of(L)->world);
    if (rc < 0) { return failed(L, rc); }
    lua_pushinteger(L, rc);
    return 1;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static schema_plan_t *plan_test(lua_State *L) {
    const uint64_t *serial = luaL_checkudata(L, 1, PLAN);
    return schema_plan_find(schema(L), *serial);
}

static schema_plan_t *plan_at(lua_State *L) {
    schema_plan_t *plan = plan_test(L);
    if (plan == NULL) { (void)luaL_error(L, "the plan is gone: it was dropped or carried out"); }
    return plan;
}

static void push_entries(lua_State *L, const schema_plan_t *plan) {
    static const char *const changes[] = {"kept", "converted", "added", "dropped", "lossy"};
    uint32_t count = 0;
    const ecs_migration_field_t *entries = ecs_migration_fields(plan->migration, &count);
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, entries[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, changes[entries[i].change]);
        lua_setfield(L, -2, "change");
        lua_pushstring(L, entries[i].reason);
        lua_setfield(L, -2, "reason");
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* plan(component, fields) -> plan, { { name, change, reason }, ... }, rows, bytes */
static int l_plan(lua_State *L) {
    const char *fields[MAX_LIST];
    uint32_t count = strings_at(L, 2, fields);
    schema_plan_t *plan = NULL;
    const char *name = luaL_checkstring(L, 1);
    uint64_t *serial = lua_newuserdata(L, sizeof *serial);
    *serial = 0;
    luaL_getmetatable(L, PLAN);
    lua_setmetatable(L, -2);
    int rc = schema_plan(schema(L), name, fields, count, &plan);
    if (rc != ECS_OK) { return refuse(L, rc, schema(L)->problem); }
    *serial = plan->serial;
    push_entries(L, plan);
    ecs_migration_cost_t cost = ecs_migration_cost(plan->migration);
    lua_pushnumber(L, (lua_Number)cost.rows);
    lua_pushnumber(L, (lua_Number)cost.bytes);
    return 4;
}

/* fields(plan) -> those of the new layout, as core.world.fields answers them */
static int l_fields(lua_State *L) {
    uint32_t count = 0;
    const ecs_field_t *fields = ecs_migration_layout(plan_at(L)->migration, &count);
    api_push_fields(L, fields, count);
    return 1;
}

/* may_drop(plan): fields that go are not refused */
static int l_may_drop(lua_State *L) {
    ecs_migration_may_drop(plan_at(L)->migration);
    return 0;
}

/* check(plan, rows): a slice of the dry run -> whether all were looked at, how many so far */
static int l_check(lua_State *L) {
    schema_plan_t *plan = plan_at(L);
    plan->keeps = false;
    int rc = ecs_migration_check(plan->migration, NULL, &plan->cursor,
                                 (uint32_t)luaL_checkinteger(L, 2));
    if (rc != ECS_OK) { return failed(L, rc); }
    lua_pushboolean(L, plan->cursor.done);
    lua_pushnumber(L, (lua_Number)plan->cursor.rows);
    return 2;
}

/* value(plan, keep) -> pointer to the next old value, pointer to the new one, entity; nothing at
 * the end. The new one is the script's to write until the next call of value or migrate. */
static int l_value(lua_State *L) {
    schema_plan_t *plan = plan_at(L);
    ecs_id_t id = 0;
    const void *from = NULL;
    int rc = schema_plan_value(schema(L), plan, lua_toboolean(L, 2), &id, &from);
    if (rc != ECS_OK) { return refuse(L, rc, schema(L)->problem); }
    if (id == 0) { return 0; }
    lua_pushlightuserdata(L, (void *)(uintptr_t)from);
    lua_pushlightuserdata(L, schema(L)->scratch);
    lua_pushnumber(L, id);
    return 3;
}

/* rewind(plan): check and value begin anew */
static int l_rewind(lua_State *L) {
    schema_plan_rewind(plan_at(L));
    return 0;
}

/* migrate(plan) -> true. With the values that value(plan, true) went through, if it went through
 * all. The plan is gone. */
static int l_migrate(lua_State *L) {
    int rc = schema_plan_migrate(schema(L), plan_at(L));
    return rc == ECS_OK ? succeeded(L) : refuse(L, rc, schema(L)->problem);
}

/* drop(plan): also one that is gone */
static int l_drop(lua_State *L) {
    schema_plan_t *plan = plan_test(L);
    if (plan != NULL) { schema_plan_drop(schema(L), plan); }
    return 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static int component_at(lua_State *L, int index, uint32_t *out) {
    return ecs_component_find(rt_of(L)->world, luaL_checkstring(L, index), out);
}

static int no_component(lua_State *L, int index) {
    lua_pushnil(L);
    lua_pushfstring(L, "no component \"%s\"", luaL_checkstring(L, index));
    lua_pushstring(L, ecs_error_name(ECS_E_UNKNOWN));
    return 3;
}

/* bytes(component) -> what a copy of its values takes */
static int l_bytes(lua_State *L) {
    uint32_t id = 0;
    if (component_at(L, 1, &id) != ECS_OK) { return no_component(L, 1); }
    lua_pushnumber(L, (lua_Number)ecs_values_bytes(rt_of(L)->world, id));
    return 1;
}

/* save(name, component): a copy that outlives the VM, in the place of what had the name -> bytes */
static int l_save(lua_State *L) {
    uint32_t id = 0;
    uint64_t bytes = 0;
    if (component_at(L, 2, &id) != ECS_OK) { return no_component(L, 2); }
    int rc = schema_save(schema(L), luaL_checkstring(L, 1), id, &bytes);
    if (rc != ECS_OK) { return refuse(L, rc, schema(L)->problem); }
    lua_pushnumber(L, (lua_Number)bytes);
    return 1;
}

/* saved() -> { { name, component, bytes }, ... } in the order in which they were made */
static int l_saved(lua_State *L) {
    const schema_t *all = schema(L);
    lua_createtable(L, (int)all->saved_count, 0);
    for (uint32_t i = 0; i < all->saved_count; i++) {
        const ecs_saved_t *saved = all->saved[i].saved;
        lua_createtable(L, 0, 3);
        lua_pushstring(L, all->saved[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, ecs_component_name(all->world, ecs_saved_component(saved)));
        lua_setfield(L, -2, "component");
        lua_pushnumber(L, (lua_Number)ecs_saved_bytes(saved));
        lua_setfield(L, -2, "bytes");
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* back(name): the component has the layout of the copy again, and its values -> true */
static int l_back(lua_State *L) {
    const ecs_saved_t *saved = schema_saved_find(schema(L), luaL_checkstring(L, 1));
    if (saved == NULL) { return refuse(L, ECS_E_UNKNOWN, "no copy of values has that name"); }
    int rc = ecs_component_migrate_back(rt_of(L)->world, saved);
    return rc == ECS_OK ? succeeded(L) : failed(L, rc);
}

/* free(name) -> whether there was such a copy */
static int l_free(lua_State *L) {
    lua_pushboolean(L, schema_saved_free(schema(L), luaL_checkstring(L, 1)));
    return 1;
}

int api_open_schema(lua_State *L) {
    static const luaL_Reg functions[] = {{"struct", l_struct},
                                         {"enum", l_enum},
                                         {"struct_version", l_struct_version},
                                         {"enum_version", l_enum_version},
                                         {"retire", l_retire},
                                         {"sweep", l_sweep},
                                         {"plan", l_plan},
                                         {"fields", l_fields},
                                         {"may_drop", l_may_drop},
                                         {"check", l_check},
                                         {"value", l_value},
                                         {"rewind", l_rewind},
                                         {"migrate", l_migrate},
                                         {"drop", l_drop},
                                         {"bytes", l_bytes},
                                         {"save", l_save},
                                         {"saved", l_saved},
                                         {"back", l_back},
                                         {"free", l_free},
                                         {NULL, NULL}};
    (void)luaL_newmetatable(L, PLAN);
    vm_push_function(L, l_drop);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
