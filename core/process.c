/* From /proc where there is one, else what POSIX knows. */
#include "core/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void process_read_memory(struct process_usage *usage)
{
    unsigned long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return;
    }
    if (fscanf(file, "%llu %llu", &pages, &resident) == 2) {
        uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
        usage->virtual_bytes = pages * page_bytes;
        usage->resident_bytes = resident * page_bytes;
    }
    (void)fclose(file);
}

/* The 22nd word: ticks from the machine's start to the process's. The second word may hold blanks
 * and ends with the last parenthesis. */
static void process_read_age(struct process_usage *usage)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) {
        return;
    }
    const char *at = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    (void)fclose(file);
    for (uint32_t word = 2; word < 22 && at != NULL; word++) {
        at = strchr(at + 1, ' ');
    }
    unsigned long long ticks = 0;
    long per_second = sysconf(_SC_CLK_TCK);
    struct timespec now = {0};
#ifdef CLOCK_BOOTTIME
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
#endif
    if (at != NULL && per_second > 0 && sscanf(at, "%llu", &ticks) == 1) {
        uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
        uint64_t start_ms = ticks * 1000 / (uint64_t)per_second;
        usage->age_ms = now_ms > start_ms ? now_ms - start_ms : 0;
    }
}

static uint64_t process_count_descriptors(void)
{
    static const char path[] = "/proc/self/fd";
    struct stat status;
    if (stat(path, &status) == 0 && status.st_size > 0) {
        return (uint64_t)status.st_size;
    }
    uint64_t count = 0;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(directory);
    return count > 0 ? count - 1 : 0; /* Its own. */
}

void process_usage(struct process_usage *usage)
{
    *usage = (struct process_usage){0};
    process_read_memory(usage);
    process_read_age(usage);
    usage->descriptors_open = process_count_descriptors();
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        usage->descriptors_max = (uint64_t)limit.rlim_cur;
    }
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) == 0) {
        usage->cpu_us =
            ((uint64_t)used.ru_utime.tv_sec + (uint64_t)used.ru_stime.tv_sec) * 1000000 +
            (uint64_t)used.ru_utime.tv_usec + (uint64_t)used.ru_stime.tv_usec;
    }
}
