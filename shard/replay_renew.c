/* A segment's file failed while its journal was replayed: see renew.h. The MANIFEST says so first,
 * or a start behind a crash would believe what only a cache has, because its own sync succeeds.
 *
 *     MANIFEST with the mark -> renew -> done; the next MANIFEST has the mark no more */
#include "shard/replay.h"

#include "core/cover.h"

#include <stdlib.h>
#include <string.h>

static void renew_go_on(struct replay_renew *renew)
{
    renew_start(&renew->renew);
}

static void renew_stored(struct completion *done)
{
    struct manifest_store *store = CONTAINER_OF(done, struct manifest_store, done);
    struct replay_renew *renew = CONTAINER_OF(store, struct replay_renew, store);
    struct replay *replay = renew->replay;
    manifest_deinit(&renew->doubt);
    if (done->result < 0) {
        COVER("the MANIFEST cannot say that a file failed");
        completion_fire(replay->reactor, renew->renew.done, done->result);
        return;
    }
    replay->manifests++;
    renew_go_on(renew);
}

/* The MANIFEST of the last life, and the mark. */
static enum err renew_doubt(struct replay_renew *renew, const struct segment_record *record)
{
    const struct manifest *from = renew->replay->manifest;
    struct manifest *doubt = &renew->doubt;
    bool found = false;
    enum err err = OK;
    memcpy(doubt->directory_id, from->directory_id, sizeof(doubt->directory_id));
    doubt->generation = from->generation + renew->replay->manifests + 1;
    for (uint32_t i = 0; i < from->journal_count && err == OK; i++) {
        err = manifest_add_journal(doubt, &from->journals[i]);
    }
    for (uint32_t i = 0; i < from->record_count && err == OK; i++) {
        struct segment_record copy = from->records[i];
        bool same = copy.segment_id == record->segment_id;
        copy.marks |= same ? SEGMENT_MARK_FAILED : 0U;
        found = found || same;
        err = manifest_add_record(doubt, &copy);
    }
    if (!found && err == OK) {
        struct segment_record copy = *record;
        copy.marks |= SEGMENT_MARK_FAILED;
        err = manifest_add_record(doubt, &copy);
    }
    return err;
}

void replay_renew_start(struct replay_renew *renew, struct replay *replay, int fd, const char *path,
                        struct completion *done)
{
    const struct segment_record *record = &replay->segments[replay->segment_at].record;
    *renew = (struct replay_renew){
        .replay = replay,
        .renew = {.done = done,
                  .reactor = replay->reactor,
                  .data_dir = replay->options.data_dir,
                  .path = path,
                  .segment_id = record->segment_id,
                  .flags = IO_OPEN_WRITE | (replay->options.direct ? IO_OPEN_DIRECT : 0U),
                  .fd = fd},
    };
    if ((record->marks & SEGMENT_MARK_FAILED) != 0) {
        COVER("an earlier start met the failure of a file");
        renew_go_on(renew);
        return;
    }
    enum err err = renew_doubt(renew, record);
    if (err != OK) {
        manifest_deinit(&renew->doubt);
        completion_fire(replay->reactor, done, err);
        return;
    }
    completion_init(&renew->store.done, renew_stored);
    manifest_store(&renew->store, replay->reactor, replay->options.data_dir, &renew->doubt,
                   replay->options.direct);
}
