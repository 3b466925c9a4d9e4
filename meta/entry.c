/* Entries of the raft log as bytes. */
#include "meta/entry.h"

#include "core/assert.h"

enum { ENTRY_VERSION = 1 };

void entry_begin(struct bytes_writer *writer)
{
    ASSERT(writer->position == 0);
    write_u8(writer, ENTRY_VERSION);
    write_u8(writer, 0);
    write_le16(writer, 0);
    write_le32(writer, 0);
    ASSERT(!writer->failed);
}

bool entry_add(struct bytes_writer *writer, const struct command *command)
{
    uint32_t at = writer->position + ENTRY_COMMAND_HEADER_BYTES;
    if (at >= writer->size) {
        return false;
    }
    uint32_t size = command_encode(command, writer->data + at, writer->size - at);
    if (size == 0) {
        return false;
    }
    write_le32(writer, size);
    write_le32(writer, 0);
    writer->position += size;
    store_le32(writer->data + 4, load_le32(writer->data + 4) + 1);
    return true;
}

enum err entry_open(struct entry_reader *entry, struct bytes data)
{
    *entry = (struct entry_reader){.reader = bytes_reader(data)};
    uint8_t version = read_u8(&entry->reader);
    read_skip(&entry->reader, 3);
    entry->left = read_le32(&entry->reader);
    if (entry->reader.failed) {
        return ERR_CORRUPT;
    }
    return version == ENTRY_VERSION ? OK : ERR_VERSION;
}

enum err entry_next(struct entry_reader *entry, struct command *command)
{
    ASSERT(entry->left > 0);
    entry->left--;
    uint32_t size = read_le32(&entry->reader);
    read_skip(&entry->reader, 4);
    struct bytes data = read_bytes(&entry->reader, size);
    return entry->reader.failed ? ERR_CORRUPT : command_decode(data, command);
}
