/* Identities, owners, and the way home. */
#include "shard/request.h"

#include "core/assert.h"
#include "core/limits.h"
#include "core/reactor.h"
#include "shard/shard.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

bool topic_id_equal(const struct topic_id *a, const struct topic_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool topic_id_is_zero(const struct topic_id *id)
{
    static const struct topic_id zero;
    return topic_id_equal(id, &zero);
}

char *topic_id_text(const struct topic_id *id, char *text)
{
    for (uint32_t i = 0; i < sizeof(id->bytes); i++) {
        snprintf(text + (size_t)i * 2, 3, "%02x", id->bytes[i]);
    }
    return text;
}

bool topic_name_is_allowed(struct bytes name)
{
    if (name.size == 0 || name.size > TOPIC_NAME_BYTES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
        if (!allowed) {
            return false;
        }
    }
    return !(name.size <= 2 && name.data[0] == '.' && name.data[name.size - 1] == '.');
}

int stream_id_compare(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }
    return (a.seq > b.seq) - (a.seq < b.seq);
}

uint32_t partition_core(const struct partition_id *id, uint32_t core_count)
{
    ASSERT(core_count > 0);
    uint64_t hash = XXH3_64bits(id->topic.bytes, sizeof(id->topic.bytes));
    return (uint32_t)((hash + id->partition) % core_count);
}

static void request_arrived_home(struct reactor *home, const struct mail *mail)
{
    struct request *request = mail->object;
    ASSERT(request->home == home);
    completion_fire(home, &request->done, (int32_t)mail->words[0]);
}

void request_finish(struct reactor *reactor, struct request *request, enum err err)
{
    ASSERT(request->home != NULL);
    if (request->home == reactor) {
        completion_fire(reactor, &request->done, err);
        return;
    }
    request->mail.fn = request_arrived_home;
    request->mail.object = request;
    request->mail.words[0] = (uint64_t)(int64_t)err;
    mail_send(reactor, request->home, &request->mail);
}
