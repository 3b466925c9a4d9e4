/* A settings file: INI by libinih, behind a pre-scan. libinih cuts a line of 200 bytes, takes an
 * indented line for a second value of the key above, and lets duplicates pass: all three are
 * refused here, with the number of the line.
 *
 *     pre-scan -> parse and check every value -> parse and set         any error: nothing is set
 */
#include "core/assert.h"
#include "core/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_FILE_BYTES_MAX = 1 << 20,
    CONFIG_FILE_BYTES_FIRST = 4 << 10, /* Doubled as long as there is more. */
    CONFIG_LINE_BYTES_MAX = 198, /* libinih's buffer of 200 holds the newline and a NUL, too. */
    CONFIG_FILE_KEY_BYTES = 256,
    CONFIG_PLACE_BYTES = 256,
};

struct config_file {
    struct config *config;
    const char *path;
    const char *text; /* NUL-terminated. */
    const char *next; /* The line to be read next. */
    uint32_t line;    /* Number of the line read last, from 1; reading ends with an error. */
    uint32_t *lines;  /* Per option: where it was set, 0 = not yet. */
    bool apply;
    enum err err;
    char *message;
};

/* All that is in `file`, and one byte too much of what is too long, into memory of malloc with room
 * for a NUL behind it. NULL: out of memory. */
static char *config_read_all(FILE *file, size_t *size)
{
    size_t capacity = CONFIG_FILE_BYTES_FIRST;
    char *data = malloc(capacity);
    *size = 0;
    while (data != NULL) {
        *size += fread(data + *size, 1, capacity - 1 - *size, file);
        if (*size < capacity - 1 || *size > CONFIG_FILE_BYTES_MAX) {
            return data;
        }
        capacity *= 2;
        char *grown = realloc(data, capacity);
        if (grown == NULL) {
            free(data);
        }
        data = grown;
    }
    return NULL;
}

/* Reads the whole of `path` into memory of malloc, with a NUL behind it. */
static enum err config_load(const char *path, char **text, size_t *size, char *message)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        const int error = errno;
        (void)snprintf(message, CONFIG_MESSAGE_BYTES,
                       "%.200s: cannot open the settings file: %s. Check the path given with -c",
                       path, strerror(error));
        return error == ENOENT ? ERR_NOT_FOUND : error == EACCES ? ERR_DENIED : ERR_IO;
    }
    enum err err = OK;
    char *data = config_read_all(file, size);
    if (data == NULL) {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%.200s: out of memory", path);
        err = ERR_NO_MEMORY;
    } else if (ferror(file)) {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES,
                       "%.200s: cannot read the settings file. Is it a directory?", path);
        err = ERR_IO;
    } else if (*size > CONFIG_FILE_BYTES_MAX) {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES,
                       "%.200s: larger than 1MiB: this is not a settings file", path);
        err = ERR_INVALID;
    }
    (void)fclose(file);
    if (err != OK) {
        free(data);
        return err;
    }
    data[*size] = '\0';
    *text = data;
    return OK;
}

static enum err config_scan_line(const char *path, uint32_t number, const char *line, size_t size,
                                 char *message)
{
    const char *wrong = NULL;
    if (memchr(line, '\0', size) != NULL) {
        wrong = "has a zero byte in it: this is not a text file";
    } else if (size > CONFIG_LINE_BYTES_MAX) {
        wrong = "is longer than 198 bytes: shorten it, or give the value with --set";
    } else {
        size_t blanks = strspn(line, " \t\r");
        bool content = blanks < size && line[blanks] != ';' && line[blanks] != '#';
        if (blanks > 0 && content) {
            wrong = "begins with a blank: remove the blanks, a value cannot go on in a second line";
        }
    }
    if (wrong == NULL) {
        return OK;
    }
    (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%.200s:%u: the line %s", path, number, wrong);
    return ERR_INVALID;
}

/* Some editors begin a file with a mark of its encoding; it is no part of the first line. */
static const char *config_skip_mark(const char *text)
{
    static const char mark[] = "\xef\xbb\xbf";
    return text + (strncmp(text, mark, sizeof(mark) - 1) == 0 ? sizeof(mark) - 1 : 0);
}

static enum err config_scan(const char *path, const char *text, size_t size, char *message)
{
    size_t at = (size_t)(config_skip_mark(text) - text);
    for (uint32_t number = 1; at < size; number++) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t line_size = newline == NULL ? size - at : (size_t)(newline - text) - at;
        enum err err = config_scan_line(path, number, text + at, line_size, message);
        if (err != OK) {
            return err;
        }
        at += line_size + 1;
    }
    return OK;
}

/* For libinih, as fgets(): one line of at most size - 1 bytes. Ends early after an error. */
static char *config_file_read(char *line, int size, void *stream)
{
    struct config_file *file = stream;
    if (*file->next == '\0' || file->err != OK) {
        return NULL;
    }
    size_t count = strcspn(file->next, "\n");
    count += file->next[count] == '\n';
    ASSERT(count < (size_t)size); /* The pre-scan saw to it. */
    memcpy(line, file->next, count);
    line[count] = '\0';
    file->next += count;
    file->line++;
    return line;
}

static int config_file_value(void *user, const char *section, const char *name, const char *value)
{
    struct config_file *file = user;
    char key[CONFIG_FILE_KEY_BYTES], place[CONFIG_PLACE_BYTES];
    (void)snprintf(key, sizeof(key), "%s%s%s", section, *section == '\0' ? "" : ".", name);
    (void)snprintf(place, sizeof(place), "%.200s:%u", file->path, file->line);
    if (file->apply) {
        file->err = config_set(file->config, key, value, CONFIG_FROM_FILE, place, file->message);
        return file->err == OK;
    }
    file->err = config_check(file->config, key, value, place, file->message);
    for (uint32_t i = 0; i < config_count(file->config) && file->err == OK; i++) {
        if (strcmp(config_option(file->config, i)->key, key) != 0) {
            continue;
        }
        if (file->lines[i] != 0) {
            (void)snprintf(
                file->message, CONFIG_MESSAGE_BYTES,
                "%.200s: %.64s is set a second time, first in line %u: remove one of them", place,
                key, file->lines[i]);
            file->err = ERR_INVALID;
        }
        file->lines[i] = file->line;
    }
    return file->err == OK;
}

static enum err config_file_parse(struct config_file *file, bool apply)
{
    file->next = config_skip_mark(file->text);
    file->line = 0;
    file->apply = apply;
    int line = ini_parse_stream(config_file_read, file, config_file_value, file);
    if (line > 0 && (file->err == OK || (uint32_t)line < file->line)) {
        /* libinih goes on behind such a line: a wrong value further down came later. */
        (void)snprintf(file->message, CONFIG_MESSAGE_BYTES,
                       "%.200s:%d: the line is no setting: write key = value, [section], or a "
                       "comment that begins with ; or #",
                       file->path, line);
        return ERR_INVALID;
    }
    if (line < 0 && file->err == OK) {
        (void)snprintf(file->message, CONFIG_MESSAGE_BYTES, "%.200s: out of memory", file->path);
        return ERR_NO_MEMORY;
    }
    return file->err;
}

enum err config_read_file(struct config *config, const char *path, char *message)
{
    ASSERT(config != NULL && path != NULL && message != NULL);
    char *text = NULL;
    size_t size = 0;
    enum err err = config_load(path, &text, &size, message);
    if (err != OK) {
        return err;
    }
    struct config_file file = {
        .config = config,
        .path = path,
        .text = text,
        .lines = calloc((size_t)config_count(config) + 1, sizeof(uint32_t)),
        .message = message,
    };
    if (file.lines == NULL) {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%.200s: out of memory", path);
        err = ERR_NO_MEMORY;
    }
    if (err == OK) {
        err = config_scan(path, text, size, message);
    }
    if (err == OK) {
        err = config_file_parse(&file, false);
    }
    if (err == OK) {
        err = config_file_parse(&file, true);
    }
    free(file.lines);
    free(text);
    return err;
}
