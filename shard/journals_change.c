/* A core whose journal failed goes on with its spare: the MANIFEST names that one instead. The wish
 * travels to the core that has the MANIFEST, and one is fulfilled after the other.
 *
 *     core: journals_use_spare() -- mail --> change_arrived -> MANIFEST -> change_stored
 *     core: done <------------------------------------------- mail ----------' */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/journals_internal.h"

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
        COVER("two journals fail at a time");
        change_next(journals);
    }
}

static void change_stored(struct completion *done)
{
    struct manifest_store *store = CONTAINER_OF(done, struct manifest_store, done);
    struct journals *journals = CONTAINER_OF(store, struct journals, store);
    if (done->result < 0) {
        LOG_ERROR("cannot write the MANIFEST, the spare journal cannot be used dir=%s err=%s",
                  journals->options.data_dir, err_name((enum err)done->result));
    }
    change_finish(journals, done->result < 0 ? (enum err)done->result : OK);
}

/* Those that are retained stand first, then the cores'. */
static void change_next(struct journals *journals)
{
    uint32_t core = journals->changes->core;
    struct manifest *manifest = &journals->manifest;
    const struct journals_file *spare = &journals->files[journals->options.core_count + core];
    ASSERT(spare->id != 0 && manifest->journal_count >= journals->options.core_count);
    uint32_t first = manifest->journal_count - journals->options.core_count;
    manifest->journals[first + core] = (struct manifest_journal){
        .file = spare->file, .core = core, .id = spare->id, .first_seq = 1, .bytes = spare->bytes};
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

void journals_use_spare(struct journals_change *change, struct journals *journals,
                        struct reactor *home, uint32_t core)
{
    change->journals = journals;
    change->home = home;
    change->core = core;
    change->next = NULL;
    change->mail = (struct mail){.fn = change_arrived, .object = change};
    mail_send(home, journals->reactor, &change->mail);
}
