/* The plan of a new map, of files that need not be there: what a walk found is made up here. How
 * much it does is counted, times never. */
#include "tools/rebuild.h"

#include "shard/journal_view.h"
#include "shard/manifest.h"
#include "tools/adopt.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct rebuild rebuild;
    uint8_t *manifest;
    uint32_t manifest_bytes;
    uint64_t steps;
};

/* --- A directory that has a MANIFEST, and no journal. --- */

static int64_t fixture_size(void *context, const char *name)
{
    const struct fixture *fixture = context;
    return strcmp(name, "MANIFEST") == 0 ? (int64_t)fixture->manifest_bytes : ERR_NOT_FOUND;
}

static int64_t fixture_read(void *context, const char *name, uint64_t position, uint8_t *data,
                            uint32_t size)
{
    const struct fixture *fixture = context;
    if (strcmp(name, "MANIFEST") != 0) {
        return ERR_NOT_FOUND;
    }
    assert_true(position + size <= fixture->manifest_bytes);
    memcpy(data, fixture->manifest + position, size);
    return size;
}

static void fixture_setup(struct fixture *fixture, const struct manifest *manifest)
{
    const struct journal_view_io io = {
        .context = fixture, .size = fixture_size, .read = fixture_read};
    memset(fixture, 0, sizeof(*fixture));
    fixture->manifest_bytes = manifest_size(manifest);
    fixture->manifest = malloc(fixture->manifest_bytes);
    assert_non_null(fixture->manifest);
    manifest_encode(manifest, fixture->manifest);
    fixture->rebuild.steps = &fixture->steps;
    (void)snprintf(fixture->rebuild.list.data_dir, LOG_PATH_BYTES, "rebuild-test-is-not-there");
    assert_int_equal(journal_view_open(&fixture->rebuild.list.journals, &io), OK);
}

static void fixture_teardown(struct fixture *fixture)
{
    rebuild_free(&fixture->rebuild);
    free(fixture->manifest);
}

/* --- Its files. --- */

static struct topic_id topic_of(uint32_t number)
{
    struct topic_id id = {{0}};
    id.bytes[0] = 1;
    for (uint32_t i = 0; i < 4; i++) {
        id.bytes[12 + i] = (uint8_t)(number >> (24 - 8 * i));
    }
    return id;
}

struct file_spec {
    uint32_t topic, partition, epoch;
    const char *name;
    uint64_t id, base, end;
    bool sealed;
};

/* They come in order of topic, partition, offset and epoch, as log_files_walk_all() leaves them. */
static void add_file(struct fixture *fixture, const struct file_spec *spec)
{
    struct log_files *list = &fixture->rebuild.list;
    char path[256], topic[TOPIC_ID_TEXT_BYTES];
    if (list->count == list->room) {
        list->room = list->room == 0 ? 16 : list->room * 2;
        list->files = realloc(list->files, list->room * sizeof(*list->files));
        assert_non_null(list->files);
    }
    struct topic_id id = topic_of(spec->topic);
    (void)snprintf(path, sizeof(path), "x/topics/%s/%u/%016" PRIx64 ".seg",
                   topic_id_text(&id, topic), spec->partition, spec->id);
    struct log_file *file = &list->files[list->count++];
    *file = (struct log_file){
        .path = strdup(path),
        .header = {.segment_id = spec->id,
                   .topic = id,
                   .partition = spec->partition,
                   .epoch = spec->epoch,
                   .base_offset = spec->base,
                   .created_ms = 1000 + spec->id},
        .sealed = spec->sealed,
        .seal = {.segment_id = spec->id, .end_offset = spec->end},
        .offset_end = spec->end,
        .records = spec->end - spec->base,
        .producer_max = -1,
    };
    assert_non_null(file->path);
    (void)snprintf(file->header.name, sizeof(file->header.name), "%s", spec->name);
}

/* --- How much it does. --- */

/* `topics` topics of one segment each, that begin above 0; the journals tell of all of them, and of
 * as many partitions more that have no file. */
static uint64_t steps_of(uint32_t topics)
{
    struct manifest manifest = {0};
    struct fixture fixture;
    for (uint32_t i = 0; i < 2 * topics; i++) {
        struct segment_record record = {
            .segment_id = i + 1,
            .topic = topic_of(i / 2),
            .partition = i % 2,
            .epoch = 1,
            .state = 1,
            .base_offset = 10,
            .checkpoint_offset = 20,
            .log_start = 5,
        };
        assert_int_equal(manifest_add_record(&manifest, &record), OK);
    }
    fixture_setup(&fixture, &manifest);
    manifest_deinit(&manifest);
    for (uint32_t i = 0; i < topics; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "topic-%u", i * 7919 % topics);
        add_file(&fixture, &(struct file_spec){.topic = i,
                                               .name = name,
                                               .epoch = 1,
                                               .id = 2 * (uint64_t)i + 1,
                                               .base = 10,
                                               .end = 20});
    }
    struct rebuild *rebuild = &fixture.rebuild;
    assert_int_equal(rebuild_plan(rebuild), OK);
    assert_int_equal(rebuild->topic_count, topics);
    assert_int_equal(rebuild->told_count, 2 * topics);
    assert_int_equal(rebuild->missing_count, topics);
    assert_int_equal(rebuild->survey.partition_count, 2 * topics);
    for (uint32_t i = 0; i < topics; i++) { /* What is said of each, and proposed. */
        bool differs;
        struct topic_id id = topic_of(i);
        (void)adoption_durability(&rebuild->survey, &id, &differs);
        assert_true(rebuild->partitions[i].headless);
    }
    fixture_teardown(&fixture);
    return fixture.steps;
}

static void what_it_does_grows_with_the_topics_and_not_with_their_square(void **state)
{
    (void)state;
    uint64_t few = steps_of(500), many = steps_of(4000);
    print_message("500 topics: %" PRIu64 " steps, 4000 topics: %" PRIu64 "\n", few, many);
    assert_in_range(few, 500, 500 * 150);
    assert_in_range(many, 4000, 8 * few * 2); /* The square would be 64 times. */
}

/* --- Of two topics of one name. --- */

static void of_topics_with_one_name_the_one_written_last_has_it(void **state)
{
    (void)state;
    struct manifest none = {0};
    struct fixture fixture;
    fixture_setup(&fixture, &none);
    static const char *const names[] = {"b", "a", "c", "a", "a"};
    static const uint64_t ids[] = {1, 7, 2, 9, 8};
    for (uint32_t i = 0; i < 5; i++) {
        add_file(&fixture, &(struct file_spec){
                               .topic = i, .name = names[i], .epoch = 1, .id = ids[i], .end = 3});
    }
    assert_int_equal(rebuild_plan(&fixture.rebuild), OK);
    for (uint32_t i = 0; i < 5; i++) {
        const struct rebuild_partition *partition = &fixture.rebuild.partitions[i];
        assert_int_equal(partition->loss, names[i][0] == 'a');
        assert_int_equal(partition->left_out, names[i][0] == 'a' && ids[i] != 9);
    }
    fixture_teardown(&fixture);
}

/* --- Of two segments of one base. --- */

/* The full one first; `second` is what stands behind it. The chain must have the full one. */
static void check_full_one_wins(const struct file_spec *first, const struct file_spec *second)
{
    struct manifest none = {0};
    struct fixture fixture;
    fixture_setup(&fixture, &none);
    add_file(&fixture, first);
    add_file(&fixture, second);
    assert_int_equal(rebuild_plan(&fixture.rebuild), OK);
    const struct rebuild *rebuild = &fixture.rebuild;
    bool first_full = first->end > first->base;
    assert_false(rebuild->files[first_full ? 0 : 1].left_out);
    assert_int_equal(rebuild->survey.partition_count, 1);
    const struct survey_partition *chain = &rebuild->survey.partitions[0];
    assert_int_equal(chain->segment_count, 1);
    assert_int_equal(chain->segments[0].info.id, first_full ? first->id : second->id);
    assert_true(chain->epoch > max_u32(first->epoch, second->epoch));
    const struct segment_info *info = &chain->segments[0].info;
    assert_true(info->state == SEGMENT_OPEN || info->end_offset == 10);
    fixture_teardown(&fixture);
}

static void an_empty_segment_never_wins_over_one_that_has_records(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) { /* Sealed or not, both of them. */
        struct file_spec full = {.name = "t", .id = 1, .end = 10, .sealed = i % 2 != 0};
        struct file_spec empty = {.name = "t", .id = 2, .sealed = i / 2 != 0};
        full.epoch = 1;
        empty.epoch = 2;
        check_full_one_wins(&full, &empty);
        full.epoch = 2;
        empty.epoch = 1;
        check_full_one_wins(&empty, &full);
        full.epoch = 1; /* Somewhere inside. */
        empty.epoch = 2;
        empty.base = 4;
        empty.end = 4;
        check_full_one_wins(&full, &empty);
    }
}

static void an_empty_segment_behind_the_records_stays(void **state)
{
    (void)state;
    struct manifest none = {0};
    struct fixture fixture;
    fixture_setup(&fixture, &none);
    add_file(&fixture, &(struct file_spec){.name = "t", .id = 1, .epoch = 1, .end = 10});
    add_file(&fixture,
             &(struct file_spec){.name = "t", .id = 2, .epoch = 2, .base = 10, .end = 10});
    assert_int_equal(rebuild_plan(&fixture.rebuild), OK);
    assert_null(fixture.rebuild.partitions[0].finding);
    assert_int_equal(fixture.rebuild.survey.partitions[0].segments[0].info.end_offset, 10);
    assert_int_equal(fixture.rebuild.survey.partitions[0].segment_count, 2);
    fixture_teardown(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_does_grows_with_the_topics_and_not_with_their_square),
        cmocka_unit_test(of_topics_with_one_name_the_one_written_last_has_it),
        cmocka_unit_test(an_empty_segment_never_wins_over_one_that_has_records),
        cmocka_unit_test(an_empty_segment_behind_the_records_stays),
    };
    return cmocka_run_group_tests_name("tools/rebuild", tests, NULL, NULL);
}
