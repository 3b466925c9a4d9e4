/* What the files of a data directory say without a map: the judge's rules one by one, then a
 * directory that a shard wrote, with files of every kind between its segments. */
#include "core/limits.h"
#include "shard/survey.h"
#include "tests/unit/shard/engine_fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* One segment of the judge's input. */
static void add(struct survey_partition *partition, const struct survey_segment *segment)
{
    partition->segments =
        realloc(partition->segments, (partition->segment_count + 1) * sizeof(*segment));
    assert_non_null(partition->segments);
    partition->segments[partition->segment_count++] = *segment;
    partition->segment_capacity = partition->segment_count;
}

static struct survey_segment sealed(uint64_t id, uint64_t base, uint64_t end)
{
    return (struct survey_segment){
        .info = {.id = id,
                 .epoch = (uint32_t)id,
                 .state = SEGMENT_SEALED,
                 .base_offset = base,
                 .end_offset = end,
                 .digest = 1000 + id},
        .seal_sound = true,
        .digest_known = true,
    };
}

static struct survey_segment unsealed(uint64_t id, uint64_t base, uint64_t previous)
{
    return (struct survey_segment){
        .info = {.id = id, .epoch = (uint32_t)id, .state = SEGMENT_OPEN, .base_offset = base},
        .previous_id = previous,
        .previous_digest = 2000 + previous,
    };
}

static struct survey_partition *judged(struct survey *survey)
{
    struct survey_partition *partition = &survey->partitions[0];
    assert_int_equal(survey_judge(survey, partition), OK);
    return partition;
}

static struct survey_partition *fresh(struct survey *survey)
{
    *survey = (struct survey){.partition_count = 1};
    survey->partitions = calloc(1, sizeof(*survey->partitions));
    assert_non_null(survey->partitions);
    return &survey->partitions[0];
}

static void segments_stand_by_base_and_the_last_stays_open(void **state)
{
    (void)state;
    struct survey survey;
    struct survey_partition *partition = fresh(&survey);
    struct survey_segment rows[] = {unsealed(3, 20, 2), sealed(1, 0, 10), sealed(2, 10, 20)};
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        add(partition, &rows[i]);
    }
    partition = judged(&survey);
    assert_int_equal(partition->segment_count, 3);
    assert_int_equal(partition->segments[0].info.id, 1);
    assert_int_equal(partition->segments[2].info.id, 3);
    assert_int_equal(partition->segments[2].info.state, SEGMENT_OPEN);
    assert_int_equal(partition->epoch, 3);
    assert_int_equal(survey.fault_count, 0);
    survey_free(&survey);
}

static void one_without_a_seal_ends_where_the_next_one_begins(void **state)
{
    (void)state;
    struct survey survey;
    struct survey_partition *partition = fresh(&survey);
    struct survey_segment rows[] = {unsealed(1, 0, 0), unsealed(2, 7, 1), unsealed(3, 9, 8)};
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        add(partition, &rows[i]);
    }
    partition = judged(&survey);
    assert_int_equal(partition->segment_count, 3);
    assert_int_equal(partition->segments[0].info.state, SEGMENT_SEALED);
    assert_int_equal(partition->segments[0].info.end_offset, 7);
    assert_true(partition->segments[0].digest_known);
    assert_int_equal(partition->segments[0].info.digest, 2001);
    assert_int_equal(partition->segments[1].info.end_offset, 9);
    assert_false(partition->segments[1].digest_known); /* The third names another one. */
    assert_int_equal(partition->segments[2].info.state, SEGMENT_OPEN);
    survey_free(&survey);
}

static void an_empty_segment_leaves_its_epoch_and_no_trace_else(void **state)
{
    (void)state;
    struct survey survey;
    struct survey_partition *partition = fresh(&survey);
    struct survey_segment rows[] = {unsealed(1, 0, 0), unsealed(2, 7, 1), unsealed(3, 7, 2),
                                    sealed(9, 8, 8)};
    rows[2].info.state = SEGMENT_SEALED;
    rows[2].info.end_offset = 8;
    rows[1].info.salt = 2002; /* No frame is in them. */
    rows[3].info.salt = rows[3].info.digest;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        add(partition, &rows[i]);
    }
    partition = judged(&survey);
    assert_int_equal(partition->segment_count, 2);
    assert_int_equal(partition->segments[0].info.end_offset, 7);
    assert_int_equal(partition->segments[0].info.digest, 2001);
    assert_int_equal(partition->segments[1].info.id, 3);
    assert_int_equal(partition->epoch, 9);
    assert_int_equal(survey.fault_count, 0);
    survey_free(&survey);
}

/* Else the offsets would begin anew where all older segments are gone. */
static void an_empty_segment_with_frames_stays(void **state)
{
    (void)state;
    struct survey survey;
    struct survey_partition *partition = fresh(&survey);
    struct survey_segment rows[] = {sealed(1, 0, 7), sealed(2, 7, 7), unsealed(3, 7, 2)};
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        add(partition, &rows[i]);
    }
    partition = judged(&survey);
    assert_int_equal(partition->segment_count, 3);
    assert_int_equal(partition->segments[1].info.id, 2);
    assert_int_equal(survey.fault_count, 0);
    survey_free(&survey);
}

static void an_empty_segment_stays_if_it_is_the_only_one(void **state)
{
    (void)state;
    struct survey survey;
    struct survey_partition *partition = fresh(&survey);
    struct survey_segment only = sealed(4, 1000, 1000);
    add(partition, &only);
    partition = judged(&survey);
    assert_int_equal(partition->segment_count, 1);
    survey_free(&survey);
}

static void a_gap_and_an_overlap_are_faults(void **state)
{
    (void)state;
    struct survey survey;
    struct survey_partition *partition = fresh(&survey);
    struct survey_segment rows[] = {sealed(1, 0, 10), sealed(2, 11, 20), unsealed(3, 19, 2)};
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        add(partition, &rows[i]);
    }
    partition = judged(&survey);
    assert_int_equal(survey.fault_count, 2);
    assert_int_equal(partition->faults, 2);
    assert_int_equal(survey.faults[0].kind, SURVEY_GAP);
    assert_int_equal(survey.faults[0].segment_id, 2);
    assert_int_equal(survey.faults[1].kind, SURVEY_OVERLAP);
    assert_int_equal(survey.faults[1].segment_id, 3);
    survey_free(&survey);
}

struct walked {
    struct survey_walk walk;
    struct survey survey;
    bool done;
};

static void walk_done(struct completion *done)
{
    CONTAINER_OF(done, struct walked, walk.done)->done = true;
}

static enum err walk_directory(struct walked *walked, struct engine *engine, const char *dir)
{
    *walked = (struct walked){0};
    walked->walk.survey = &walked->survey;
    completion_init(&walked->walk.done, walk_done);
    survey_start(&walked->walk, &engine->reactor, dir);
    while (!walked->done) {
        (void)reactor_turn(&engine->reactor, NS_PER_MS);
    }
    return (enum err)walked->walk.done.result;
}

static void put_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void put_copy(struct engine *engine, uint32_t index, const char *to)
{
    uint8_t *head = calloc(1, SEGMENT_DATA_POSITION);
    assert_non_null(head);
    engine_peek(engine, index, 0, head, SEGMENT_DATA_POSITION);
    put_file(to, head, SEGMENT_DATA_POSITION);
    free(head);
}

/* The directory of the fixture's partition. */
static void partition_dir(struct engine *engine, char *path, size_t size)
{
    engine_segment_path(engine, 0, path, (uint32_t)size);
    *strrchr(path, '/') = 0;
}

static void with_each_engine(void (*test)(struct engine *engine))
{
    uint32_t count = 0;
    const struct io_engine *const *engines = engine_list(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct engine *engine = aligned_alloc(CACHE_LINE_BYTES, sizeof(*engine));
        assert_non_null(engine);
        engine_start(engine, engines[i]);
        test(engine);
        engine_end(engine);
        free(engine);
    }
}

static void agree_with_the_map(struct engine *engine)
{
    engine->config.segment_records = 5;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 12, 100);
    struct walked walked;
    assert_int_equal(walk_directory(&walked, engine, engine->dir), OK);
    assert_int_equal(walked.survey.fault_count, 0);
    const struct survey_partition *found = survey_find(&walked.survey, &engine->id);
    assert_non_null(found);
    assert_int_equal(found->segment_count, engine->segment_count);
    for (uint32_t i = 0; i < found->segment_count; i++) {
        const struct segment_info *info = &found->segments[i].info;
        assert_int_equal(info->id, engine->segments[i].id);
        assert_int_equal(info->epoch, engine->segments[i].epoch);
        assert_int_equal(info->state, engine->segments[i].state);
        assert_int_equal(info->salt, engine->segments[i].salt);
        assert_int_equal(info->base_offset, engine->segments[i].base_offset);
        if (info->state == SEGMENT_SEALED) {
            assert_int_equal(info->end_offset, engine->segments[i].end_offset);
            assert_int_equal(info->digest, engine->segments[i].digest);
            assert_int_equal(info->timestamp_max, engine->segments[i].timestamp_max);
            assert_int_equal(info->bytes, engine->segments[i].bytes);
        }
    }
    survey_free(&walked.survey);
}

static void what_a_shard_wrote_is_found_as_its_map_has_it(void **state)
{
    (void)state;
    with_each_engine(agree_with_the_map);
}

static void meet_strangers(struct engine *engine)
{
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 2, 100);
    char dir[256], path[512];
    partition_dir(engine, dir, sizeof(dir));
    snprintf(path, sizeof(path), "%s/0000000000000abc.seg", dir); /* Too short. */
    put_file(path, (const uint8_t *)"FLOESEGM", 8);
    snprintf(path, sizeof(path), "%s/0000000000000abd.seg", dir); /* Another one's. */
    put_copy(engine, 0, path);
    snprintf(path, sizeof(path), "%s/notes.txt", dir);
    put_file(path, (const uint8_t *)"hello", 5);
    snprintf(path, sizeof(path), "%s/topics/readme", engine->dir);
    put_file(path, (const uint8_t *)"hello", 5);
    snprintf(path, sizeof(path), "%s/topics/lost+found", engine->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    struct walked walked;
    assert_int_equal(walk_directory(&walked, engine, engine->dir), OK);
    assert_int_equal(walked.survey.partition_count, 1);
    assert_int_equal(walked.survey.files, 3);
    assert_int_equal(walked.survey.fault_count, 2);
    assert_int_equal(walked.survey.partitions[0].faults, 2);
    assert_int_equal(walked.survey.partitions[0].segment_count, 1);
    for (uint32_t i = 0; i < 2; i++) {
        const struct survey_fault *fault = &walked.survey.faults[i];
        bool is_short = fault->segment_id == 0xabc;
        assert_int_equal(fault->kind, is_short ? SURVEY_HEADER : SURVEY_MISPLACED);
        assert_int_equal(fault->err, is_short ? ERR_TRUNCATED : ERR_FOREIGN);
        assert_true(strlen(survey_fault_text(fault->kind)) > 0);
    }
    survey_free(&walked.survey);
}

static void files_that_are_no_segments_are_faults_and_other_names_are_nothing(void **state)
{
    (void)state;
    with_each_engine(meet_strangers);
}

static void list_many(struct engine *engine)
{
    enum { FILES = 4000 }; /* Of 21 bytes each: more than one list holds. */

    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 100);
    char dir[256], path[512];
    partition_dir(engine, dir, sizeof(dir));
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "%s/%016x.seg", dir, 0x100000 + i);
        put_file(path, (const uint8_t *)"", 0);
    }
    struct walked walked;
    assert_int_equal(walk_directory(&walked, engine, engine->dir), OK);
    assert_int_equal(walked.survey.files, FILES + 1);
    assert_int_equal(walked.survey.fault_count, FILES);
    assert_int_equal(walked.survey.partitions[0].segment_count, 1);
    survey_free(&walked.survey);
}

static void a_directory_of_any_length_is_listed_whole(void **state)
{
    (void)state;
    with_each_engine(list_many);
}

static void find_nothing(struct engine *engine)
{
    struct walked walked;
    assert_int_equal(walk_directory(&walked, engine, "/nonexistent"), OK);
    assert_int_equal(walked.survey.partition_count, 0);
    char dir[SURVEY_PATH_BYTES];
    memset(dir, 'x', sizeof(dir) - 1);
    dir[sizeof(dir) - 1] = 0;
    assert_int_equal(walk_directory(&walked, engine, dir), ERR_INVALID);
    survey_free(&walked.survey);
}

static void no_topics_are_an_empty_survey_and_a_long_path_is_refused(void **state)
{
    (void)state;
    with_each_engine(find_nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_stand_by_base_and_the_last_stays_open),
        cmocka_unit_test(one_without_a_seal_ends_where_the_next_one_begins),
        cmocka_unit_test(an_empty_segment_leaves_its_epoch_and_no_trace_else),
        cmocka_unit_test(an_empty_segment_with_frames_stays),
        cmocka_unit_test(an_empty_segment_stays_if_it_is_the_only_one),
        cmocka_unit_test(a_gap_and_an_overlap_are_faults),
        cmocka_unit_test(what_a_shard_wrote_is_found_as_its_map_has_it),
        cmocka_unit_test(files_that_are_no_segments_are_faults_and_other_names_are_nothing),
        cmocka_unit_test(a_directory_of_any_length_is_listed_whole),
        cmocka_unit_test(no_topics_are_an_empty_survey_and_a_long_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
