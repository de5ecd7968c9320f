#include "model.h"

#include <math.h>
#include <string.h>

#include "model_schema.h"

#define SLOT_STEP 4294967296.0 /* 2^32: one generation */

void model_reset(model_t *m) {
    memset(m, 0, sizeof *m);
    m->tick = 1;
}

/* ---- ids ------------------------------------------------------------------------------------ */

model_entity_t *model_find(model_t *m, ecs_id_t id) {
    double slot = fmod(id, SLOT_STEP);
    if (!(slot >= 0 && slot < m->slot_count)) { return NULL; } /* NaN and infinity too */
    model_entity_t *e = &m->entity[(uint32_t)slot];
    return e->id == id && e->state != MODEL_FREE ? e : NULL;
}

bool model_alive(model_t *m, ecs_id_t id) {
    const model_entity_t *e = model_find(m, id);
    return e != NULL && e->state == MODEL_ALIVE;
}

static uint32_t slot_of(const model_t *m, const model_entity_t *e) {
    return (uint32_t)(e - m->entity);
}

ecs_id_t model_reserve(model_t *m) {
    uint32_t slot = 0;
    if (m->free_count > 0) {
        slot = m->free_slot[0];
        m->free_count--;
        memmove(m->free_slot, m->free_slot + 1, m->free_count * sizeof m->free_slot[0]);
    } else {
        slot = m->slot_count++;
        m->entity[slot].id = SLOT_STEP + slot;
    }
    m->entity[slot].state = MODEL_RESERVED;
    return m->entity[slot].id;
}

void model_release(model_t *m, model_entity_t *e) {
    *e = (model_entity_t){.id = e->id + SLOT_STEP, .state = MODEL_FREE};
    m->free_slot[m->free_count++] = slot_of(m, e);
}

/* ---- recording ------------------------------------------------------------------------------ */

void model_begin(model_t *m, uint64_t owner) {
    m->batch[m->batch_count] = (model_batch_t){owner, m->command_count, 0};
    m->open = true;
    m->flags = m->place = 0;
    m->batches_begun++;
}

model_command_t *model_record(model_t *m, uint32_t op, ecs_id_t id, uint32_t component) {
    model_command_t *c = &m->command[m->command_count++];
    memset(c, 0, sizeof *c);
    c->op = op;
    c->flags = m->flags;
    c->place = m->place;
    c->id = id;
    c->component = component;
    return c;
}

static bool spawns(const model_command_t *c) {
    return c->op == ECS_OP_SPAWN || (c->op == ECS_OP_SPAWN_MANY && c->id != 0);
}

void model_forget(model_t *m, uint32_t at) {
    for (uint32_t i = at; i < m->command_count; i++) {
        if (spawns(&m->command[i])) { model_release(m, model_find(m, m->command[i].id)); }
    }
    m->command_count = at;
}

bool model_seal(model_t *m) {
    bool any = m->open && m->command_count > m->batch[m->batch_count].first;
    if (any) { m->batch[m->batch_count++].end = m->command_count; }
    m->open = false;
    return any;
}

/* ---- values --------------------------------------------------------------------------------- */

static char *value_at(model_entity_t *e, uint32_t component) {
    return e->value + MODEL_COMPONENT[component].value_at;
}

char *model_value(model_t *m, ecs_id_t id, uint32_t component) {
    model_entity_t *e = model_find(m, id);
    bool there = e != NULL && e->state == MODEL_ALIVE && (e->set >> component & 1u) != 0;
    return there && MODEL_COMPONENT[component].size_bytes > 0 ? value_at(e, component) : NULL;
}

static void add_integer(char *to, const char *by, size_t bytes) {
    uint32_t a = 0, b = 0;
    memcpy(&a, to, bytes);
    memcpy(&b, by, bytes);
    a += b; /* wraps; little endian */
    memcpy(to, &a, bytes);
}

static void add(const model_field_t *field, char *to, const char *by) {
    size_t step = field->size_bytes / field->count;
    for (uint32_t i = 0; i < field->count; i++, to += step, by += step) {
        if (field->type == ECS_TYPE_F64) {
            double a = 0, b = 0;
            memcpy(&a, to, sizeof a);
            memcpy(&b, by, sizeof b);
            a += b;
            memcpy(to, &a, sizeof a);
        } else if (field->type == ECS_TYPE_F32) {
            float a = 0, b = 0;
            memcpy(&a, to, sizeof a);
            memcpy(&b, by, sizeof b);
            a += b;
            memcpy(to, &a, sizeof a);
        } else if (field->type >= ECS_TYPE_I8 && field->type <= ECS_TYPE_U32) {
            add_integer(to, by, step);
        }
    }
}

/* ---- whose a write was ----------------------------------------------------------------------- */

static void note_write(model_t *m, model_entity_t *e, uint32_t component,
                       const ecs_stamp_t *stamp) {
    e->newest[component] = *stamp;
    if (m->write_count >= m->write_lost + MODEL_WRITES) {
        m->write_lost = m->write_count + 1 - MODEL_WRITES;
    }
    m->write[m->write_count++ % MODEL_WRITES] = (model_write_t){*stamp, component};
}

void model_wrote(model_t *m, ecs_id_t id, uint32_t component) {
    model_entity_t *e = model_find(m, id);
    ecs_stamp_t stamp = {.changed = m->tick, .owner = m->writer};
    note_write(m, e, component, &stamp);
    m->changed[model_shape(e->set)][component] = m->tick;
}

bool model_knows_write(const model_t *m, uint32_t component, const ecs_stamp_t *stamp,
                       bool *alone) {
    uint32_t same = 0, all = 0;
    for (uint64_t i = m->write_count; i > m->write_lost; i--) {
        const model_write_t *write = &m->write[(i - 1) % MODEL_WRITES];
        if (write->stamp.changed < stamp->changed) { break; }
        if (write->stamp.changed > stamp->changed || write->component != component) { continue; }
        all++;
        same += write->stamp.owner == stamp->owner && write->stamp.place == stamp->place;
    }
    bool lost = m->write_count == m->write_lost ||
                m->write[m->write_lost % MODEL_WRITES].stamp.changed >= stamp->changed;
    *alone = all == 1 && !lost;
    return same > 0 || (lost && m->write_lost > 0);
}

static void write_fields(model_entity_t *e, const model_command_t *c) {
    const model_component_t *component = &MODEL_COMPONENT[c->component];
    char *to = value_at(e, c->component);
    if (c->op == ECS_OP_INSERT) { memcpy(to, c->value, component->size_bytes); }
    for (uint32_t i = 0; c->op != ECS_OP_INSERT && i < component->field_count; i++) {
        const model_field_t *field = &component->field[i];
        if ((c->mask >> i & 1u) == 0) { continue; }
        if (c->op == ECS_OP_SET) {
            memcpy(to + field->offset_bytes, c->value + field->offset_bytes, field->size_bytes);
        } else {
            add(field, to + field->offset_bytes, c->value + field->offset_bytes);
        }
    }
    bool known = false;
    for (uint32_t i = 0; i < e->written_count; i++) {
        known = known || e->written[i] == c->component;
    }
    if (!known) { e->written[e->written_count++] = c->component; }
}

/* ---- apply: batch after batch, command after command ---------------------------------------- */

static void touch(model_t *m, const model_entity_t *e) {
    uint32_t slot = slot_of(m, e);
    if (m->is_touched[slot]) { return; }
    m->is_touched[slot] = true;
    m->touched[m->touched_count++] = slot;
}

/* Before the batch in hand changes an entity. */
static void save(model_t *m, const model_entity_t *e) {
    for (uint32_t i = 0; i < m->saved_count; i++) {
        if (m->saved[i].slot == slot_of(m, e)) { return; }
    }
    m->saved[m->saved_count++] = (model_saved_t){slot_of(m, e), *e};
}

static int refuse(const model_command_t *c, ecs_batch_result_t *result, int error) {
    result->error = error;
    result->op = c->op;
    result->id = c->id;
    result->component = c->component;
    result->place = c->place;
    return error;
}

/* B5 */
static int dead_target(const model_command_t *c, ecs_batch_result_t *result) {
    if (c->op == ECS_OP_DESPAWN) { return ECS_OK; }
    if (c->op == ECS_OP_EXPECT || (c->flags & ECS_FLAG_STRICT) != 0) {
        return refuse(c, result, ECS_E_DEAD);
    }
    if ((c->flags & ECS_FLAG_SILENT) != 0) { return ECS_OK; }
    if (result->skipped++ == 0) {
        result->skipped_id = c->id;
        result->skipped_op = c->op;
        result->skipped_component = c->component;
        result->skipped_place = c->place;
    }
    return ECS_OK;
}

/* A name is free again after the apply in which its entity went. */
static bool name_taken(const model_t *m, ecs_id_t parent, const char *name) {
    for (uint32_t i = 0; i < m->slot_count; i++) {
        const model_entity_t *e = &m->entity[i];
        if (e->placed && e->parent == parent && strcmp(e->name, name) == 0) { return true; }
    }
    return false;
}

static int spawn(model_t *m, model_entity_t *e, const model_command_t *c,
                 ecs_batch_result_t *result) {
    const model_entity_t *parent = c->parent != 0 ? model_find(m, c->parent) : NULL;
    if (parent != NULL) { touch(m, parent); }
    if (c->parent != 0 && !model_alive(m, c->parent)) { return dead_target(c, result); }
    if (c->name[0] != '\0' && name_taken(m, c->parent, c->name)) {
        return refuse(c, result, ECS_E_EXISTS);
    }
    e->state = MODEL_ALIVE;
    e->parent = c->parent;
    memcpy(e->name, c->name, sizeof e->name);
    e->placed = true;
    e->born = ++m->births;
    return ECS_OK;
}

/* Parents first, siblings in order. */
static void despawn(model_t *m, model_entity_t *e, uint64_t owner) {
    touch(m, e);
    save(m, e);
    e->state = MODEL_DYING;
    e->owner = owner;
    for (uint64_t after = 0;;) {
        model_entity_t *next = NULL;
        for (uint32_t i = 0; i < m->slot_count; i++) {
            model_entity_t *child = &m->entity[i];
            if (child->state == MODEL_ALIVE && child->parent == e->id && child->born > after &&
                (next == NULL || child->born < next->born)) {
                next = child;
            }
        }
        if (next == NULL) { return; }
        after = next->born;
        despawn(m, next, owner);
    }
}

static int expect(model_t *m, model_entity_t *e, const model_command_t *c,
                  ecs_batch_result_t *result) {
    uint32_t slot = slot_of(m, e);
    bool same =
        (e->set >> c->component & 1u) != 0 &&
        memcmp(value_at(e, c->component), c->value, MODEL_COMPONENT[c->component].size_bytes) == 0;
    if (same) { return ECS_OK; }
    bool chained = e->chained[c->component].changed == m->tick;
    bool had = m->was_alive[slot] && !m->is_coming[slot] && (m->was_set[slot] >> c->component & 1u);
    m->by[m->result_count - 1] = chained ? MODEL_BY_COMMAND
                                 : had   ? MODEL_BY_CHUNK
                                         : MODEL_BY_NOBODY;
    if (chained || had) { result->by = (chained ? e->chained : e->newest)[c->component]; }
    return refuse(c, result, ECS_E_EXPECT);
}

/* A write to what is there gives an entity no place in the order of the apply: it neither moves it
 * nor is it seen, unless its changes are observed or the batch has expectations. */
static bool is_plain(const model_t *m, const model_entity_t *e, const model_command_t *c) {
    uint32_t slot = slot_of(m, e);
    bool writes = c->op == ECS_OP_SET || c->op == ECS_OP_ADD || c->op == ECS_OP_INSERT;
    return writes && !m->expects && !m->is_touched[slot] && m->was_alive[slot] &&
           !m->is_coming[slot] && (m->was_set[slot] >> c->component & 1u) != 0 &&
           !m->observed[ECS_EVENT_CHANGED][c->component];
}

/* It comes to life with all its components, and before what other commands do: they see it as if
 * it had been there. */
static int spawn_many(model_t *m, const model_command_t *c, const ecs_batch_result_t *result) {
    model_entity_t *e = model_find(m, c->id);
    if (e == NULL) { return ECS_OK; } /* that of none */
    uint32_t slot = slot_of(m, e);
    save(m, e);
    e->state = MODEL_ALIVE;
    e->set = c->set;
    memcpy(e->value, c->value, sizeof e->value);
    e->owner = result->owner;
    e->arrived = m->tick;
    m->was_alive[slot] = m->is_coming[slot] = true;
    m->was_set[slot] = c->set;
    m->coming[m->coming_count++] = (model_coming_t){slot, c->set, result->owner};
    ecs_stamp_t stamp = {.changed = m->tick, .owner = result->owner, .place = c->place};
    for (uint32_t k = 0; k < MODEL_COMPONENTS; k++) {
        if (c->set >> k & 1u) { note_write(m, e, k, &stamp); }
    }
    return ECS_OK;
}

/* An event concerns nobody: who gets it keeps the place in the order of the apply. */
static int send(model_t *m, const model_command_t *c, ecs_batch_result_t *result) {
    if (c->id != 0 && !model_alive(m, c->id)) { return dead_target(c, result); }
    model_sent_t *sent = &m->sent[m->sent_count++];
    *sent = (model_sent_t){c->id, c->component, c->place, result->owner, ""};
    memcpy(sent->value, c->value, MODEL_STRUCT[c->component].size_bytes);
    return ECS_OK;
}

static int perform(model_t *m, const model_command_t *c, ecs_batch_result_t *result) {
    if (c->op == ECS_OP_SPAWN_MANY) { return spawn_many(m, c, result); }
    if (c->op == ECS_OP_SEND) { return send(m, c, result); }
    model_entity_t *e = model_find(m, c->id);
    uint32_t bit = 1u << c->component;
    bool plain = e != NULL && is_plain(m, e, c);
    if (e != NULL && !plain) { touch(m, e); }
    if (c->op != ECS_OP_SPAWN && (e == NULL || e->state != MODEL_ALIVE)) {
        return dead_target(c, result);
    }
    save(m, e);
    if (c->op == ECS_OP_EXPECT) { return expect(m, e, c, result); }
    if (c->op == ECS_OP_REMOVE && (e->set & bit) == 0) { return ECS_OK; }
    bool part = c->op == ECS_OP_SET || c->op == ECS_OP_ADD;
    if (part && (e->set & bit) == 0) { return refuse(c, result, ECS_E_ABSENT); }
    e->owner = result->owner;
    if (c->op == ECS_OP_SPAWN) { return spawn(m, e, c, result); }
    if (c->op == ECS_OP_DESPAWN) { despawn(m, e, result->owner); }
    if (c->op == ECS_OP_INSERT) { e->set |= bit; }
    if (c->op == ECS_OP_REMOVE) {
        e->set &= ~bit;
        e->lost |= bit & MODEL_SPARSE;
    }
    if (c->op == ECS_OP_DESPAWN) { return ECS_OK; }
    ecs_stamp_t stamp = {.changed = m->tick, .owner = result->owner, .place = c->place};
    if (!plain) { e->chained[c->component] = stamp; }
    if (c->op == ECS_OP_REMOVE) { return ECS_OK; }
    write_fields(e, c);
    note_write(m, e, c->component, &stamp);
    return ECS_OK;
}

/* A spawn of a rejected batch: its id is free at once. */
static void forget(model_t *m, model_entity_t *e) {
    for (uint32_t i = 0; i < m->touched_count; i++) {
        if (m->touched[i] == slot_of(m, e)) { m->touched[i] = MODEL_NONE; }
    }
    m->is_touched[slot_of(m, e)] = m->is_coming[slot_of(m, e)] = false;
    model_release(m, e);
}

/* B3: nothing of the batch is left, nor do its spawns come to life: bulk spawns are the last whose
 * ids are free. */
static void take_back(model_t *m, const model_batch_t *batch, uint32_t coming, uint64_t writes) {
    for (uint32_t i = 0; i < m->saved_count; i++) {
        m->entity[m->saved[i].slot] = m->saved[i].entity;
    }
    for (uint32_t i = coming; i < m->coming_count; i++) {
        m->was_alive[m->coming[i].slot] = false;
    }
    m->coming_count = coming;
    m->write_count = writes;
    for (uint32_t op = ECS_OP_SPAWN; op <= ECS_OP_SPAWN_MANY; op++) {
        for (uint32_t at = batch->first; at < batch->end; at++) {
            const model_command_t *c = &m->command[at];
            if (c->op == op && spawns(c)) { forget(m, model_find(m, c->id)); }
        }
    }
}

static void run_batch(model_t *m, const model_batch_t *batch) {
    ecs_batch_result_t *result = &m->result[m->result_count++];
    *result = (ecs_batch_result_t){.owner = batch->owner};
    uint32_t coming = m->coming_count, sent = m->sent_count;
    uint64_t writes = m->write_count;
    m->by[m->result_count - 1] = MODEL_BY_NOBODY;
    m->saved_count = 0;
    m->expects = false;
    for (uint32_t i = batch->first; i < batch->end; i++) {
        m->expects = m->expects || m->command[i].op == ECS_OP_EXPECT;
    }
    uint32_t at = batch->first;
    while (at < batch->end && perform(m, &m->command[at], result) == ECS_OK) {
        at++;
    }
    if (result->error == ECS_OK) { return; }
    take_back(m, batch, coming, writes);
    m->sent_count = sent;
}

void model_apply(model_t *m) {
    m->tick++;
    m->touched_count = m->result_count = m->event_count = m->coming_count = 0;
    m->sent_count = 0;
    memset(m->is_touched, 0, sizeof m->is_touched);
    memset(m->is_coming, 0, sizeof m->is_coming);
    for (uint32_t i = 0; i < m->slot_count; i++) {
        m->was_alive[i] = m->entity[i].state == MODEL_ALIVE;
        m->was_set[i] = m->entity[i].set;
        m->entity[i].written_count = 0; /* plain writes have left some */
    }
    for (uint32_t i = 0; i < m->batch_count; i++) {
        run_batch(m, &m->batch[i]);
    }
    model_settle(m);
    m->batch_count = m->command_count = 0;
}
