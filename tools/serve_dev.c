/* See the header. */
#include "tools/serve_dev.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

bool serve_dev_make_directory(char *dir, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, size, "%s/floe-dev-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(dir) != NULL;
}

static int serve_dev_remove_entry(const char *path, const struct stat *stat, int type,
                                  struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

void serve_dev_remove_directory(const char *dir)
{
    (void)nftw(dir, serve_dev_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void serve_dev_say_first_steps(uint16_t port)
{
    char broker[32] = "";
    if (port != 9092) {
        (void)snprintf(broker, sizeof(broker), " -b localhost:%u", port);
    }
    (void)fprintf(stderr,
                  "try:  echo hello | floe produce greetings%s\n"
                  "      floe consume greetings --until end%s\n"
                  "      floe topic usage%s\n",
                  broker, broker, broker);
}
