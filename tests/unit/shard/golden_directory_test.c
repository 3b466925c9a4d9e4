/* A directory that this version of the formats was written with, kept for ever: a sealed segment,
 * an open one whose frames are in the journal, and a damaged one. It must open and read back as it
 * does here, whatever becomes of floe.
 *
 * golden/directory/ has a file of hex for each of its files ("position: bytes", lines of zeros are
 * left out), and the map. `shard_golden_directory_test --make` writes it anew: for a new version of
 * the formats into a folder of its own, beside this one. */
#include "tests/unit/shard/engine_fixture.h"

#include "shard/segment.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    LINE_BYTES = 16,
    SOUND_PARTITION = 3,
    DAMAGED_PARTITION = 4,
    SOUND_RECORDS = 5,
    DAMAGED_RECORDS = 3,
    FILES = 5,
    LARGE_BYTES = 70000,
};

/* The files, and where they stand in the directory; those of segments by the map. */
static const char *const names[FILES] = {"manifest", "journal", "sealed", "open", "damaged"};

static const struct engine_journals usual = {.cores = 1, .bytes = 64 << 10, .bytes_max = 64 << 10};

/* The map of both partitions. */
struct golden {
    struct segment_info sound[2], damaged[1];
};

static void use(struct engine *engine, uint32_t partition, const struct segment_info *segments,
                uint32_t count)
{
    engine->id.partition = partition;
    memcpy(engine->segments, segments, count * sizeof(*segments));
    engine->segment_count = count;
}

static void use_sound(struct engine *engine, const struct golden *golden)
{
    use(engine, SOUND_PARTITION, golden->sound, 2);
}

static void use_damaged(struct engine *engine, const struct golden *golden)
{
    use(engine, DAMAGED_PARTITION, golden->damaged, 1);
}

static void path_of(struct engine *engine, const struct golden *golden, uint32_t file, char *path)
{
    if (file < 2) {
        (void)snprintf(path, 256, "%s/%s", engine->dir, file == 0 ? "MANIFEST" : "journal/0.jnl");
    } else if (file < 4) {
        use_sound(engine, golden);
        engine_segment_path(engine, file - 2, path, 256);
    } else {
        use_damaged(engine, golden);
        engine_segment_path(engine, 0, path, 256);
    }
}

static FILE *golden_open(const char *name, const char *mode)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/directory/%s", GOLDEN_DIRECTORY, name);
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        fail_msg("%s cannot be opened", path);
    }
    return file;
}

static FILE *golden_hex(uint32_t file, const char *mode)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%s.hex", names[file]);
    return golden_open(name, mode);
}

/* --- Written once. --- */

static void hex_write(const char *path, FILE *hex)
{
    static const uint8_t zeros[LINE_BYTES];
    uint8_t line[LINE_BYTES];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct stat info;
    assert_int_equal(fstat(fileno(file), &info), 0);
    (void)fprintf(hex, "size %llu\n", (unsigned long long)info.st_size);
    uint64_t position = 0;
    for (size_t got; (got = fread(line, 1, LINE_BYTES, file)) > 0; position += got) {
        if (memcmp(line, zeros, got) == 0) {
            continue;
        }
        (void)fprintf(hex, "%08" PRIx64 ":", position);
        for (size_t i = 0; i < got; i++) {
            (void)fprintf(hex, " %02x", line[i]);
        }
        (void)fputc('\n', hex);
    }
    assert_int_equal(fclose(file), 0);
}

static void map_write(const struct golden *golden, FILE *map)
{
    for (uint32_t i = 0; i < 3; i++) {
        const struct segment_info *info = i < 2 ? &golden->sound[i] : &golden->damaged[0];
        (void)fprintf(
            map, "%" PRIx64 " %" PRIu32 " %d %" PRIu64 " %" PRIu64 " %" PRIx64 " %" PRIx64 "\n",
            info->id, info->epoch, (int)info->state, info->base_offset, info->end_offset,
            info->salt, info->digest);
    }
}

static int make(void)
{
    static struct engine engine;
    struct golden golden;
    char path[256];
    engine_start_journaled(&engine, &io_engine_posix, &usual);
    engine.config.segment_records = 3;
    engine.id.partition = SOUND_PARTITION;
    if (engine_assign(&engine) != OK) {
        return 1;
    }
    engine_append_each(&engine, SOUND_RECORDS, 100);
    memcpy(golden.sound, engine.segments, sizeof(golden.sound));
    engine.segment_count = 0;
    engine.id.partition = DAMAGED_PARTITION;
    engine.config.segment_records = 1000;
    if (engine_assign(&engine) != OK) {
        return 1;
    }
    engine_append_each(&engine, DAMAGED_RECORDS, LARGE_BYTES);
    engine_spoil(&engine, 0, SEGMENT_DATA_POSITION + 18 * 4096 + 200); /* The second extent. */
    memcpy(golden.damaged, engine.segments, sizeof(golden.damaged));
    engine_kill(&engine);
    for (uint32_t i = 0; i < FILES; i++) {
        FILE *hex = golden_hex(i, "w");
        path_of(&engine, &golden, i, path);
        hex_write(path, hex);
        (void)fclose(hex);
    }
    FILE *map = golden_open("map", "w");
    map_write(&golden, map);
    (void)fclose(map);
    engine_end(&engine);
    return 0;
}

/* --- Read for ever. --- */

static void hex_read(FILE *hex, const char *path)
{
    unsigned long long size, position;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fscanf(hex, "size %llu", &size), 1);
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    while (fscanf(hex, "%llx:", &position) == 1) {
        assert_int_equal(fseek(file, (long)position, SEEK_SET), 0);
        unsigned byte;
        for (uint32_t i = 0; i < LINE_BYTES && position + i < size; i++) {
            assert_int_equal(fscanf(hex, " %2x", &byte), 1);
            assert_int_equal(fputc((int)byte, file), (int)byte);
        }
    }
    assert_int_equal(fclose(file), 0);
}

static void map_read(FILE *map, struct golden *golden)
{
    memset(golden, 0, sizeof(*golden));
    for (uint32_t i = 0; i < 3; i++) {
        struct segment_info *info = i < 2 ? &golden->sound[i] : &golden->damaged[0];
        int state;
        int got =
            fscanf(map, "%" SCNx64 " %" SCNu32 " %d %" SCNu64 " %" SCNu64 " %" SCNx64 " %" SCNx64,
                   &info->id, &info->epoch, &state, &info->base_offset, &info->end_offset,
                   &info->salt, &info->digest);
        assert_int_equal(got, 7);
        info->state = state == SEGMENT_OPEN ? SEGMENT_OPEN : SEGMENT_SEALED;
        info->leader_node = 1;
        info->replication_factor = 1;
        info->ack_quorum = 1;
        info->durability = DURABILITY_DISK;
    }
}

static void made(const struct engine *engine, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", engine->dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

/* The files as they are kept; the engine is killed. */
static void restore(struct engine *engine, struct golden *golden)
{
    char topic[TOPIC_ID_TEXT_BYTES], name[128], path[256];
    FILE *map = golden_open("map", "r");
    map_read(map, golden);
    (void)fclose(map);
    (void)topic_id_text(&engine->id.topic, topic);
    (void)snprintf(name, sizeof(name), "topics/%s", topic);
    made(engine, name);
    for (uint32_t i = SOUND_PARTITION; i <= DAMAGED_PARTITION; i++) {
        (void)snprintf(name, sizeof(name), "topics/%s/%u", topic, i);
        made(engine, name);
    }
    for (uint32_t i = 0; i < FILES; i++) {
        FILE *hex = golden_hex(i, "r");
        path_of(engine, golden, i, path);
        hex_read(hex, path);
        (void)fclose(hex);
    }
}

static enum err read_at(struct engine *engine, uint64_t offset, uint32_t value_bytes)
{
    struct call call;
    call_fetch(&call, engine, offset, false);
    call_wait(&call);
    enum err err = call.err;
    if (err == OK) {
        static uint8_t wanted[LARGE_BYTES + 256];
        struct batch_spec spec = {.records = 1,
                                  .value_bytes = value_bytes,
                                  .timestamp = 1000 + (int64_t)offset,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .sequence = -1};
        uint32_t size = batch_make(&spec, wanted, sizeof(wanted));
        assert_true(call.request.fetch.piece_count > 0);
        assert_true(call.pieces[0].size >= size);
        assert_int_equal(load_be64(call.pieces[0].data), offset);
        /* From the magic on; before it the broker writes offset and epoch. */
        assert_memory_equal(call.pieces[0].data + 16, wanted + 16, size - 16);
    }
    call_release(&call);
    return err;
}

static void check_reads(struct engine *engine, const struct golden *golden)
{
    use_sound(engine, golden);
    assert_int_equal(engine_assign(engine), OK);
    for (uint64_t offset = 0; offset < SOUND_RECORDS; offset++) {
        assert_int_equal(read_at(engine, offset, 100), OK);
    }
    assert_int_equal(engine->segments[1].state, SEGMENT_SEALED);
    assert_int_equal(engine->segments[1].end_offset, SOUND_RECORDS);
    use_damaged(engine, golden);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine->segments[0].state, SEGMENT_OPEN);
    assert_int_equal(read_at(engine, 0, LARGE_BYTES), OK);
    assert_int_equal(read_at(engine, 1, LARGE_BYTES), ERR_DAMAGED);
    assert_int_equal(read_at(engine, 2, LARGE_BYTES), ERR_DAMAGED);
}

static void the_first_version_opens_and_reads_back(void **state)
{
    (void)state;
    struct golden golden;
    struct engine *engine = malloc(sizeof(*engine));
    assert_non_null(engine);
    engine_start_journaled(engine, &io_engine_posix, &usual);
    engine_kill(engine);
    restore(engine, &golden);
    engine->boot = 100;
    enum err err = engine_open_journals(engine, &io_engine_posix);
    if (err != OK) {
        fail_msg("%s", engine->journals_opened.message);
    }
    assert_int_equal(engine->journals_opened.frames, 2);
    engine_open_shard(engine);
    check_reads(engine, &golden);
    engine_end(engine);
    free(engine);
}

int main(int count, char **words)
{
    if (count > 1 && strcmp(words[1], "--make") == 0) {
        return make();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_version_opens_and_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
