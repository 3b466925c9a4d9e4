/* A group of readers of a stream, without a core or a log: against a plain list of what is pending,
 * over long random courses; what is written down of it, read again after every write; and records
 * that are cut, changed or made up. */
#include "core/assert.h"
#include "core/prng.h"
#include "net/group/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    IDS = 1500, /* Entries of the stream: as many can be pending. */
    READERS = 4,
    RECORDS_MAX = 4096,
};

/* What is pending, as one would write it down. */
struct model {
    bool pending[IDS];
    uint32_t reader[IDS], deliveries[IDS];
    uint64_t delivered_ms[IDS];
};

/* The newest record of every item, as a log has it. */
struct stored {
    enum group_item_kind kind;
    uint32_t number;
    struct bytes value;
};

struct world {
    struct stream_group group;
    struct group_memory memory;
    struct model model;
    struct stored stored[RECORDS_MAX];
    uint32_t stored_count;
    struct prng prng;
    uint64_t now_ms;
};

static struct stream_id id_of(uint32_t i)
{
    return (struct stream_id){i / 7 + 1, i % 7}; /* Several of one millisecond. */
}

static struct bytes name_of(uint32_t reader)
{
    static const char *const names[READERS] = {"carol", "alice", "bob", "bobby"};
    return bytes_text(names[reader]);
}

static void world_open(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->memory.max_bytes = MIB(64);
    stream_init(&world->group, &world->memory);
    prng_seed_one(&world->prng, seed);
    world->now_ms = 1000;
}

static void world_close(struct world *world)
{
    stream_deinit(&world->group);
    assert_int_equal(world->memory.used_bytes, 0);
    for (uint32_t i = 0; i < world->stored_count; i++) {
        free((void *)(uintptr_t)world->stored[i].value.data);
    }
}

static struct stream_reader *reader_of(struct world *world, uint32_t reader)
{
    struct stream_reader *found = stream_reader_find(&world->group, name_of(reader));
    return found != NULL ? found : stream_reader_add(&world->group, name_of(reader), world->now_ms);
}

/* --- A log. --- */

static void store(struct world *world, struct group_item *item)
{
    struct stored *at = world->stored;
    uint32_t number = item->kind == GROUP_ITEM_STREAM ? 0 : stream_item_number(item);
    while (at < world->stored + world->stored_count &&
           (at->kind != item->kind || at->number != number)) {
        at++;
    }
    if (at == world->stored + world->stored_count) {
        assert_true(world->stored_count < RECORDS_MAX);
        *at = (struct stored){.kind = item->kind, .number = number};
        world->stored_count++;
    }
    free((void *)(uintptr_t)at->value.data);
    uint32_t size = stream_value_size(item);
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    struct bytes_writer writer = bytes_writer(data, size);
    if (size > 0) {
        stream_value_encode(item, &writer);
    }
    assert_true(!writer.failed && writer.position == size);
    at->value = bytes_of(data, size);
}

/* All that is dirty goes out, as the engine does it. */
static void write_down(struct world *world)
{
    struct stream_group *group = &world->group;
    store(world, &group->item);
    while (!list_empty(&group->dirty)) {
        struct group_item *item = CONTAINER_OF(group->dirty.next, struct group_item, node);
        store(world, item);
        list_remove(&item->node);
        item->dirty = false;
        group->dirty_count--;
        if (item->deleted) {
            stream_part_free(item);
        }
    }
    assert_int_equal(group->dirty_count, 0);
}

static void load_all(const struct world *world, struct stream_group *group, bool backwards)
{
    for (uint32_t i = 0; i < world->stored_count; i++) {
        const struct stored *at = &world->stored[backwards ? world->stored_count - 1 - i : i];
        bool sound;
        (void)stream_load(group, at->kind, at->number, at->value, &sound);
        assert_true(sound);
    }
    assert_true(stream_loaded(group));
}

/* --- What always holds. --- */

static void check(const struct stream_group *group, const struct model *model)
{
    struct pending_place place = {0, 0};
    uint32_t counted[READERS] = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < IDS; i++) {
        if (!model->pending[i]) {
            assert_null(pending_find(group, id_of(i)));
            continue;
        }
        const struct stream_entry *entry = pending_at(group, place);
        assert_non_null(entry);
        assert_int_equal(stream_id_compare(entry->id, id_of(i)), 0);
        assert_true(bytes_equal(entry->reader->name, name_of(model->reader[i])));
        assert_int_equal(entry->deliveries, model->deliveries[i]);
        assert_int_equal(entry->delivered_ms, model->delivered_ms[i]);
        counted[model->reader[i]]++;
        count++;
        pending_step(group, &place);
    }
    assert_null(pending_at(group, place));
    assert_int_equal(group->pending, count);
    for (uint32_t i = 0; i < READERS; i++) {
        const struct stream_reader *reader = stream_reader_find(group, name_of(i));
        assert_int_equal(reader == NULL ? 0 : reader->pending, counted[i]);
    }
    for (uint32_t i = 0; i < group->chunk_count; i++) {
        assert_in_range(group->chunks[i]->count, 1, STREAM_CHUNK_ENTRIES);
    }
}

static void check_loaded(const struct world *world, bool backwards)
{
    struct stream_group group = {0};
    struct group_memory memory = {.max_bytes = MIB(64)};
    stream_init(&group, &memory);
    load_all(world, &group, backwards);
    check(&group, &world->model);
    assert_int_equal(stream_id_compare(group.last, world->group.last), 0);
    assert_int_equal(group.entries_read, world->group.entries_read);
    assert_int_equal(group.reader_count, world->group.reader_count);
    assert_true(group.chunk_next <= world->group.chunk_next);
    stream_deinit(&group);
    assert_int_equal(memory.used_bytes, 0);
}

/* --- Courses. --- */

static void deliver(struct world *world, uint32_t i, uint32_t reader, uint32_t deliveries)
{
    struct model *model = &world->model;
    struct stream_reader *who = reader_of(world, reader);
    assert_non_null(who);
    assert_true(pending_put(&world->group, who, id_of(i), world->now_ms, deliveries));
    model->deliveries[i] =
        deliveries > 0 ? deliveries : (model->pending[i] ? model->deliveries[i] : 0) + 1;
    model->pending[i] = true;
    model->reader[i] = reader;
    model->delivered_ms[i] = world->now_ms;
}

static void drop_reader(struct world *world, uint32_t reader)
{
    struct stream_reader *who = stream_reader_find(&world->group, name_of(reader));
    while (who != NULL && !stream_reader_drop(who)) {
        write_down(world); /* A part of it: the rest goes behind that. */
    }
    for (uint32_t i = 0; who != NULL && i < IDS; i++) {
        if (world->model.reader[i] == reader) {
            world->model.pending[i] = false;
        }
    }
}

static void step(struct world *world)
{
    uint32_t what = (uint32_t)prng_below(&world->prng, 100);
    uint32_t from = (uint32_t)prng_below(&world->prng, IDS);
    uint32_t count = (uint32_t)prng_below(&world->prng, 40) + 1;
    uint32_t reader = (uint32_t)prng_below(&world->prng, READERS);
    world->now_ms += prng_below(&world->prng, 3000);
    for (uint32_t i = from; i < IDS && i < from + count && what < 96; i++) {
        if (what < 45) {
            deliver(world, i, reader, what < 40 ? 1 : 0);
        } else if (prng_below(&world->prng, 4) > 0) {
            assert_int_equal(pending_drop(&world->group, id_of(i)), world->model.pending[i]);
            world->model.pending[i] = false;
        }
    }
    if (what >= 96) {
        drop_reader(world, reader);
    } else if (what < 45) {
        world->group.last = id_of(from);
        world->group.entries_read = from;
    }
}

static void random_courses(void **state)
{
    (void)state;
    static struct world world;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        world_open(&world, seed);
        for (uint32_t i = 0; i < 400; i++) {
            step(&world);
            if (i % 16 == 0 || stream_is_full(&world.group)) {
                check(&world.group, &world.model);
                write_down(&world);
            }
            if (i % 100 == 0) {
                write_down(&world);
                check_loaded(&world, false);
                check_loaded(&world, true);
            }
        }
        write_down(&world);
        check_loaded(&world, false);
        world_close(&world);
    }
}

/* A read of many entries that follow each other costs about two bytes for each. */
static void delivered_runs_are_compact(void **state)
{
    (void)state;
    static struct world world;
    world_open(&world, 1);
    for (uint32_t i = 0; i < 1024; i++) {
        deliver(&world, i, 0, 1);
    }
    assert_int_equal(world.group.chunk_count, 1024 / STREAM_CHUNK_ENTRIES);
    write_down(&world);
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < world.stored_count; i++) {
        bytes += world.stored[i].kind == GROUP_ITEM_CHUNK ? world.stored[i].value.size : 0;
    }
    assert_in_range(bytes, 1024, 1024 * 5 / 2);
    world_close(&world);
}

static void names_are_in_order_and_found(void **state)
{
    (void)state;
    static struct world world;
    world_open(&world, 1);
    for (uint32_t i = 0; i < READERS; i++) {
        assert_non_null(stream_reader_add(&world.group, name_of(i), 1));
    }
    assert_true(bytes_equal(world.group.readers[0]->name, bytes_text("alice")));
    assert_true(bytes_equal(world.group.readers[1]->name, bytes_text("bob")));
    assert_true(bytes_equal(world.group.readers[2]->name, bytes_text("bobby")));
    assert_null(stream_reader_find(&world.group, bytes_text("bo")));
    assert_null(stream_reader_find(&world.group, bytes_text("zoe")));
    world_close(&world);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    static struct world world;
    world_open(&world, 1);
    for (uint32_t i = 0; i < 200; i++) {
        deliver(&world, i, 0, 1);
    }
    struct stream_reader *reader = reader_of(&world, 0);
    world.memory.max_bytes = world.memory.used_bytes;
    uint32_t refused = 0;
    for (uint32_t i = 200; i < 400; i++) {
        if (pending_put(&world.group, reader, id_of(i), world.now_ms, 1)) {
            world.model.pending[i] = true;
            world.model.reader[i] = 0;
            world.model.deliveries[i] = 1;
            world.model.delivered_ms[i] = world.now_ms;
        } else {
            refused++;
        }
    }
    assert_true(refused > 0);
    assert_null(stream_reader_add(&world.group, bytes_text("more"), 1));
    check(&world.group, &world.model);
    world_close(&world);
}

/* --- Records that are not ours. --- */

static bool loads(enum group_item_kind kind, struct bytes value)
{
    struct stream_group group = {0};
    struct group_memory memory = {.max_bytes = MIB(1)};
    uint8_t *copy = malloc(value.size + (value.size == 0)); /* Of exact size, for ASan. */
    bool sound;
    assert_non_null(copy);
    if (value.size > 0) {
        memcpy(copy, value.data, value.size);
    }
    stream_init(&group, &memory);
    (void)stream_load(&group, kind, 1, bytes_of(copy, value.size), &sound);
    if (stream_loaded(&group)) {
        assert_true(sound);
    }
    stream_deinit(&group);
    assert_int_equal(memory.used_bytes, 0);
    free(copy);
    return sound;
}

static void cut_and_changed_records_are_refused(void **state)
{
    (void)state;
    static struct world world;
    world_open(&world, 7);
    for (uint32_t i = 0; i < 30; i++) {
        deliver(&world, i, i % 3, 1);
    }
    write_down(&world);
    for (uint32_t i = 0; i < world.stored_count; i++) {
        struct stored *at = &world.stored[i];
        assert_true(loads(at->kind, at->value));
        for (uint32_t size = 1; size < at->value.size; size++) {
            assert_false(loads(at->kind, bytes_of(at->value.data, size)));
        }
        uint8_t *data = (uint8_t *)(uintptr_t)at->value.data;
        data[0]++; /* The version. */
        assert_false(loads(at->kind, at->value));
        data[0]--;
        for (uint32_t bit = 0; bit < at->value.size * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1U << bit % 8);
            (void)loads(at->kind, at->value); /* To an end, without touching what is not its. */
            data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
    world_close(&world);
}

static void made_up_records_are_refused(void **state)
{
    (void)state;
    static const uint8_t none[] = {1, 0};
    static const uint8_t many[] = {1, 0xff, 0xff, 0xff, 0xff, 0x0f};
    static const uint8_t empty_run[] = {1, 1, 0, 0, 0, 1};
    static const uint8_t long_run[] = {1, 1, 2, 0, 0, 1, 2, 0, 2, 2};
    static const uint8_t falling[] = {1, 2, 2, 0, 0, 1, 4, 0, 1, 0};
    static const uint8_t twice[] = {1, 2, 2, 0, 0, 1, 4, 0, 0, 0};
    static const uint8_t rising[] = {1, 2, 2, 0, 0, 1, 4, 0, 0, 2};
    static const uint8_t nameless[22] = {1};
    assert_false(loads(GROUP_ITEM_CHUNK, bytes_of(none, sizeof(none))));
    assert_false(loads(GROUP_ITEM_CHUNK, bytes_of(many, sizeof(many))));
    assert_false(loads(GROUP_ITEM_CHUNK, bytes_of(empty_run, sizeof(empty_run))));
    assert_false(loads(GROUP_ITEM_CHUNK, bytes_of(long_run, sizeof(long_run))));
    assert_false(loads(GROUP_ITEM_CHUNK, bytes_of(falling, sizeof(falling))));
    assert_false(loads(GROUP_ITEM_CHUNK, bytes_of(twice, sizeof(twice))));
    assert_true(loads(GROUP_ITEM_CHUNK, bytes_of(rising, sizeof(rising))));
    assert_false(loads(GROUP_ITEM_READER, bytes_of(nameless, 21)));
    assert_false(loads(GROUP_ITEM_READER, bytes_of(nameless, sizeof(nameless))));
}

/* A chunk whose reader has no record, or a group without its own: that is no moment of a group. */
static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static struct world world;
    world_open(&world, 7);
    deliver(&world, 3, 1, 1);
    write_down(&world);
    for (uint32_t left_out = 0; left_out < world.stored_count; left_out++) {
        struct stream_group group = {0};
        stream_init(&group, &world.memory);
        for (uint32_t i = 0; i < world.stored_count; i++) {
            bool sound = true;
            if (i != left_out) {
                (void)stream_load(&group, world.stored[i].kind, world.stored[i].number,
                                  world.stored[i].value, &sound);
            }
            assert_true(sound);
        }
        assert_int_equal(stream_loaded(&group), world.stored[left_out].kind == GROUP_ITEM_CHUNK);
        stream_deinit(&group);
    }
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_courses),
        cmocka_unit_test(delivered_runs_are_compact),
        cmocka_unit_test(names_are_in_order_and_found),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test(cut_and_changed_records_are_refused),
        cmocka_unit_test(made_up_records_are_refused),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
