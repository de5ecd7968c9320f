-- Proof that the tests of the core are tests: each mutant below is the core with one mistake, and a
-- test must fail with it. usage: luajit tests/ecs/mutants.lua [FILE]: all, or those of one file.
--
-- An entry is { file, original, mutated, what it breaks, test = name in TESTS or nil for the first }.
-- The original text occurs exactly once in the file; when it no longer does, the entry is stale and
-- fails: give it the text that took its place. With a header, the whole core is built anew.
local TESTS = {
  model = {
    sources = { "test_model.c", "operations.c", "operations_read.c", "operations_many.c", "operations_write.c", "operations_world.c",
      "operations_send.c", "operations_schema.c",
      "misuse.c", "session.c", "session_news.c", "session_walk.c", "model.c", "model_read.c", "model_settle.c" },
    arguments = "--seed 1 --seeds 40 --operations 6000",
  },
  age = { sources = { "test_age.c" } },
  apply = { sources = { "test_apply.c" } },
  bulk = { sources = { "test_bulk.c" } },
  failure = { sources = { "test_failure.c" }, link = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=fallocate,--wrap=posix_memalign" },
  limits = { sources = { "test_limits.c" } },
  maps = { sources = { "test_maps.c" } },
  migrate = { sources = { "test_migrate.c" } },
  migrate_check = { sources = { "test_migrate_check.c" } },
  observe = { sources = { "test_observe.c" } },
  release = { sources = { "test_release.c" } },
  saved = { sources = { "test_saved.c" } },
  send = { sources = { "test_send.c" } },
  sparse = { sources = { "test_sparse.c" } },
  types = { sources = { "test_types.c" } },
  walk = { sources = { "test_walk.c" } },
}
local FLAGS = "-std=gnu11 -O1 -w -D_GNU_SOURCE -Iecs"
local JOBS, LIMIT_S, OUT = 2, 20, "build/mutants"

local MUTANTS = {
  -- ---- apply ----------------------------------------------------------------------------------
  { "apply.c", "if (stream->open) {", "if (false) {", "an open batch is not applied" },
  { "apply.c", "world->shared.tick++;", "", "an apply has a tick" },
  { "apply.c", "ecs__bulk_fold(world);\n    fold_all(world, stream);", "fold_all(world, stream);\n    ecs__bulk_fold(world);",
    "bulk spawns come first" },
  -- ---- validate: who is concerned -------------------------------------------------------------
  { "validate.c", "coming || ecs__record_alive(record) ? 0 : ECS__NONE};", "0};", "a reserved id is no target" },
  { "validate.c", "ecs__cmd_at(pass->stream, entry->last)->next = pos;", "entry->first = pos;", "all commands of a chain count" },
  { "validate.c", ".last_id = NAN};", ".last_id = 0};", "id 0 is no entity" },
  -- ---- validate: despawning trees -------------------------------------------------------------
  { "validate.c", "if (node->next != 0) { return node->next; }", "if (node->next != 0) { return 0; }", "despawn takes all children" },
  { "validate.c", "if (cmd->op == ECS_OP_DESPAWN) { mark_alive(world, cmd->id, pos); }", "", "a refused despawn is undone" },
  { "validate.c", "if (entry != NULL && entry->dead_at == pos) { lead(", "if (entry != NULL) { lead(", "only its own despawns are undone" },
  { "validate.c", "if (ecs__record_find(world, id) == NULL) { return; } /* it", "/* it", "undoing a despawn of a forged id" },
  { "validate.c", "if (entry == NULL || !ecs__exists(entry)) { continue; }\n        lead", "if (entry == NULL) { continue; }\n        lead",
    "who despawns first is told" },
  -- ---- validate: commands ---------------------------------------------------------------------
  { "validate.c", "if (pass->result->skipped++ == 0) {", "if (pass->result->skipped++ != 0) {", "the first skipped command is told" },
  { "validate.c", "pass->result->skipped_place = ecs__cmd_place(cmd);", "", "where it was recorded, too" },
  { "validate.c", "result->place = ecs__cmd_place(cmd);", "", "where a refused command was recorded" },
  { "validate.c", "if ((cmd->flags & ECS_FLAG_SILENT) != 0) { return ECS_OK; }", "", "silent commands are not counted" },
  { "validate.c", "if ((cmd->flags & ECS_FLAG_STRICT) != 0) { return refuse", "if (false) { return refuse", "strict commands reject" },
  { "validate.c", "if (above == NULL || !ecs__exists(above))", "if (above == NULL)", "no spawn below who is dying" },
  { "validate.c", "parent, place->name);\n        if (rc != ECS_OK) { return refuse(pass, cmd, rc); }", "parent, place->name);", "a taken name rejects" },
  { "validate.c", "rc = present ? ECS_OK : ECS_E_ABSENT;", "rc = ECS_OK;", "set of what is absent rejects" },
  { "validate.c", "if (!present) { return ECS_OK; }", "if (!present) { return refuse(pass, cmd, ECS_E_ABSENT); }", "remove of what is absent is fine" },
  -- ---- validate: expectations -----------------------------------------------------------------
  { "validate.c", "if (now != NULL) { memcpy(out, now, world->components[component].size_bytes); }", "", "expect compares what is there" },
  { "validate.c", "if (ecs__cmd_writes(cmd) && cmd->component == component) {", "if (false) {", "expect sees earlier batches" },
  { "validate.c", "ecs__payload_write(world, cmd, out);\n        }\n        pos = pos == entry->last ? 0 : cmd->next;",
    "ecs__payload_write(world, cmd, out);\n        }\n        pos = 0;", "expect sees all of the chain" },
  { "validate.c", "if (writer != NULL) {", "if (false) {", "a write of this apply is who changed it" },
  { "validate.c", "found = cmd;\n            *at = pos;", "if (found == NULL) { found = cmd; *at = pos; }", "the last one to change it is told" },
  { "validate.c", ".owner = ecs__owner_at(pass->stream, pass->batch, at),", ".owner = pass->result->owner,", "another batch may have changed it" },
  { "validate.c", "(void)ecs_provenance(world, cmd->id, cmd->component, &result->by);", "", "who changed it in an earlier apply" },
  -- ---- validate: values that need no entry ----------------------------------------------------
  { "validate.c", "if (pass->stream->batches[pass->batch].expects != 0) { return false; }", "", "expect sees earlier writes of its batch" },
  { "validate.c", "|| record->scratch != 0 ||", "||", "writes stay behind earlier commands" },
  { "validate.c", "record->scratch != 0 || !ecs__record_alive(record)) {", "record->scratch != 0) {", "what is not there yet needs an entry" },
  { "validate.c", "if ((observed >> ECS_EVENT_CHANGED & 1u) != 0) { return false; }", "", "observed changes need an entry" },
  { "validate.c", "record->archetype == pass->archetype && cmd->component == pass->component", "record->archetype == pass->archetype",
    "a like command writes the same component" },
  { "validate.c", "record->archetype == pass->archetype && cmd->component == pass->component", "cmd->component == pass->component",
    "a like command is on one of the same archetype" },
  { "fold.c", "record->archetype == pipe->archetype && cmd->component == pipe->component", "record->archetype == pipe->archetype",
    "the slot is that of the component" },
  { "fold.c", "record->archetype == pipe->archetype && cmd->component == pipe->component", "cmd->component == pipe->component",
    "the slot is that of the archetype" },
  { "fold.c", "pipe->place.row = record->row;", "", "each like command has its row" },
  { "fold.c", "sparse ? ECS__NONE : record->archetype;", "record->archetype;", "what is sparse has a row of its own" },
  { "internal.h", "== component->all_fields;", "!= 0;", "some fields are not the whole" },
  { "bytes.c", "layout->padded ? UINT64_MAX : ", "", "what lies in a gap is not written", test = "apply" },
  { "validate.c", "if (!ecs__cmd_writes(cmd) || record", "if (record", "only values are written directly" },
  { "validate.c", "ecs__place_at(world, ecs__index(cmd->id), record, cmd->component).slot != NULL;", "true;",
    "only what is there is written directly" },
  { "validate.c", "world->event_bound = event_bound;", "ecs__direct_write(world, stream, index);", "a refused batch writes nothing" },
  { "fold.c", "if (cmd->next != ECS__DIRECT || !ecs__cmd_writes(cmd)) {", "if (cmd->next == 0 || !ecs__cmd_writes(cmd)) {",
    "commands with an entry wait for pass 2" },
  { "fold.c", "ecs__touch(world, write->cmd->component);", "", "watches see direct writes" },
  { "fold.c", "write->stamp->changed = world->shared.tick;", "", "direct writes have a tick" },
  { "fold.c", "write->stamp->owner = owner;", "", "whose a direct write was" },
  { "fold.c", "write->stamp->place = ecs__cmd_place(write->cmd);", "", "where a direct write was recorded" },
  { "fold.c", "uint32_t at = pipe->next % LANE;", "uint32_t at = (pipe->next * 7) % (LANE / 2 + pipe->next % 2);",
    "direct writes are in order" },
  { "fold.c", "if (pipe->next >= 2 * LANE) { write_one(world, &pipe->found[at], owner); }", "", "direct writes are more than a few" },
  { "fold.c", "if (i >= LANE) { write_one(world, &pipe->found[at], owner); }", "", "the last direct writes but LANE are written" },
  { "fold.c", "write_one(world, &pipe->found[i % LANE], owner);", "", "the last direct writes are written" },
  { "fold.c", "world->wrote = true;", "", "views are stale after direct writes", test = "maps" },
  { "cursor.c", "ecs__window_open(maps);", "", "the window closes after a cursor's writes", test = "maps" },
  { "entity.c", "ecs__window_open(&world->memory.maps);", "", "the window closes after a writer's write", test = "maps" },
  -- ---- validate: room -------------------------------------------------------------------------
  { "validate.c", "world->archetypes[entry->after]->coming += by;", "", "rows that come are counted" },
  { "validate.c", "count_coming(world, entry, -1);", "", "rows that come elsewhere do not come here" },
  { "validate.c", "if (rc == ECS_OK) { rc = ecs__note_growing(world, world->archetypes[after]); }", "", "room for entities that move" },
  { "validate.c", "int rc = ecs__note_growing(world, world->archetypes[0]);", "int rc = ECS_OK;", "room for entities without components" },
  { "validate.c", "archetype->row_count + (uint64_t)archetype->coming);", "(uint64_t)archetype->coming);", "room besides the rows there are" },
  { "validate.c", "world->growing[i]->grows = false;", "", "room for a second batch" },
  { "validate.c", "ecs__rows_trim(world, world->growing[i]);", "", "what a refused batch had taken is free", test = "limits" },
  { "validate.c", "if (world->event_bound > ECS__MAX_EVENTS) {", "if (world->event_bound > 10) {", "as many events as there are" },
  { "validate.c", "world->event_bound += 1;", "", "room for the event of a despawn", test = "bulk" },
  { "validate.c", "if (removals && was) { world->event_bound", "if (false) { world->event_bound", "room for events of despawns", test = "sparse" },
  { "archetype.c", "(uint64_t)(archetype->coming > 0 ? archetype->coming : 0);", "0;", "room that was made is kept" },
  { "archetype.c", "uint32_t rows = archetype->chunk_count == 0 ? first : archetype->chunk_rows;", "uint32_t rows = first;",
    "all chunks but the first are whole" },
  { "fold.c", "to->coming--;", "", "rows that came come no more" },
  -- ---- validate: taking a refused batch out ---------------------------------------------------
  { "validate.c", "if (pos >= pass->start) {", "if (pos > pass->start) {", "the first command of a refused batch goes" },
  { "validate.c", "uint32_t after = entry->before;", "uint32_t after = entry->after;", "a refused insert leaves no component" },
  { "validate.c", "if (cmd->op == ECS_OP_SPAWN) { return 0; }", "", "a spawn outlives a refused batch" },
  { "validate.c", "if (!add && cmd->op != ECS_OP_REMOVE) { return after; }", "if (!add) { return after; }", "a remove outlives a refused batch" },
  { "validate.c", "lead(world, entry, after, entry->dead_at);\n    if (last", "if (last", "where an entity ends without the refused batch" },
  { "validate.c", "if (next >= pass->start) { cmd->next = 0; }", "", "a chain ends before a refused batch" },
  { "validate.c", "if (last == 0) { entry->first = 0; }", "", "a chain of a refused batch alone is empty" },
  { "validate.c", "entry->last = last;", "", "a chain goes on behind a refused batch" },
  { "validate.c", "if (entry != NULL) { cut(pass, entry); }", "", "refused commands are taken out" },
  { "validate.c", "ecs__node_unlink(world, ecs__index(id));", "", "a refused spawn leaves the tree" },
  { "validate.c", "entry->id = 0;", "", "nothing is left to do for a refused spawn" },
  { "validate.c", "ecs__entity_free(world, ecs__index(id));", "", "ids of a refused batch come back" },
  -- ---- bulk spawns ----------------------------------------------------------------------------
  { "validate.c", "if (cmd->op == ECS_OP_SPAWN_MANY) { forget_many(world, ecs__cmd_bulk(cmd)); }", "", "a refused bulk spawn is taken out" },
  { "validate.c", "bool coming = record->archetype == ECS__COMING;", "bool coming = false;", "bulk spawns are targets" },
  { "validate.c", "if (now == NULL) { now = ecs__bulk_value(world, entry->id, component); }", "", "expect sees bulk spawns" },
  -- ---- events that are sent -------------------------------------------------------------------
  { "validate.c", "if (cmd->id != 0 && !will_be_there(pass->world, cmd->id)) { return dead_target(pass, cmd); }", "",
    "events have targets that are there", test = "send" },
  { "validate.c", "record->archetype == ECS__COMING || ecs__record_alive(record);", "ecs__record_alive(record);",
    "events may go to who is spawned in bulk", test = "send" },
  { "send.c", "if (cmd->op != ECS_OP_SEND || cmd->next != ECS__DIRECT) { continue; }", "if (cmd->op != ECS_OP_SEND) { continue; }",
    "skipped events are not sent", test = "send" },
  { "send.c", ".place = ecs__cmd_place(cmd),", "", "events have a place", test = "send" },
  { "send.c", ".event = cmd->component,", "", "events tell of which struct they are" },
  { "validate.c", "record->archetype == ECS__COMING || ecs__record_alive(record);", "true;", "no event to who is spawned later" },
  { "validate.c", "const ecs__touched_t *entry = entry_of(world, record);",
    "ecs__touched_t *entry = NULL;\n    (void)touch_record((ecs_world_t *)world, id, (ecs__record_t *)record, &entry);",
    "an event gives nobody a place in the order of an apply" },
  { "fold.c", "cmd->next != ECS__DIRECT || !ecs__cmd_writes(cmd)) {", "cmd->next != ECS__DIRECT) {", "events are no values", test = "send" },
  { "apply.c", "world->event_count = world->sent_count = 0;", "world->event_count = 0;", "events are sent once", test = "send" },
  { "validate.c", "if (pass.sent > 0) { ecs__send(world, stream, batch); }\n        if (pass.confirms) {",
    "}\n    ecs__send(world, stream, batch);\n    if (result->error == ECS_OK) {\n        if (pass.confirms) {",
    "a refused batch sends nothing", test = "send" },
  { "send.c", "if (concerns(room, cmd) && room->used >= room->free) {", "if (room->used > room->free) {", "a room is bounded", test = "send" },
  { "send.c", "world->rooms[at - 1].used--;", "", "a refused batch gives its room back", test = "send" },
  { "send.c", "return room->to == 0 || room->to == cmd->id;", "return true;", "a room is for one", test = "send" },
  -- ---- ages -----------------------------------------------------------------------------------
  { "fold.c", "ecs__aged(world, cmd->component, ecs__index(cmd->id));", "", "writes of chains have an age", test = "age" },
  { "fold.c", "ecs__aged(world, write->cmd->component, ecs__index(write->cmd->id));", "", "direct writes have an age", test = "age" },
  { "bulk.c", "ecs__aged(world, bulk->components[k], ecs__index(ecs__bulk_ids(bulk)[i]));", "", "bulk spawns have an age", test = "age" },
  { "age.c", "if (chunk->stamp[slot->column].changed == world->shared.tick) {", "if (true) {", "a writer may skip", test = "age" },
  { "age.c", "if (!world->writer_runs) { return; }", "return;", "writers count", test = "age" },
  { "age.c", "if (cmd->op == ECS_OP_CONFIRM && cmd->next == ECS__DIRECT) {", "if (false) {", "confirmations count", test = "age" },
  { "validate.c", "if (!will_be_there(pass->world, cmd->id)) { return dead_target(pass, cmd); }\n    if (ecs__place", "if (ecs__place",
    "what is gone is not confirmed", test = "age" },
  { "bulk.c", "if (ecs__entities_reserve(world, bulk->count) != ECS_OK) { return NULL; }", "",
    "ids of a bulk spawn that fails come back", test = "limits" },
  { "bulk.c", "memcpy(to, component->default_value, component->size_bytes);", "", "columns begin with defaults" },
  { "bulk.c", "if (components[k] == components[i]) {", "if (false) {", "components of a bulk spawn differ", test = "bulk" },
  { "bulk.c", ".count = bulk->count, .at = before};", ".count = 1, .at = before};", "all ids of a bulk spawn come back" },
  { "bulk.c", "columns[k] = tag ? NULL : bulk", "columns[k] = bulk", "a tag has no column" },
  { "bulk.c", "value += size) {", "value += 0) {", "each of many has its value" },
  { "bulk.c", "if (rc != ECS_OK && rc != ECS_E_THREAD && stream->open) { ecs__stream_rewind(world, before); }", "",
    "all of many or none", test = "failure" },
  { "bulk.c", "world->archetypes[archetype]->coming += bulk->count;", "", "room for bulk spawns" },
  { "bulk.c", "world->archetypes[bulk->archetype]->coming -= bulk->count;", "", "no rows of a refused bulk spawn" },
  { "bulk.c", "world->bulk_count--;", "", "a refused bulk spawn is not carried out" },
  { "bulk.c", "(size_t)first * slot->size_bytes,", "0,", "values of a bulk spawn go to their chunks" },
  { "bulk.c", "record->row = row + i;", "record->row = row;", "rows of a bulk spawn are known" },
  { "bulk.c", "ecs__bulk_ids(bulk) + first;", "ecs__bulk_ids(bulk);", "ids of a bulk spawn go to their chunks" },
  { "bulk.c", "if (archetype->row_count == 0) { world->empty_count--; }", "", "an archetype of bulk spawns is not empty" },
  { "bulk.c", "chunk->stamp[i] = stamp;", "", "bulk spawns are news" },
  { "bulk.c", "{tick, bulk->owner, tick, bulk->place, 0}", "{tick, bulk->owner, 0, bulk->place, 0}", "bulk spawns are added" },
  { "bulk.c", "{tick, bulk->owner, tick, bulk->place, 0}", "{tick, 0, tick, bulk->place, 0}", "whose a bulk spawn was" },
  { "bulk.c", "{tick, bulk->owner, tick, bulk->place, 0}", "{tick, bulk->owner, tick, 0, 0}", "where a bulk spawn was recorded" },
  { "bulk.c", "world->shared.alive += bulk->count;", "", "bulk spawns are counted" },
  { "bulk.c", "archetype->coming -= bulk->count;\n    world->shared", "world->shared", "bulk spawns that came come no more" },
  { "bulk.c", "if (world->observed_kinds != 0) { raise_added(world, bulk); }", "", "bulk spawns raise events" },
  { "bulk.c", "if (record->scratch != 0) { foreseen(world, record); }", "", "an id may be named before its bulk spawn" },
  -- ---- payloads -------------------------------------------------------------------------------
  { "payload.c", "case ECS_TYPE_U8: ADD_AS(uint8_t); break;", "case ECS_TYPE_U8: ADD_AS(uint16_t); break;", "add carries into no neighbour" },
  { "payload.c", "for (uint32_t i = 0; i < field->count; i++) {\n        add_number", "for (uint32_t i = 0; i < 1; i++) {\n        add_number",
    "add adds whole arrays" },
  { "payload.c", "for (; mask != 0; mask &= mask - 1) {", "for (; mask != 0; mask = 0) {", "add adds all its fields" },
  { "payload.c", "mask &= ~(1ull << at);", "mask = 0;", "set writes all its fields" },
  { "payload.c", "(mask >> at & 1) != 0 && component->fields[at].offset_bytes == end;", "(mask >> at & 1) != 0;", "fields with a gap between them" },
  -- ---- fold -----------------------------------------------------------------------------------
  { "fold.c", "if (cell.slot == NULL || cmd->op == ECS_OP_REMOVE) { continue; }", "if (cell.slot == NULL || cmd->op == ECS_OP_REMOVE) { break; }",
    "payloads after one that went" },
  { "fold.c", "ecs__touch(world, cmd->component);\n    if (cell.slot", "if (cell.slot", "watches are told of writes" },
  { "fold.c", "    stamp->changed = world->shared.tick;", "", "watches see what an apply writes" },
  { "fold.c", "uint64_t owner = ecs__owner_at(stream, entry->batch, pos);", "uint64_t owner = stream->batches[entry->batch].owner;",
    "whose a write was" },
  { "fold.c", "stamp->place = ecs__cmd_place(cmd);", "", "where a write was recorded" },
  { "fold.c", "if (stream->batches[middle].first <= pos) {", "if (stream->batches[middle].first < pos) {", "owner of a batch's first command" },
  { "fold.c", "if (slot->column == ECS__NONE || there == NULL) { continue; }", "if (slot->column == ECS__NONE || there == NULL) { break; }",
    "a move takes all values along" },
  { "fold.c", "ecs__stamp_newer(&target->stamp[there->column], &source->stamp[slot->column]);", "", "a move takes stamps along" },
  { "fold.c", "ecs__row_remove(world, from, record->row);", "", "a move leaves no row behind" },
  { "fold.c", "record->row = row;", "", "a record knows its row" },
  { "fold.c", "ecs__entity_free(world, ecs__index(entry->id));", "", "ids of despawned entities come back" },
  -- ---- events ---------------------------------------------------------------------------------
  { "fold.c", ".owner = ecs__owner_at(stream, entry->batch, pos)};", ".owner = stream->batches[entry->batch].owner};", "events name who changed" },
  { "fold.c", "if (ecs__slot(old, component) == NULL) {", "if (true) {", "added tells what is new" },
  { "fold.c", "if (ecs__slot(now, component) == NULL) {", "if (true) {", "removed tells what is gone" },
  { "fold.c", "put_in(&seen, cmd->component);", "", "changed is told once" },
  { "fold.c", "if (!old || !now) { continue; }", "if (!now) { continue; }", "what is new did not change" },
  { "fold.c", "raise_events(world, stream, entry, ECS__NONE);", "", "the dead raise events" },
  { "observe.c", "observed |= (uint8_t)(1u << kind);", "observed = (uint8_t)(1u << kind);", "kinds of events add up" },
  { "observe.c", "if (kind == ECS_EVENT_DESPAWNED) { return ECS_OK; }", "if (kind != ECS_EVENT_DESPAWNED) { return ECS_OK; }",
    "kinds that name a component" },
  -- ---- trim -----------------------------------------------------------------------------------
  { "trim.c", "ecs__query_trim(world->queries[i]);", "", "queries forget what is dropped" },
  { "trim.c", "if (ecs__archetype_stays(world->ordered[i])) { cut_edges(world, world->ordered[i]); }", "", "edges to what is dropped go" },
  { "trim.c", "archetype->edge_remove[i] = ECS__NONE;", "", "edges back to what is dropped go" },
  { "trim.c", "world->ordered[kept++] = archetype;", "world->ordered[kept++] = world->ordered[0];", "what stays stays in order" },
  { "trim.c", "world->ordered_count = kept;", "", "what is dropped is not walked" },
  { "trim.c", "ecs__archetype_table_fill(world);", "", "what is dropped is not found" },
  { "trim.c", "world->empty_count--;", "", "what is dropped is not counted" },
  { "trim.c", "archetype->row_count + archetype->chunk_rows - 1)", "archetype->row_count + 0)", "trim keeps chunks with rows" },
  { "query.c", "query->places[(size_t)i * query->place_terms + k];", "query->places[(size_t)kept * query->place_terms + k];",
    "places move with their archetypes" },
  { "query.c", "query->place_count = kept * query->place_terms;", "", "places after a trim" },
  -- ---- entity ---------------------------------------------------------------------------------
  { "entity.c", "record->archetype = ECS__RESERVED;", "record->archetype = 0;", "a reserved id is not alive" },
  { "entity.c", "record->generation++;", "", "an id comes back one generation on" },
  { "entity.c", "if (world->free_head == ECS__NONE) { world->free_tail = ECS__NONE; }", "", "an empty list of free slots" },
  { "entity.c", "ecs__record_at(world, world->free_tail)->row = index;", "world->free_head = index;", "ids come back first in, first out" },
  { "entity.c", "stamp->changed = world->shared.tick;", "", "watches see what writers write" },
  { "entity.c", "ecs__touch(world, component);", "", "watches are told of writers" },
  { "entity.c", "stamp->owner = world->writer;", "", "whose a writer's write was" },
  { "entity.c", "stamp->place = 0;", "", "where a writer writes is unknown" },
  { "entity.c", "return count;", "return cap;", "how many components there are" },
  { "entity.c", "if (record->generation == ECS__MAX_GENERATION) {", "if (false) {", "a slot is retired in time", test = "apply" },
  { "internal.h", "|| id != (ecs_id_t)(uint64_t)id) { return NULL; }", ") { return NULL; }", "a fraction is no id" },
  { "internal.h", "return used && record->generation == ecs__generation(id) ? record : NULL;", "return used ? record : NULL;", "the generation counts" },
  { "internal.h", "if (other->changed <= stamp->changed) { return; }", "", "the newer of two writes counts" },
  { "internal.h", "stamp->owner = other->owner;", "", "whose a row's last write was" },
  -- ---- hierarchy ------------------------------------------------------------------------------
  { "hierarchy.c", "} else if (entry->parent == parent && strncmp", "} else if (strncmp", "names are those of siblings" },
  { "hierarchy.c", "entry->name[length] == '\\0') {", "true) {", "a name is no prefix" },
  { "hierarchy.c", "strlen(node->name))->index = ECS__NONE;", "strlen(node->name))->index = 0;", "names behind one that went are found" },
  { "hierarchy.c", "if (node->prev != 0) { ecs__node(world, node->prev - 1)->next = node->next; }", "", "siblings close the gap" },
  { "hierarchy.c", "if (above->last == index + 1) { above->last = node->prev; }", "", "the last child goes" },
  { "hierarchy.c", "ecs__node(world, above->last - 1)->next = index + 1;", "node->next = above->first;", "children are in order" },
  { "hierarchy.c", "path = end != NULL ? end + 1 : NULL;", "path = NULL;", "a path has several names" },
  -- ---- sparse components ---------------------------------------------------------------------------
  { "sparse.c", "*row_of(store, ecs__index(id)) = row + 1;", "*row_of(store, ecs__index(id)) = row + 2;", "a slot knows its sparse row" },
  { "sparse.c", "*row_of(store, index) = 0;", "", "a sparse row that is taken is gone" },
  { "sparse.c", "if (moved != 0) { *row_of(store, ecs__index(moved)) = row + 1; }", "", "the sparse row that fills a gap is known" },
  { "sparse.c", "uint32_t page = index / ECS__PAGE_ROWS;", "uint32_t page = 0;", "the page of a slot is made" },
  { "sparse.c", "store->page_count <= page; store", "store->page_count < page; store", "pages are counted" },
  { "sparse.c", "if (store->pages[page] == NULL) {", "if (true) {", "a page is made once" },
  { "sparse.c", "ecs__chunks_free(world, store->table, 0);", "", "sparse rows of a restore that fails go", test = "sparse" },
  { "sparse.c", "store->table->row_count = 0;", "", "and are counted no more", test = "sparse" },
  { "sparse.c", "store->page_count = 0;", "", "nor do slots know them", test = "sparse" },
  { "sparse.c", "if (ecs__query_names(world->queries[i], component)) {", "if (false) {", "a query knows which are sparse", test = "sparse" },
  { "sparse.c", "world->sparse[at] = world->sparse[at - 1];", "", "sparse components are in order", test = "sparse" },
  { "internal.h", "if (store != NULL) { store->table->coming--; }", "", "rows of inserts that are not carried out come no more" },
  { "internal.h", "if (row == ECS__NONE) { return (ecs__place_t){0}; }",
    "if (store == NULL) { return (ecs__place_t){0}; }",
    "who has a sparse component" },
  { "validate.c", "if (rc == ECS_OK) { store->table->coming++; }", "", "sparse rows that come are counted" },
  { "validate.c", "if (rc == ECS_OK) { rc = ecs__note_growing(pass->world, store->table); }", "", "room for sparse rows" },
  { "validate.c", "int rc = ecs__sparse_page(pass->world, store, ecs__index(entry->id));", "int rc = ECS_OK;", "a page for a sparse row" },
  { "validate.c", "if (last != NULL) { return last->op != ECS_OP_REMOVE; }", "", "earlier commands give and take sparse components" },
  { "validate.c", "return last->op != ECS_OP_REMOVE;", "return true;", "earlier commands take sparse components" },
  { "validate.c", "ecs__sparse_row(store, ecs__index(entry->id)) != ECS__NONE;", "false;", "a sparse component that is there" },
  { "validate.c", "ecs__sparse_row(store, ecs__index(entry->id)) != ECS__NONE;", "true;", "a sparse component that is not" },
  { "validate.c", "ecs__sparse_release(world, cmd);", "", "sparse rows of a refused batch come no more" },
  { "validate.c", "if (world->components[cmd->component].sparse != NULL) { return after; }", "", "no archetype has a sparse component" },
  { "validate.c", "if (removals) { world->event_bound += world->sparse_count; }", "",
    "room for events of sparse components that die", test = "sparse" },
  { "validate.c", "if (store != NULL) { return add ? bring_sparse(pass, entry, store) : ECS_OK; }", "if (store != NULL && !add) { return ECS_OK; }",
    "an insert of a sparse component moves nobody" },
  { "fold.c", "if (row != ECS__NONE) { ecs__sparse_remove(world, store, index); }", "", "a remove takes the sparse row" },
  { "fold.c", "ecs__touch(world, cmd->component);\n        return;", "return;", "watches are told of a sparse remove" },
  { "fold.c", "if (cmd->op == ECS_OP_INSERT) { store->table->coming--; }", "", "sparse rows that came come no more" },
  { "fold.c", "if (row == ECS__NONE) { row = ecs__sparse_add", "{ row = ecs__sparse_add", "an insert over a value takes no row" },
  { "fold.c", "ecs__sparse_remove(world, store, ecs__index(entry->id));", "", "who dies leaves no sparse row" },
  { "fold.c", "ecs__sparse_release(world, ecs__cmd_at(stream, pos));", "", "sparse rows of who dies come no more" },
  { "fold.c", "if (is_in(had, component) && !now) {", "if (is_in(had, component)) {", "sparse components that stay were not removed" },
  { "fold.c", "if (!is_in(had, component) && now) {", "if (now) {", "sparse components that stay were not added" },
  { "fold.c", "raise_sparse(world, stream, entry, &had, false);", "", "sparse components of the dead raise events" },
  { "fold.c", "raise_sparse(world, stream, entry, &had, true);", "", "sparse components raise events" },
  { "fold.c", "bool old = sparse ? is_in(had, cmd->component)", "bool old = sparse ? true", "a new sparse component did not change" },
  { "fold.c", "bool now = sparse ? has_sparse(world, entry->id, cmd->component)", "bool now = sparse ? true",
    "a sparse component that went did not change" },
  { "fold.c", "put_in(&had, world->sparse[i]);", "", "what was there of sparse components" },
  { "entity.c", "if (ecs__sparse_row(store, ecs__index(id)) == ECS__NONE) { continue; }", "", "sparse components of an entity are its own" },
  { "entity.c", "at < world->sparse_count && world->sparse[at] < component; at++)", "at < world->sparse_count && last; at++)",
    "components are listed in order" },
  { "bulk.c", "if (world->components[components[i]].sparse != NULL) {", "if (false) {", "bulk spawns take no sparse component" },
  { "query.c", "if (query->world->components[component].sparse != NULL) { return true; }", "",
    "queries with sparse components look at all archetypes" },
  { "cursor.c", "in = ecs__sparse_row(store, ecs__index(id)) != ECS__NONE;", "in = true;", "with a sparse component" },
  { "cursor.c", "in = ecs__sparse_row(store, ecs__index(id)) == ECS__NONE;", "in = true;", "without a sparse component" },
  { "cursor.c", "if (!has_sparse(query)) { return chunk->count; }", "return chunk->count;", "rows of runs are counted" },
  { "query.c", " query->sparse_with_count + query->sparse_without_count == 0;", " true;", "rows of runs are looked at" },
  { "cursor.c", "while (first < count && !in_run(query, run->chunk, first)) {", "while (false) {", "a run begins at a row that matches" },
  { "cursor.c", "while (end < count && in_run(query, run->chunk, end)) {", "while (end < count) {", "a run ends at a row that does not match" },
  { "cursor.c", "cursor->row_at = end;", "cursor->row_at = count;", "a chunk has several runs" },
  { "cursor.c", "cursor->chunk_at++;\n        cursor->row_at = 0;", "cursor->chunk_at++;", "runs of a chunk begin at its first row" },
  { "cursor.c", "if (run->first == 0) { return column_at; }", "return column_at;", "values of a run are those of its rows" },
  { "cursor.c", "(view + run->chunk->block_offset) + run->first;", "(view + run->chunk->block_offset);",
    "ids of a run are those of its rows" },
  { "query.c", "if (column && world->components[components[i]].sparse != NULL) {", "if (false) {", "sparse components have no column" },
  { "query.c", "return is_among(query->columns, query->column_count, component) ||", "return", "a query names its columns", test = "sparse" },
  { "query.c", "is_among(d->with, d->with_count, component) ||", "", "and what it is with", test = "sparse" },
  { "query.c", "is_among(d->without, d->without_count, component) ||", "", "and what it is without", test = "sparse" },
  { "trim.c", "trim_chunks(world, world->components[world->sparse[i]].sparse->table);", "",
    "trim gives chunks of sparse components back", test = "sparse" },
  { "check.c", "if (table->row_count > 0) { sparse += mix_archetype(world, table, HASH_START); }", "", "sparse components are part of the hash" },
  { "snapshot.c", "if (table->chunks[k]->count > 0) { put_chunk(writer, table, table->chunks[k]); }", "put_chunk(writer, table, table->chunks[k]);",
    "chunks without sparse rows are in no snapshot" },
  { "restore.c", "(void)ecs__sparse_add(world, store, id);", "", "sparse rows are restored" },
  { "restore.c", ".changed = ecs__u64_at(ticks, 0), .added = ecs__u64_at(ticks, 1)", ".changed = 0", "ticks of sparse components are restored" },
  { "restore.c", "memcpy(to, values, (size_t)rows * size);", "", "values of sparse components are restored" },
  { "restore.c", "if (rc == ECS_OK) { rc = build_sparse(restore); }", "", "sparse components are restored" },
  { "restore.c", "ecs__sparse_clear(world); /*", "/*", "a restore that fails leaves no sparse rows", test = "sparse" },
  -- ---- marks, ids of bulk spawns, whole walks, conversions -----------------------------------------
  { "command.c", "uint32_t number = ++stream->cut_number;", "uint32_t number = stream->cut_number;", "rollbacks are numbered", test = "apply" },
  { "command.c", "while (stream->cut_count > 0 && stream->cuts[stream->cut_count - 1].at >= at) {", "while (false) {",
    "a rollback stands for those that went less far", test = "apply" },
  { "command.c", "if (stream->cuts[middle].number > mark->cuts) {", "if (stream->cuts[middle].number >= mark->cuts) {",
    "a rollback before a mark does not end it" },
  { "command.c", "return low == stream->cut_count || mark->at <= stream->cuts[low].at;", "return true;",
    "a rollback behind a mark ends it", test = "apply" },
  { "command.c", "mark->at <= stream->cuts[low].at;", "mark->at < stream->cuts[low].at;", "a rollback to a mark does not end it", test = "apply" },
  { "command.c", "ecs__blocks_free(world, stream, stream->block_count - many);", "", "blocks of a rollback go", test = "bulk" },
  { "entity.c", "if (count <= world->free_count) { return ECS_OK; }", "", "ids that are free are enough" },
  { "entity.c", "uint32_t more = count - world->free_count;", "uint32_t more = count;", "free ids count", test = "bulk" },
  { "entity.c", "if (more > world->max_slots - world->slot_count) { return no_room(world); }", "if (count > world->max_slots) { return no_room(world); }",
    "slots in use count", test = "bulk" },
  { "entity.c", "world->free_count++;", "", "free ids are counted" },
  { "entity.c", "world->free_count--;", "", "ids that are taken are not free" },
  { "bulk.c", "record->row = bulk->base + i;", "record->row = i;", "entities know their bulk spawn" },
  { "bulk.c", "bulk->base = world->bulk_rows;", "bulk->base = 0;", "a bulk spawn has its rows" },
  { "bulk.c", "world->bulk_rows += bulk->count;", "", "rows of bulk spawns follow each other" },
  { "bulk.c", "if (world->bulks[middle]->base <= record->row) {", "if (world->bulks[middle]->base < record->row) {",
    "the first row of a bulk spawn is its own" },
  { "bulk.c", "row = record->row - bulk->base;", "row = record->row;", "a value is that of its row" },
  { "bulk.c", "(world->bulk_count - (i - 1)) * sizeof(ecs__bulk_t *));", "0);", "bulk spawns close the gap" },
  { "bulk.c", "world->event_bound += (uint64_t)bulk->count * observed_count(world, bulk);", "", "room for events of bulk spawns", test = "bulk" },
  { "bytes.c", "memcmp(a + leaf->offset_bytes, b + leaf->offset_bytes, leaf->bytes) != 0", "false", "values that differ are not equal" },
  { "bytes.c", "memcmp(a + leaf->offset_bytes, b + leaf->offset_bytes, leaf->bytes) != 0", "memcmp(a, b, layout->size_bytes) != 0",
    "what lies between fields does not count", test = "apply" },
  { "bytes.c", "last->bytes += field->size_bytes;", "", "fields that lie together all count" },
  { "cursor.c", "cursor->walks = true;", "", "a walk begins once", test = "walk" },
  { "cursor.c", "    world->shared.tick++;", "", "a write after a walk is news", test = "apply" },
  { "cursor.c", "if (query->write_count > 0) { cursor->began++; }", "", "a walk's own marks are no news", test = "limits" },
  { "cursor.c", "query->world->shared.tick++;", ";",
    "a write after a walk that writes is news", test = "walk" },
  { "query.c", "if (cursor->archetype_at == position) { cursor->chunk_at = cursor->row_at = 0; }", "",
    "a walk whose archetype goes begins the next", test = "limits" },
  { "query.c", "if (cursor->archetype_at > position) { cursor->archetype_at--; }", "",
    "a walk stays where it is when archetypes go", test = "walk" },
  { "query.c", "ecs_cursor_rewind(query->cursors[k]);", "", "a restore begins walks anew", test = "walk" },
  { "migrate_plan.c", "return same && from->min == to->min && from->max == to->max;", "return same;",
    "another range is held against what is stored", test = "migrate" },
  { "migrate_plan.c", "if (to->has_range) { return same && from->min == to->min && from->max == to->max; }", "",
    "a range is held against what is stored", test = "migrate" },
  { "migrate_plan.c", "if (from->has_range) { return false; }", "", "a range does not bind what is stored", test = "migrate" },
  { "migrate_plan.c", "bool ends = from->min >= to->min && from->max <= to->max;", "bool ends = true;",
    "integers fit into larger ones", test = "migrate" },
  -- ---- versions of types ----------------------------------------------------------------------
  { "types.c", "known = &world->structs[i];\n        if (!known->old && ", "known = &world->structs[i];\n        if (",
    "a name means its current version", test = "types" },
  { "types.c", "if (ecs__layouts_equal(known, made)) { return i; }", "", "an older version that is alike comes back", test = "types" },
  { "types.c", "world->structs[at].old = false;", "", "and is current", test = "types" },
  { "types.c", "if (same_enum(known, members, count)) { return i; }", "", "an older enum comes back", test = "types" },
  { "types.c", "world->enums[before].old = true;", ";", "another enum is no longer current", test = "types" },
  { "types.c", "made->version = ++world->type_versions;", "made->version = 1;", "versions differ", test = "types" },
  { "types.c", "made.version = ++world->type_versions;", "made.version = 1;", "versions of enums differ", test = "types" },
  { "types.c", "known->holds > 0 || known->rooms != 0;", "known->rooms != 0;", "plans and copies keep their structs", test = "types" },
  { "types.c", "known->holds > 0 || known->rooms != 0;", "known->holds > 0;", "a room keeps its event", test = "types" },
  { "types.c", "mark_struct(world, world->sent[i].event);", "", "events of the last apply keep their struct", test = "types" },
  { "types.c", "    mark_fields(world, &world->structs[id]);", "", "a struct keeps what it holds", test = "types" },
  { "types.c", "int rc = ecs__schema_guard(world), freed = 0;", "int rc = ECS_OK, freed = 0;", "no sweep while a batch waits", test = "types" },
  { "types.c", "if (world->structs[*out].version == 0) { return ECS_OK; }", "", "free ids are used again", test = "types" },
  { "types.c", "while (at < world->enum_count && world->enums[at].version != 0) {", "while (at < world->enum_count) {",
    "free ids of enums, too", test = "types" },
  { "types.c", "strcmp(world->structs[field->struct_id].name, name) == 0) {", "false) {", "a struct does not hold itself", test = "types" },
  { "types.c", "rank += world->enums[i].used;", "rank += 1;", "a snapshot counts the enums it has", test = "types" },
  { "types.c", "known->used = known->version != 0 && (!known->old || (all && known->holds > 0));", "known->used = known->version != 0;",
    "a snapshot has no enum that nothing uses", test = "types" },
  { "restore_schema.c", "bool alike = has_members(version, members, count);", "bool alike = false;", "a snapshot's enum is the version alike", test = "types" },
  { "restore_schema.c", "if (!alike && version->old && known != NULL) { continue; }", "if (!alike && known != NULL) { continue; }",
    "what differs is told of the current version", test = "types" },
  { "sparse.c", "if (ecs__slot(world->ordered[i], component) != NULL) {", "if (false) {", "what entities have does not become sparse", test = "types" },
  -- ---- queries that end -----------------------------------------------------------------------
  { "query.c", "(*out)->holders++;", "", "who creates a query again holds it", test = "release" },
  { "query.c", "(*out)->released = false;", "", "a query that is created again goes on", test = "release" },
  { "query.c", "if (known->released && known->watches == 0) { end(world, at); }", "if (known->released) { end(world, at); }",
    "a watch holds its query", test = "release" },
  { "query.c", "if (query->released && query->watches == 0) { end(world, at); }", "", "the last watch ends it", test = "release" },
  { "query.c", "if (query->open == 0) {", "if (true) {", "cursors hold the memory of a query", test = "release" },
  { "query.c", "query->archetype_count = query->place_count = 0;\n    query->next", "query->next", "an ended query yields nothing", test = "release" },
  { "cursor.c", "if (--query->open == 0 && query->ended) { free_ended(query); }", "query->open--;", "the last cursor frees an ended query", test = "release" },
  { "cursor.c", "if (query->ended) { return NULL; }", "", "no cursor on an ended query", test = "release" },
  { "cursor.c", "if (query->ended) { return; }", "", "no tick for an ended query", test = "release" },
  { "watch.c", "if (d->query != NULL && !ecs__query_known(world, d->query)) {", "if (false) {", "no watch on an ended query", test = "release" },
  -- ---- migrations: in place, dry, back --------------------------------------------------------
  { "migrate_plan.c", "if (loses || change == ECS_FIELD_ADDED) { m->in_place = false; }", "", "fields that come are written", test = "migrate_check" },
  { "migrate_plan.c", "if (from->count != to->count) { p->migration->in_place = false; }", "", "padding is no default", test = "migrate_check" },
  { "migrate_plan.c", "m->only_copies = m->only_copies && kind == ECS__STEP_COPY;", "", "a range is tested", test = "migrate_check" },
  { "migrate_plan.c", "pair->from_at == pair->to_at && pair->from->type", "pair->from->type", "fields that change places are written", test = "migrate_check" },
  { "migrate.c", "bool takes_all = converter == NULL && (", "bool takes_all = (", "a converter writes all", test = "migrate_check" },
  { "migrate.c", "return job->migration->only_copies ? ECS_OK : inspect(job, archetype);", "return ECS_OK;",
    "a range is tested in place", test = "migrate_check" },
  { "migrate.c", "component->version = ++world->type_versions;", "component->version = before.version;", "an old plan is refused", test = "migrate_check" },
  { "migrate_check.c", "if (migration->in_place) { return cost; }", "", "a range writes nothing", test = "migrate_check" },
  { "migrate_check.c", "row < max_rows && !cursor->done;", "!cursor->done;", "a slice has its rows", test = "migrate_check" },
  { "migrate_check.c", "for (; slots > 0 && cursor->at", "for (; cursor->at", "a slice ends among others, too", test = "migrate_check" },
  { "migrate_check.c", "if (!ecs__record_alive(record)) { continue; }", "", "a slice passes what is gone", test = "migrate_check" },
  { "migrate_plan.c", "if (saved != NULL && was_lost(m->world, s, into)) { continue; }", "", "what had no room comes back", test = "saved" },
  { "migrate_plan.c", "bool strict = converter == NULL && m->saved == NULL;", "bool strict = converter == NULL;",
    "the way back refuses no value", test = "saved" },
  { "migrate_plan.c", "const void *rest = saved == NULL ? m->to.default_value : saved;", "const void *rest = m->to.default_value;",
    "what is missing comes from the copy", test = "saved" },
  { "saved.c", "if (low == saved->count || saved->ids[low] != id) { return NULL; }", "if (low == saved->count) { return NULL; }",
    "a copy is of an id, not of a slot", test = "saved" },
  { "saved.c", "if (saved->world != world) {", "if (false) {", "a copy is of one world", test = "saved" },
  { "saved.c", "ecs__types_hold(world, &saved->layout, true);", "", "a copy holds its types", test = "types" },
  -- ---- archetypes, rows -----------------------------------------------------------------------
  { "archetype.c", "bool same = archetype->slot_count == count;", "bool same = archetype->slot_count >= count;",
    "fewer components are another archetype" },
  { "archetype.c", "if (!placed && component < at) {", "if (!placed && component > at) {", "components are sorted" },
  { "archetype.c", "ecs__query_add_archetype(world->queries[i], made);", "", "queries get new archetypes" },
  { "archetype.c", "chunk->stamp[i].added = world->shared.tick;", "", "watches see what came to a chunk" },
  { "archetype.c", "ecs__record_at(world, ecs__index(moved))->row = row;", "", "the row that fills a gap is known" },
  { "archetype.c", "if (row != last) {", "if (row + 1 < last) {", "the last row but one is filled, too" },
  { "archetype.c", "if (other->added > stamp->added) { stamp->added = other->added; }", "", "a row that fills a gap brings its arrival" },
  { "archetype.c", "ecs__stamp_newer(stamp, other);", "", "a row that fills a gap brings its news" },
  { "archetype.c", "wide->count = old->count;", "wide->count = old->count - 1;", "a chunk that grows keeps its rows" },
  { "archetype.c", "wide->stamp[slot->column] = old->stamp[slot->column];", "", "a chunk that grows keeps its stamps", test = "limits" },
  -- ---- queries --------------------------------------------------------------------------------
  { "query.c", "!has_any(archetype, d->without, d->without_count)", "true", "without" },
  { "query.c", "has_all(query, archetype, d->with, d->with_count) &&", "", "with" },
  { "query.c", "has_all(query, archetype, d->changed, d->changed_count) &&", "", "what changed is there" },
  { "query.c", "has_all(query, archetype, d->added, d->added_count) &&", "", "what was added is there" },
  { "query.c", "slot == NULL ? ECS__NONE : slot->column;", "slot == NULL ? ECS__NONE : 0;", "a box is that of its column" },
  { "cursor.c", "cursor->archetype_at++;\n            cursor->chunk_at = 0;", "cursor->archetype_at++;", "a walk begins at the first chunk" },
  { "cursor.c", "stamp->changed = world->shared.tick;", "", "watches see what cursors write" },
  { "cursor.c", "stamp->owner = world->writer;", "", "whose a cursor's write was" },
  { "cursor.c", "box->before = *stamp;", "", "a cursor's mark can be taken back" },
  { "cursor.c", "ecs__touch(world, component);", "", "watches are told of cursors", test = "observe" },
  { "query.c", "return a_count == b_count && memcmp(a, b, a_count * sizeof *a) == 0;", "return a_count == b_count;",
    "another query is not this one" },
  { "query.c", "same_terms(a->changed, a->changed_count, b->changed, b->changed_count) &&", "", "a filter makes another query" },
  { "query.c", "i < world->query_count && !has_past; i++", "i < world->query_count; i++", "a query with a filter has its own past" },
  { "cursor.c", "if (query->write_count > 0 && ecs__guard", "if (query->write_count > 99 && ecs__guard", "writing has its phase" },
  { "cursor.c", "filter && cursor->row_at == 0 && !is_news(query, cursor->archetype_at, run.chunk);", "false;", "chunks without news do not come" },
  { "cursor.c", "stamp->changed > query->since || stamp->added > query->since)", "stamp->added > query->since)", "a write is news" },
  { "cursor.c", "stamp->changed > query->since || stamp->added > query->since)", "stamp->changed > query->since)", "a row that came is changed" },
  { "cursor.c", "if (chunk->stamp[*place].added > query->since) { return true; }", "", "a row that came is added" },
  { "cursor.c", "if (chunk->stamp[*place].added > query->since)", "if (chunk->stamp[*place].changed > query->since)", "a write is not added" },
  { "cursor.c", "query->since = cursor->began;", "", "a whole walk is one" },
  { "cursor.c", "cursor->began = world->shared.tick;", "", "a walk has a beginning" },
  { "cursor.c", "if (has_filter(query) && !is_news(query, archetype_at, chunk)) { return 0; }", "", "rows without news are not counted" },
  { "query.c", "query->since = 0;", "", "all that was restored is new" },
  -- ---- recording ------------------------------------------------------------------------------
  { "command.c", "bool here = mark.batch == world->batches_begun && mark.at", "bool here = mark.at", "marks are those of a batch" },
  { "command.c", "if (first > ecs__stream_pos(world) || (here", "if ((here", "marks end", test = "apply" },
  { "command.c", "free_spawned(world, stream, here ? spawned_before(stream, first) : stream->current.spawned);", "", "dropped ids come back" },
  { "command.c", "if (stream->spawned[middle].at < place) {", "if (stream->spawned[middle].at <= place) {", "the id at a mark comes back" },
  { "command.c", "uint32_t low = stream->current.spawned, high", "uint32_t low = stream->spawned_count, high", "ids behind a mark come back" },
  { "command.c", ".spawned = stream->spawned_count};", ".spawned = 0};", "ids of earlier batches stay" },
  { "command.c", "stream->spawned_count = first;", "", "ids come back once" },
  { "command.c", "if (stream->current.expects > first) { stream->current.expects = 0; }", "", "an expectation that is forgotten is none" },
  { "command.c", "if (stream->current.expects > first) { stream->current.expects = 0; }", "stream->current.expects = 0;",
    "an expectation before a mark stays" },
  { "command.c", "bool any = stream->open && at != stream->current.first;", "bool any = stream->open;",
    "an empty batch leaves no trace" },
  { "command.c", "marks of the one before end */\n    stream->flags = 0;", "marks of the one before end */", "flags are those of a batch" },
  { "command.c", "stream->flags = 0;\n    stream->place = 0;\n    stream->cut_count", "stream->flags = 0;\n    stream->cut_count",
    "places are those of a batch" },
  { "command.c", "return at_chunk_end ? ecs__pos_of((at >> 13) + 1, 0) : batch->first;", "return batch->first;", "a batch may begin in the next chunk" },
  { "internal.h", "return at >= stream->chunk_end[chunk] ? ecs__pos_of(chunk + 1, 0) : ecs__pos_of(chunk, at);", "return ecs__pos_of(chunk, at);",
    "a batch goes on in the next chunk" },
  { "command.c", "stream->batch_count = 0;", "", "a batch is applied once" },
  { "command.c", "ecs__copy(slot, component->default_value, component->size_bytes);", "", "an insert begins with defaults" },
  { "command.c", "if (!(mask >= 0 && mask < (double)end)", "if (!(mask >= 0)", "masks name fields" },
  -- ---- watches --------------------------------------------------------------------------------
  { "watch.c", "case ECS_WATCH_ADDED: return now && !before;", "case ECS_WATCH_ADDED: return now;", "rising is an edge" },
  { "watch.c", "case ECS_WATCH_REMOVED: return !now && before;", "case ECS_WATCH_REMOVED: return !now;", "falling is an edge" },
  { "watch.c", "before = watch->last;\n    watch->last = now;", "before = watch->last;", "an edge is one from the last poll" },
  { "watch.c", "if (ecs__number_load(field->type", "if (i == 0 && ecs__number_load(field->type", "all conditions count" },
  { "value.c", "case ECS_TYPE_I8: NUMBER_AS(int8_t);", "case ECS_TYPE_I8: NUMBER_AS(uint8_t);", "numbers have their sign" },
  { "watch.c", "return stamp->changed > watch->seen_tick ||", "return", "changes since the last poll" },
  { "watch.c", "if (fired || (test && of_entity && is_gone(world, watch->desc.id))) {", "if (fired) {", "the dead end their watches" },
  { "watch.c", "return ecs__record_find(world, id) == NULL;", "return !ecs_alive(world, id);", "who is to come is not gone" },
  { "watch.c", "return (value == NULL) != (watch->copy == NULL); }", "return false; }", "what comes or goes has changed" },
  { "watch.c", "component->fields[d->field[0]].offset_bytes : 0);", "0 : 0);", "the field that is watched" },
  { "watch.c", "world->watches[index].id != watch) { return; }", "false) { return; }", "an unknown watch is ignored" },
  { "watch.c", "watch->generation % 4095 + 1;", "watch->generation;", "ids of watches are not used again at once", test = "observe" },
  { "watch.c", "if (deaths || component->touched > world->poll_tick) {", "if (component->touched > world->poll_tick) {",
    "who dies may lack what is watched" },
  { "watch.c", "if (deaths) { poll_list(world, world->despawn_watches, &fired); }", "", "watches for despawns" },
  { "watch.c", "if (fired > 1) { qsort(world->fired, fired, sizeof *world->fired, by_sequence); }", "", "watches fire in the order they were added" },
  { "watch.c", "if (watch->next != 0) { world->watches[watch->next - 1].prev = watch->prev; }", "", "lists of watches close the gap" },
  { "watch.c", "world->watches[watch->prev - 1].next = watch->next;", "", "lists of watches close the gap behind" },
  { "watch.c", "world->poll_tick = world->shared.tick;", "world->poll_tick = world->shared.tick + 1;", "a poll looks at what came since the last" },
  { "fold.c", "touch_difference(world, from, to);", "", "watches are told of what goes" },
  { "entity.c", "world->id_freed = true;", "", "watches are told of the dead, and of ids that were given back" },
  -- ---- hash, phases ---------------------------------------------------------------------------
  { "check.c", "if (node->name != NULL) { hash = mix", "if (false) { hash = mix", "names are part of the hash", test = "apply" },
  { "check.c", "const uint32_t place[] = {i, node->parent, node->prev};", "const uint32_t place[] = {i, 0, node->prev};", "parents are part of the hash",
    test = "apply" },
  { "check.c", "hash = mix(hash, slots[i].name, strlen(slots[i].name) + 1);", "", "tags are part of the hash", test = "apply" },
  { "check.c", "(size_t)chunk->count * slot->size_bytes);", "slot->size_bytes);", "all values are part of the hash" },
  { "check.c", "if (node->parent == 0 && node->name == NULL) { continue; }", "", "the hash is that of the content", test = "apply" },
  { "world.c", "if (phase == ECS_PHASE_SETUP && world->shared.alive > 0) {", "if (false) {", "setup does not come back" },
  { "world.c", "if ((phases >> world->phase & 1u) == 0) {", "if (world->phase == ECS_PHASE_SETUP) {", "calls have their phases" },
  -- ---- snapshots ------------------------------------------------------------------------------
  { "snapshot.c", "put_u64(writer, chunk->stamp[i].changed);", "put_u64(writer, 0);", "ticks of changes are in a snapshot" },
  { "snapshot.c", "put_u64(writer, chunk->stamp[i].added);", "put_u64(writer, 0);", "ticks of arrivals are in a snapshot" },
  { "snapshot.c", "put_u32(writer, node->parent);", "put_u32(writer, 0);", "parents are in a snapshot" },
  { "snapshot.c", "for (uint32_t at = node->first; at != 0; at = ecs__node(world, at - 1)->next) {",
    "for (uint32_t at = node->last; at != 0; at = ecs__node(world, at - 1)->prev) {", "the order of children is in a snapshot" },
  { "snapshot.c", "put_u64(writer, world->shared.tick);", "put_u64(writer, 1);", "the tick is in a snapshot" },
  { "restore.c", "for (uint32_t i = restore->free_count; i > 0; i--) {", "for (uint32_t i = 1; i <= restore->free_count; i++) {", "ids come back as before" },
  { "restore.c", "record->row = archetype->row_count + i;", "record->row = i;", "rows of all chunks are restored" },
  { "restore.c", "ecs__queries_refill(world);", "", "queries of a world see what is restored in it" },
}

-- ---- the runner -----------------------------------------------------------------------------------

local function run(command)
  return (os.execute(command)) == 0
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Runs shell commands, some at a time.
local function run_all(commands)
  for i, command in ipairs(commands) do write(("%s/job%d.sh"):format(OUT, i), command .. "\n") end
  return run(("seq %d | xargs -P %d -I @ sh %s/job@.sh"):format(#commands, JOBS, OUT))
end

local function sources_of_core()
  local list = {}
  local pipe = assert(io.popen("ls ecs/*.c"))
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

local function object(path)
  return ("%s/%s.o"):format(OUT, path:gsub("[/.]", "_"))
end

-- The text with one replacement; nil and how often the original is there when that is not once.
local function mutate(text, original, mutated)
  local first, last = text:find(original, 1, true)
  if not first then return nil, 0 end
  if text:find(original, last + 1, true) then return nil, 2 end
  return text:sub(1, first - 1) .. mutated .. text:sub(last + 1)
end

-- The core's objects with one of them exchanged, and a test's.
local function link(test, out, replaced, by)
  local objects = {}
  for _, path in ipairs(sources_of_core()) do objects[#objects + 1] = path == replaced and by or object(path) end
  for _, name in ipairs(test.sources) do objects[#objects + 1] = object("tests/ecs/" .. name) end
  return ("gcc -o %s %s %s -lpthread -lm"):format(out, table.concat(objects, " "), test.link or "")
end

-- A shell command that leaves exit code and seconds in <base>.rc and what was printed in <base>.log.
-- 99: it was not built.
local function job(base, test, build)
  return ([[%s 2>%s.log || { echo 99 0 >%s.rc; exit 0; }
start=$(date +%%s.%%N)
rc=0; timeout %d %s %s >%s.log 2>&1 || rc=$?
echo $rc $(echo "$(date +%%s.%%N) $start" | awk '{ print $1 - $2 }') >%s.rc]]):format(
    build, base, base, LIMIT_S, base, test.arguments or "", base, base)
end

-- A shell command that builds a test with the core in which <base>.c or <base>.h takes the place of
-- the file.
local function build(test, base, path)
  if path:match("%.c$") then
    return ("gcc %s -c %s.c -o %s.o && %s"):format(FLAGS, base, base, link(test, base, path, base .. ".o"))
  end
  local objects = {}
  for _, name in ipairs(test.sources) do objects[#objects + 1] = object("tests/ecs/" .. name) end
  return ("mkdir %s.core && cp ecs/*.c ecs/*.h %s.core && cp %s.h %s.core/%s && gcc %s -O0 -o %s %s.core/*.c %s %s -lpthread -lm"):format(
    base, base, base, base, path:match("[^/]+$"), FLAGS, base, base, table.concat(objects, " "), test.link or "")
end

local function build_unmutated()
  local commands = {}
  for _, path in ipairs(sources_of_core()) do commands[#commands + 1] = ("gcc %s -c %s -o %s"):format(FLAGS, path, object(path)) end
  for _, test in pairs(TESTS) do -- any order: all of them are built
    for _, name in ipairs(test.sources) do
      local path = "tests/ecs/" .. name
      commands[#commands + 1] = ("gcc %s -c %s -o %s"):format(FLAGS, path, object(path))
    end
  end
  return run_all(commands)
end

local passed, failed = 0, 0
local function judge(ok, ...)
  if ok then passed = passed + 1 else failed = failed + 1 end
  print(string.format(...))
end

local function result_of(base)
  local rc, seconds = read(base .. ".rc"):match("(%d+) ([%d.]+)")
  return tonumber(rc), tonumber(seconds)
end

local function judge_mutant(entry, base)
  local rc, seconds = result_of(base)
  local what = ("%s: %s"):format(entry[1], entry[4])
  if rc == 0 then return judge(false, "SURVIVED %s", what) end
  if rc == 99 then return judge(false, "does not compile: %s\n%s", what, read(base .. ".log")) end
  local how = rc == 124 and "no end" or read(base .. ".log"):match("operation (%d+, .*)$") or "exit code " .. rc
  judge(true, "caught %s (%.1f s, operation %s)", what, seconds, (how:gsub("\n.*", "")))
end

-- The unmutated core must pass with the same settings, or a failure would say nothing.
local function judge_unmutated()
  local commands, names = {}, {}
  for name in pairs(TESTS) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    local base = ("%s/unmutated_%s"):format(OUT, name)
    commands[i] = job(base, TESTS[name], link(TESTS[name], base))
  end
  run_all(commands)
  for _, name in ipairs(names) do
    local base = ("%s/unmutated_%s"):format(OUT, name)
    local rc, seconds = result_of(base)
    judge(rc == 0, "unmutated: %s %s (%.1f s)", name, rc == 0 and "passes" or "FAILS", seconds)
    if rc ~= 0 then print(read(base .. ".log")) end
  end
end

local function main(only)
  run("rm -rf " .. OUT)
  assert(run("mkdir -p " .. OUT))
  assert(build_unmutated(), "the core or a test does not compile")
  judge_unmutated()
  local commands, bases = {}, {}
  for i, entry in ipairs(MUTANTS) do
    local path, base = "ecs/" .. entry[1], ("%s/mutant%d"):format(OUT, i)
    local text, times = mutate(read(path), entry[2], entry[3])
    if not only or only == entry[1] then
      if text then
        write(base .. path:match("%.[ch]$"), text)
        local test = TESTS[entry.test or "model"]
        commands[#commands + 1], bases[i] = job(base, test, build(test, base, path)), base
      else
        judge(false, "stale %s: %s: %q is there %s", entry[1], entry[4], entry[2], times == 0 and "no more" or "more than once")
      end
    end
  end
  run_all(commands)
  for i, entry in ipairs(MUTANTS) do
    if bases[i] then judge_mutant(entry, bases[i]) end
  end
  print(("%d passed, %d failed"):format(passed, failed))
  return failed == 0
end

os.exit(main(arg[1]) and 0 or 1)
