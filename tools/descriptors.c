/* See the header. */
#include "tools/descriptors.h"

#include "core/assert.h"
#include "core/log.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <sys/resource.h>

enum {
    /* Standard streams, LOCK, superblock, MANIFEST, the helper's directory, the map's log and
     * snapshot, and some for whoever looks in from outside. */
    DESCRIPTORS_PROCESS = 20,
    /* Ring or poll set, wake-up, listener, journal and its spare. */
    DESCRIPTORS_CORE = 5,
    DESCRIPTORS_FILES_LEAST = 6, /* A roll, a reader, and a few idle files. */
    DESCRIPTORS_FILES_AMPLE =
        64, /* Enough for readers of old segments not to be in each other's way. */
};

void descriptors_share(struct descriptors *descriptors, uint64_t limit, uint32_t cores,
                       uint32_t connections)
{
    ASSERT(cores > 0);
    ASSERT(connections > 0);
    uint64_t own = DESCRIPTORS_PROCESS + DESCRIPTORS_CORE * ((uint64_t)cores + 1);
    uint32_t most = max_u32(DESCRIPTORS_FILES_AMPLE, connections);
    *descriptors = (struct descriptors){
        .limit = limit,
        .least = own + 2 * (uint64_t)DESCRIPTORS_FILES_LEAST * cores,
        .ample = own + 2 * (uint64_t)most * cores,
    };
    if (limit < descriptors->least) {
        return;
    }
    uint64_t share = min_u64((limit - own) / 2 / cores, UINT32_MAX);
    descriptors->files_max = (uint32_t)share;
    descriptors->connections_max = min_u32(connections, (uint32_t)share);
    ASSERT(descriptors->files_max >= DESCRIPTORS_FILES_LEAST);
    ASSERT(descriptors->connections_max > 0);
}

static uint64_t descriptors_raise(void)
{
    struct rlimit files = {0};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return 0;
    }
    struct rlimit raised = {.rlim_cur = files.rlim_max, .rlim_max = files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        files = raised;
    }
    return files.rlim_cur == RLIM_INFINITY ? UINT64_MAX / 2 : (uint64_t)files.rlim_cur;
}

int descriptors_judge(struct descriptors *descriptors, const struct cmd *cmd, uint32_t cores,
                      uint32_t connections)
{
    descriptors_share(descriptors, descriptors_raise(), cores, connections);
    if (descriptors->files_max == 0) {
        return cmd_fail(cmd, ERROR_DESCRIPTORS,
                        "the limit of open files is %" PRIu64 ", and %u cores need %" PRIu64
                        ". Raise it (ulimit -n, LimitNOFILE=), or lower cpu.cores",
                        descriptors->limit, cores, descriptors->least);
    }
    if (descriptors->limit < descriptors->ample) {
        char text[ERROR_TEXT_BYTES];
        LOG_WARN("the limit of open files is low limit=%" PRIu64 " ample=%" PRIu64
                 " files=%u connections=%u connections.max=%u hint=\"raise it (ulimit -n, "
                 "LimitNOFILE=), or lower connections.max\" code=%s",
                 descriptors->limit, descriptors->ample, descriptors->files_max,
                 descriptors->connections_max, connections,
                 errors_text(ERROR_DESCRIPTORS_LOW, text));
    }
    return CMD_OK;
}
