/* What claims about the engine begin with: a shard that serves its partition, on each engine in
 * turn, restarts of it, and what a test asks it most. */
#pragma once

#include "shard/manifest.h"
#include "tests/unit/shard/engine_fixture.h"

/* The shard's journals, if any, and settings of its topic; 0: the fixture's. */
struct claim_start {
    struct engine_journals journals;
    uint32_t segment_records;
    enum durability durability;
    uint32_t appended; /* Small records, so that its file is made. */
    bool unassigned;   /* The claim assigns, as it likes. */
};

/* Started and assigned; `start` may be NULL. */
struct engine *claim_begin(const struct io_engine *io, const struct claim_start *start);
void claim_end(struct engine *engine);

/* The claim on an engine of its own for each that this build has... */
void claim_on_engines(void (*claim)(struct engine *engine));
/* ...and on those that engine_wrap() has wrapped. */
void claim_on_wrapped(void (*claim)(struct engine *engine, const struct io_engine *io));
void claim_on_wrapped_from(const struct claim_start *start,
                           void (*claim)(struct engine *engine, const struct io_engine *io));

/* Another life, after an orderly stop or a crash; the partition is assigned. */
void claim_restart(struct engine *engine);
void claim_crash(struct engine *engine, const struct io_engine *io);

/* Look-ups that must succeed. */
int64_t claim_offset(struct engine *engine, int64_t timestamp);
uint64_t claim_latest(struct engine *engine);

/* Every offset below `end`, which is the latest, has a record. */
void claim_readable(struct engine *engine, uint64_t end);

/* Fetches what is there now, and waits; call_release() is next. */
enum err claim_fetch(struct call *call, struct engine *engine, uint64_t offset);
/* The same, and gives back what came. */
enum err claim_read_at(struct engine *engine, uint64_t offset);

/* Appends a batch, up to 4 KiB of it, and waits; the second one without a producer. */
void claim_append(struct call *call, struct engine *engine, const struct batch_spec *spec);
enum err claim_append_plain(struct engine *engine, uint32_t records, uint32_t value_bytes,
                            int64_t timestamp);
/* Without that limit, packed by snappy; OK is asserted. */
void claim_append_packed(struct engine *engine, uint32_t records, uint32_t value_bytes);

/* The MANIFEST of its directory; manifest_deinit() is the caller's. */
void claim_manifest_read(const struct engine *engine, struct manifest *manifest);
void claim_manifest_write(const struct engine *engine, const struct manifest *manifest);
