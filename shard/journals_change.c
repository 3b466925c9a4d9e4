/* A core whose journal failed goes on with its spare: the MANIFEST names that one instead. Where a
 * segment's file failed at a start, it says so until that was made anew. The wish travels to the
 * core that has the MANIFEST, and one is fulfilled after the other.
 *
 *     core: journals_use_spare(), _mark() -- mail --> change_arrived -> MANIFEST -> change_stored
 *     core: done <---------------------------------------------------- mail ----------' */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/journals_internal.h"

#include <string.h>

static void change_next(struct journals *journals);

static void change_came_home(struct reactor *home, const struct mail *mail)
{
    struct journals_change *change = mail->object;
    completion_fire(home, &change->done, change->err);
}

static void change_finish(struct journals *journals, enum err err)
{
    struct journals_change *change = journals->changes;
    journals->changes = change->next;
    change->err = err;
    change->mail.fn = change_came_home;
    mail_send(journals->reactor, change->home, &change->mail);
    if (journals->changes != NULL) {
        COVER("two cores have wishes for the MANIFEST");
        change_next(journals);
    }
}

static void change_stored(struct completion *done)
{
    struct manifest_store *store = CONTAINER_OF(done, struct manifest_store, done);
    struct journals *journals = CONTAINER_OF(store, struct journals, store);
    if (done->result < 0) {
        LOG_ERROR(
            "cannot write the MANIFEST, as a spare journal or a failed file needs dir=%s err=%s",
            journals->options.data_dir, err_name((enum err)done->result));
    }
    change_finish(journals, done->result < 0 ? (enum err)done->result : OK);
}

/* Those that are retained stand first, then the cores'. */
static void change_name_spare(struct journals *journals, uint32_t core)
{
    struct manifest *manifest = &journals->manifest;
    const struct journals_file *spare = &journals->files[journals->options.core_count + core];
    ASSERT(spare->id != 0 && manifest->journal_count >= journals->options.core_count);
    uint32_t first = manifest->journal_count - journals->options.core_count;
    manifest->journals[first + core] = (struct manifest_journal){
        .file = spare->file, .core = core, .id = spare->id, .first_seq = 1, .bytes = spare->bytes};
}

static enum err change_mark(struct manifest *manifest, const struct segment_record *record)
{
    for (uint32_t i = 0; i < manifest->record_count; i++) {
        if (manifest->records[i].segment_id == record->segment_id) {
            manifest->records[i].marks |= SEGMENT_MARK_FAILED;
            return OK;
        }
    }
    return manifest_add_record(manifest, record);
}

/* A record that says nothing else goes. */
static void change_unmark(struct manifest *manifest, const struct segment_record *record)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < manifest->record_count; i++) {
        struct segment_record *at = &manifest->records[i];
        bool same = at->segment_id == record->segment_id;
        at->marks &= same ? ~(uint32_t)SEGMENT_MARK_FAILED : UINT32_MAX;
        if (!same || at->marks != 0 || at->maybe_end > at->base_offset) {
            manifest->records[kept++] = *at;
        }
    }
    manifest->record_count = kept;
}

static void change_next(struct journals *journals)
{
    const struct journals_change *change = journals->changes;
    struct manifest *manifest = &journals->manifest;
    enum err err = OK;
    switch (change->wish) {
    case JOURNALS_SPARE:
        change_name_spare(journals, change->core);
        break;
    case JOURNALS_FAILED:
        err = change_mark(manifest, &change->record);
        break;
    case JOURNALS_MENDED:
        change_unmark(manifest, &change->record);
        break;
    }
    if (err != OK) {
        change_finish(journals, err);
        return;
    }
    /* Without room for journals none was written yet. */
    memcpy(manifest->directory_id, journals->options.directory_id, sizeof(manifest->directory_id));
    manifest->generation++;
    completion_init(&journals->store.done, change_stored);
    manifest_store(&journals->store, journals->reactor, journals->options.data_dir, manifest,
                   journals->options.direct);
}

static void change_arrived(struct reactor *reactor, const struct mail *mail)
{
    struct journals_change *change = mail->object;
    struct journals *journals = change->journals;
    ASSERT(reactor == journals->reactor && journals->state == STATE_DONE);
    struct journals_change **last = &journals->changes;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = change;
    if (journals->changes == change) {
        change_next(journals);
    }
}

static void change_send(struct journals_change *change, struct journals *journals,
                        struct reactor *home)
{
    change->journals = journals;
    change->home = home;
    change->next = NULL;
    change->mail = (struct mail){.fn = change_arrived, .object = change};
    mail_send(home, journals->reactor, &change->mail);
}

void journals_use_spare(struct journals_change *change, struct journals *journals,
                        struct reactor *home, uint32_t core)
{
    change->wish = JOURNALS_SPARE;
    change->core = core;
    change_send(change, journals, home);
}

void journals_mark(struct journals_change *change, struct journals *journals, struct reactor *home,
                   enum journals_wish wish, const struct segment_record *record)
{
    ASSERT(wish == JOURNALS_FAILED || wish == JOURNALS_MENDED);
    change->wish = wish;
    change->record = *record;
    change->record.marks |= SEGMENT_MARK_FAILED;
    change_send(change, journals, home);
}
