/* See the header. */
#include "tools/cmd_where.h"

#include "core/assert.h"
#include "tools/cmd.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Whole days up to year 9999: what strptime() and timegm() are good for. */
static const int64_t time_ms_max = INT64_C(253402300799999);

/* "-10m": so long ago. */
static bool where_parse_ago(const char *text, int64_t now_ms, int64_t *time_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

    size_t digits = text[0] == '-' ? strspn(text + 1, "0123456789") : 0;
    char number[16];
    int64_t count;
    if (digits == 0 || digits >= sizeof(number)) {
        return false;
    }
    (void)snprintf(number, sizeof(number), "%.*s", (int)digits, text + 1);
    if (!cmd_parse_number(number, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (strcmp(text + 1 + digits, units[i].unit) == 0) {
            *time_ms = count > now_ms / units[i].ms ? 0 : now_ms - count * units[i].ms;
            return true;
        }
    }
    return false;
}

/* Two digits, at most `max`; -1: there are none. */
static int where_two_digits(const char *text, int max)
{
    if (strspn(text, "0123456789") < 2) {
        return -1;
    }
    int value = (text[0] - '0') * 10 + (text[1] - '0');
    return value <= max ? value : -1;
}

/* "", "Z", "+02:00" in ms east of Greenwich; false: something else. */
static bool where_parse_zone(const char *text, int64_t *east_ms)
{
    *east_ms = 0;
    if (text[0] == '\0' || strcmp(text, "Z") == 0) {
        return true;
    }
    if (strlen(text) != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') {
        return false;
    }
    int hours = where_two_digits(text + 1, 23), minutes = where_two_digits(text + 4, 59);
    *east_ms = ((int64_t)hours * 60 + minutes) * 60000 * (text[0] == '-' ? -1 : 1);
    return hours >= 0 && minutes >= 0;
}

bool cmd_where_parse_time(const char *text, int64_t now_ms, int64_t *time_ms)
{
    struct tm tm = {0};
    int64_t fraction_ms = 0, east_ms = 0;
    if (cmd_parse_number(text, time_ms)) {
        return text[0] != '-';
    }
    if (where_parse_ago(text, now_ms, time_ms)) {
        return true;
    }
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    if (rest != NULL && (*rest == 'T' || *rest == ' ')) {
        rest = strptime(rest + 1, "%H:%M:%S", &tm);
        if (rest != NULL && *rest == '.') {
            size_t digits = strspn(rest + 1, "0123456789");
            for (size_t i = 0; i < 3; i++) {
                fraction_ms = fraction_ms * 10 + (i < digits ? rest[1 + i] - '0' : 0);
            }
            rest = digits > 0 ? rest + 1 + digits : NULL;
        }
    }
    if (rest == NULL || !where_parse_zone(rest, &east_ms)) {
        return false;
    }
    struct tm same = tm;
    int64_t seconds = (int64_t)timegm(&same);
    if (same.tm_mday != tm.tm_mday || same.tm_min != tm.tm_min) {
        return false; /* The 30th of February. */
    }
    *time_ms = seconds * 1000 + fraction_ms - east_ms;
    return *time_ms >= 0;
}

bool cmd_where_parse(const char *text, int64_t now_ms, struct cmd_where *where)
{
    *where = (struct cmd_where){0};
    if (strcmp(text, "start") == 0) {
        return true;
    }
    if (strcmp(text, "end") == 0) {
        where->kind = CMD_WHERE_END;
        return true;
    }
    if (text[0] == '@') {
        where->kind = CMD_WHERE_TIME;
        return cmd_where_parse_time(text + 1, now_ms, &where->number);
    }
    where->kind = text[0] == '-' ? CMD_WHERE_LAST : CMD_WHERE_OFFSET;
    return cmd_parse_number(text[0] == '-' ? text + 1 : text, &where->number) &&
           where->number >= 0 && text[1] != '-';
}

const char *cmd_time_text(int64_t time_ms, char text[CMD_TIME_BYTES])
{
    struct tm tm;
    time_t seconds = (time_t)(time_ms / 1000);
    text[0] = '\0';
    if (time_ms < 0 || time_ms > time_ms_max || gmtime_r(&seconds, &tm) == NULL) {
        return text;
    }
    (void)snprintf(text, CMD_TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (int)(time_ms % 1000));
    return text;
}

int64_t cmd_now_ms(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    ASSERT(result == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
