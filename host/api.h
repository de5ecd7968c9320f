/* The C modules that lua/stator may require, one opener each; scripts see none of them. */
#ifndef API_H
#define API_H

#include "runtime.h"

/* Puts every module into package.preload. */
void api_open(rt_t *rt);

int api_open_world(lua_State *L); /* stator.core.world: schema, queries, batches */
int api_open_task(lua_State *L);  /* stator.core.task: tasks, operations, futures, systems, time */
int api_open_keep(lua_State *L);  /* stator.core.keep: what outlives a VM */
int api_open_json(lua_State *L);  /* stator.core.json: the positioned reader */
int api_open_log(lua_State *L);   /* stator.core.log */
int api_open_net(lua_State *L);   /* stator.core.net: streams, listeners, datagrams, names */
int api_open_inspect(lua_State *L); /* stator.core.inspect: what waits, counts */
int api_open_file(lua_State *L);    /* stator.core.file */
int api_open_http(lua_State *L);    /* stator.core.http */
int api_open_work(lua_State *L);    /* stator.core.work */
int api_open_watch(lua_State *L);   /* stator.core.watch */
int api_open_process(lua_State *L); /* stator.core.process: processes and signals */

#endif
