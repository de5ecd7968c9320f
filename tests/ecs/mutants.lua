-- Proof that the tests of the core are tests: each mutant below is the core with one mistake, and a
-- test must fail with it. usage: luajit tests/ecs/mutants.lua [FILE]: all, or those of one file.
--
-- An entry is { file, original, mutated, what it breaks, test = name in TESTS or nil for the first }.
-- The original text occurs exactly once in the file; when it no longer does, the entry is stale and
-- fails: give it the text that took its place. C files only.
local TESTS = {
  model = {
    sources = { "test_model.c", "operations.c", "operations_read.c", "misuse.c", "session.c", "model.c", "model_read.c" },
    arguments = "--seed 1 --seeds 40 --operations 6000",
  },
  apply = { sources = { "test_apply.c" }, arguments = "" },
}
local FLAGS = "-std=gnu11 -O1 -w -D_GNU_SOURCE -Iecs"
local JOBS, LIMIT_S, OUT = 2, 20, "build/mutants"

local MUTANTS = {
  { "apply.c", "if (stream->open) {", "if (false) {", "an open batch is not applied" },
  -- ---- apply: who is concerned ----------------------------------------------------------------
  { "apply.c", ".exists = ecs__record_alive(record)}", ".exists = true}", "a reserved id is no target" },
  { "apply.c", "ecs__cmd_at(pass->stream, entry->last)->next = pos;", "entry->first = pos;", "all commands of a chain count" },
  { "apply.c", "entry->last = pos;\n    entry->owner = pass->owner;", "entry->last = pos;", "events name who changed" },
  { "apply.c", "batch->owner, NAN, 0}", "batch->owner, 0, 0}", "id 0 is no entity" },
  { "apply.c", "if (stream->batches[middle].end > pos) {", "if (stream->batches[middle].end >= pos) {", "owner after a rejected batch" },
  -- ---- apply: despawning trees ----------------------------------------------------------------
  { "apply.c", "if (node->next != 0) { return node->next; }", "if (node->next != 0) { return 0; }", "despawn takes all children" },
  { "apply.c", "entry->dead_at = pos;", "entry->dead_at = 0;", "a rejected despawn is undone" },
  { "apply.c", "if (entry == NULL || entry->dead_at != pos) { continue; }", "if (entry == NULL) { continue; }", "only its own despawns are undone" },
  { "apply.c", "if (ecs__record_find(world, id) == NULL) { return; }", "", "undoing a despawn of a forged id" },
  -- ---- apply: validate ------------------------------------------------------------------------
  { "apply.c", "if (pass->result->skipped++ == 0) {", "if (pass->result->skipped++ != 0) {", "the first skipped command is told" },
  { "apply.c", "if ((cmd->flags & ECS_FLAG_SILENT) != 0) { return ECS_OK; }", "", "silent commands are not counted" },
  { "apply.c", "if ((cmd->flags & ECS_FLAG_STRICT) != 0) { return refuse", "if (false) { return refuse", "strict commands reject" },
  { "apply.c", "if (above == NULL || !above->exists)", "if (above == NULL)", "no spawn below who is dying" },
  { "apply.c", "if (rc != ECS_OK) { return refuse(pass, cmd, rc); }", "", "a taken name rejects" },
  { "apply.c", "if (!present) { return refuse(pass, cmd, ECS_E_ABSENT); }", "", "set of what is absent rejects" },
  { "apply.c", "if (!present) { return ECS_OK; }", "if (!present) { return refuse(pass, cmd, ECS_E_ABSENT); }", "remove of what is absent is fine" },
  { "apply.c", "if (now != NULL) { memcpy(out, now, size); }", "", "expect compares what is there" },
  { "apply.c", "if (writes(cmd) && cmd->component == component) {", "if (false) {", "expect sees earlier batches" },
  { "apply.c", "pos = pos == entry->last ? 0 : cmd->next;", "pos = 0;", "expect sees all of the chain" },
  -- ---- apply: taking a rejected batch out -----------------------------------------------------
  { "apply.c", "while (pos != 0 && pos < start) {", "while (pos != 0 && pos <= start) {", "the first command of a rejected batch goes" },
  { "apply.c", "entry->after = entry->before;", "", "a rejected insert leaves no component" },
  { "apply.c", "if (cmd->op == ECS_OP_SPAWN) { entry->after = 0; }", "", "a spawn outlives a rejected batch" },
  { "apply.c", "if (cmd->op == ECS_OP_REMOVE) {", "if (cmd->op == ECS_OP_DESPAWN) {", "a remove outlives a rejected batch" },
  { "apply.c", "cut(pass, cmd->id, pass->start);", "", "rejected commands are taken out" },
  { "apply.c", "ecs__node_unlink(world, ecs__index(cmd->id));", "", "a rejected spawn leaves the tree" },
  { "apply.c", "if (cmd->op == ECS_OP_SPAWN) { (void)touch(world, cmd->id); }", "", "ids of a rejected batch come back" },
  -- ---- apply: values --------------------------------------------------------------------------
  { "apply.c", "case ECS_TYPE_U8: ADD_AS(uint8_t); break;", "case ECS_TYPE_U8: ADD_AS(uint16_t); break;", "add carries into no neighbour" },
  { "apply.c", "for (uint32_t i = 0; i < field->count; i++) {\n        add_number", "for (uint32_t i = 0; i < 1; i++) {\n        add_number",
    "add adds whole arrays" },
  { "apply.c", "mask &= mask - 1;", "mask = 0;", "set writes all its fields" },
  { "apply.c", "if (slot == NULL || slot->column == ECS__NONE) { continue; }", "if (slot == NULL || slot->column == ECS__NONE) { break; }",
    "payloads after one that went" },
  { "apply.c", "chunk->changed[slot->column] = world->shared.tick;", "", "watches see what an apply writes" },
  -- ---- apply: moves ---------------------------------------------------------------------------
  { "apply.c", "if (slot->column == ECS__NONE || there == NULL) { continue; }", "if (slot->column == ECS__NONE || there == NULL) { break; }",
    "a move takes all values along" },
  { "apply.c", "ecs__row_remove(world, from, record->row);", "", "a move leaves no row behind" },
  { "apply.c", "record->row = row;", "", "a record knows its row" },
  { "apply.c", "ecs__entity_free(world, ecs__index(entry->id));", "", "ids of despawned entities come back" },
  { "apply.c", "world->shared.tick++;", "", "an apply has a tick" },
  -- ---- apply: events --------------------------------------------------------------------------
  { "apply.c", "if (ecs__slot(old, component) == NULL) {", "if (true) {", "added tells what is new" },
  { "apply.c", "if (ecs__slot(now, component) == NULL) {", "if (true) {", "removed tells what is gone" },
  { "apply.c", "seen[cmd->component / 64] |= 1ull << cmd->component % 64;", "", "changed is told once" },
  { "apply.c", "if (!writes(cmd) || !old || !now ||", "if (!writes(cmd) || !now ||", "what is new did not change" },
  { "apply.c", "if (world->observed_kinds != 0) { raise_events(world, entry, ECS__NONE); }", "", "the dead raise events" },
  -- ---- entity ---------------------------------------------------------------------------------
  { "entity.c", "record->archetype = ECS__RESERVED;", "record->archetype = 0;", "a reserved id is not alive" },
  { "entity.c", "record->generation++;", "", "an id comes back one generation on" },
  { "entity.c", "if (index >= world->slot_count || id != (ecs_id_t)(uint64_t)id) {", "if (index >= world->slot_count) {", "a fraction is no id" },
  { "entity.c", "return used && record->generation == ecs__generation(id) ?", "return used ?", "the generation counts" },
  { "entity.c", "if (world->free_head == ECS__NONE) { world->free_tail = ECS__NONE; }", "", "an empty list of free slots" },
  { "entity.c", "ecs__record_at(world, world->free_tail)->row = index;", "world->free_head = index;", "ids come back first in, first out" },
  { "entity.c", "chunk->changed[slot->column] = world->shared.tick;", "", "watches see what writers write" },
  { "entity.c", "return archetype->slot_count;", "return cap;", "how many components there are" },
  { "entity.c", "if (record->generation == ECS__MAX_GENERATION) {", "if (false) {", "a slot is retired in time", test = "apply" },
  -- ---- hierarchy ------------------------------------------------------------------------------
  { "hierarchy.c", "} else if (entry->parent == parent && strncmp", "} else if (strncmp", "names are those of siblings" },
  { "hierarchy.c", "entry->name[length] == '\\0') {", "true) {", "a name is no prefix" },
  { "hierarchy.c", "strlen(node->name))->index = ECS__NONE;", "strlen(node->name))->index = 0;", "names behind one that went are found" },
  { "hierarchy.c", "if (node->prev != 0) { ecs__node(world, node->prev - 1)->next = node->next; }", "", "siblings close the gap" },
  { "hierarchy.c", "if (above->last == index + 1) { above->last = node->prev; }", "", "the last child goes" },
  { "hierarchy.c", "ecs__node(world, above->last - 1)->next = index + 1;", "node->next = above->first;", "children are in order" },
  { "hierarchy.c", "path = end != NULL ? end + 1 : NULL;", "path = NULL;", "a path has several names" },
  -- ---- archetypes, rows -----------------------------------------------------------------------
  { "archetype.c", "bool same = archetype->slot_count == count;", "bool same = archetype->slot_count >= count;",
    "fewer components are another archetype" },
  { "archetype.c", "if (!placed && component < at) {", "if (!placed && component > at) {", "components are sorted" },
  { "archetype.c", "ecs__query_add_archetype(world->queries[i], made);", "", "queries get new archetypes" },
  { "archetype.c", "chunk->added[i] = world->shared.tick;", "", "watches see what came to a chunk" },
  { "archetype.c", "ecs__record_at(world, ecs__index(moved))->row = row;", "", "the row that fills a gap is known" },
  { "archetype.c", "if (row != last) {", "if (row + 1 < last) {", "the last row but one is filled, too" },
  { "archetype.c", "chunk->added[slot->column] = world->shared.tick;\n            if (last_chunk", "if (chunk != chunk && last_chunk",
    "watches see the row that fills a gap" },
  { "archetype.c", "wide->count = old->count;", "wide->count = old->count - 1;", "a chunk that grows keeps its rows" },
  -- ---- queries --------------------------------------------------------------------------------
  { "query.c", "!has_any(archetype, d->without, d->without_count)", "true", "without" },
  { "query.c", "has_all(archetype, d->with, d->with_count) &&", "", "with" },
  { "query.c", "slot == NULL ? ECS__NONE : slot->column;", "slot == NULL ? ECS__NONE : 0;", "a box is that of its column" },
  { "query.c", "cursor->archetype_at++;\n        cursor->chunk_at = 0;", "cursor->archetype_at++;", "a walk begins at the first chunk" },
  { "query.c", "*box->changed = world->shared.tick;", "", "watches see what cursors write" },
  { "query.c", "return a_count == b_count && memcmp(a, b, a_count * sizeof *a) == 0;", "return a_count == b_count;",
    "another query is not this one" },
  { "query.c", "if (query->desc.write_count > 0 && ecs__guard", "if (query->desc.write_count > 99 && ecs__guard", "writing has its phase" },
  -- ---- recording ------------------------------------------------------------------------------
  { "command.c", "bool here = mark.batch == world->batches_begun && mark.at", "bool here = mark.at", "marks are those of a batch" },
  { "command.c", "if (first > stream_pos(stream)) {", "if (false) {", "marks end", test = "apply" },
  { "command.c", "if (stream->current.reserved > 0) { free_reserved(world, stream, first); }", "", "dropped ids come back" },
  { "command.c", "bool any = stream->open && stream->current.end != stream->current.first;", "bool any = stream->open;",
    "an empty batch leaves no trace" },
  { "command.c", "stream->flags = 0;", "", "flags are those of a batch" },
  { "command.c", "return at_chunk_end ? pos_of((at >> 13) + 1, 0) : batch->first;", "return batch->first;", "a batch may begin in the next chunk" },
  { "command.c", "return at >= stream->chunk_end[chunk] ? pos_of(chunk + 1, 0) : pos_of(chunk, at);", "return pos_of(chunk, at);",
    "a batch goes on in the next chunk" },
  { "command.c", "stream->batch_count = 0;", "", "a batch is applied once" },
  { "command.c", "memset(slot, 0, size);", "", "a set begins with zeros" },
  { "command.c", "if (!(mask >= 0 && mask < (double)end)", "if (!(mask >= 0)", "masks name fields" },
  -- ---- events, watches ------------------------------------------------------------------------
  { "observe.c", "observed |= (uint8_t)(1u << kind);", "observed = (uint8_t)(1u << kind);", "kinds of events add up" },
  { "observe.c", "case ECS_WATCH_ADDED: return now && !before;", "case ECS_WATCH_ADDED: return now;", "rising is an edge" },
  { "observe.c", "case ECS_WATCH_REMOVED: return !now && before;", "case ECS_WATCH_REMOVED: return !now;", "falling is an edge" },
  { "observe.c", "watch->last = now;", "", "an edge is one from the last poll" },
  { "observe.c", "if (field_number(field, value) != d->value[i]) {", "if (i == 0 && field_number(field, value) != d->value[i]) {",
    "all conditions count" },
  { "observe.c", "case ECS_TYPE_I8: NUMBER_AS(int8_t);", "case ECS_TYPE_I8: NUMBER_AS(uint8_t);", "numbers have their sign" },
  { "observe.c", "return chunk->changed[slot->column] > watch->seen_tick ||", "return", "changes since the last poll" },
  { "observe.c", "bool lost = !fired && !ecs_alive(world, watch.desc.id);", "bool lost = false;", "the dead end their watches" },
  { "observe.c", "return (value == NULL) != (watch->copy == NULL); }", "return false; }", "what comes or goes has changed" },
  { "observe.c", "component->fields[d->field[0]].offset_bytes : 0);", "0 : 0);", "the field that is watched" },
  { "observe.c", "if (low == world->watch_count || world->watches[low].id != watch) {", "if (low == world->watch_count) {",
    "an unknown watch is ignored" },
  { "observe.c", "if (kind == ECS_EVENT_DESPAWNED) { return ECS_OK; }", "if (kind != ECS_EVENT_DESPAWNED) { return ECS_OK; }",
    "kinds that name a component" },
  -- ---- hash, phases ---------------------------------------------------------------------------
  { "check.c", "if (node->name != NULL) { hash = mix", "if (false) { hash = mix", "names are part of the hash", test = "apply" },
  { "check.c", "hash = mix(hash, &node->parent, sizeof node->parent);", "", "parents are part of the hash", test = "apply" },
  { "check.c", "hash = mix(hash, name, strlen(name) + 1);", "", "tags are part of the hash", test = "apply" },
  { "check.c", "(size_t)chunk->count * slot->size_bytes);", "slot->size_bytes);", "all values are part of the hash" },
  { "check.c", "if (node->parent == 0 && node->name == NULL) { continue; }", "", "the hash is that of the content", test = "apply" },
  { "world.c", "if (phase == ECS_PHASE_SETUP && world->shared.alive > 0) {", "if (false) {", "setup does not come back" },
  { "world.c", "if ((phases >> world->phase & 1u) == 0) {", "if (world->phase == ECS_PHASE_SETUP) {", "calls have their phases" },
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
  return ("gcc -o %s %s -lpthread -lm"):format(out, table.concat(objects, " "))
end

-- A shell command that leaves exit code and seconds in <base>.rc and what was printed in <base>.log.
-- 99: it was not built.
local function job(base, test, build)
  return ([[%s 2>%s.log || { echo 99 0 >%s.rc; exit 0; }
start=$(date +%%s.%%N)
rc=0; timeout %d %s %s >%s.log 2>&1 || rc=$?
echo $rc $(echo "$(date +%%s.%%N) $start" | awk '{ print $1 - $2 }') >%s.rc]]):format(
    build, base, base, LIMIT_S, base, test.arguments, base, base)
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
        write(base .. ".c", text)
        local test = TESTS[entry.test or "model"]
        local build = ("gcc %s -c %s.c -o %s.o && %s"):format(FLAGS, base, base, link(test, base, path, base .. ".o"))
        commands[#commands + 1], bases[i] = job(base, test, build), base
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
