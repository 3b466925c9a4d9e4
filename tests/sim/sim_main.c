/* floe_sim: seed after seed through the simulator.
 *
 *     floe_sim [--first SEED] [--seeds N] [--mutant NAME] [--verbose]
 *              [--directed journal-rot|journal-fails|file-rot] [--every-step [--at EVENT]]
 *
 * With --every-step a seed is a script, one life, which crashes at its first I/O event, then at its
 * second, and so on to its end; at each by a power cut and by a kill.
 *
 * Ends with one line of counts and exit code 0, or with the seed that failed, why, the line that
 * runs it again, and exit code 1. The seeds run in a child process, so that whatever ends it, an
 * assertion or a sanitizer, the parent still says which seed it was. */
#include "core/base.h"
#include "core/log.h"
#include "tests/sim/mutant.h"
#include "tests/sim/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    SEEDS_DEFAULT = 100,
    /* From so many seeds on everything that happens sometimes must have happened. */
    SEEDS_TELLING = 500,
    PROGRESS_STEP = 10,
    AGAIN_EVERY = 100, /* So many seeds run twice. */
};

struct arguments {
    uint64_t first, seeds, at;
    const char *mutant, *directed_name;
    enum sim_directed directed;
    bool verbose, every_step;
};

/* Shared with the child. */
struct progress {
    uint64_t seed, done;
    uint64_t at; /* Of a script: the event. */
    bool said;   /* The child has said what failed. */
};

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0;
}

static bool parse_directed(const char *name, struct arguments *arguments)
{
    static const char *const names[] = {"", "journal-rot", "journal-fails", "file-rot"};
    for (uint32_t i = 1; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            arguments->directed_name = names[i];
            arguments->directed = (enum sim_directed)i;
            return true;
        }
    }
    return false;
}

static bool parse_arguments(int count, char **values, struct arguments *arguments)
{
    *arguments = (struct arguments){.first = 1, .seeds = SEEDS_DEFAULT};
    for (int i = 1; i < count; i++) {
        const char *next = i + 1 < count ? values[i + 1] : "";
        bool good = true;
        if (strcmp(values[i], "--verbose") == 0) {
            arguments->verbose = true;
            continue;
        }
        if (strcmp(values[i], "--every-step") == 0) {
            arguments->every_step = true;
            continue;
        }
        if (strcmp(values[i], "--first") == 0) {
            good = parse_number(next, &arguments->first);
        } else if (strcmp(values[i], "--seeds") == 0) {
            good = parse_number(next, &arguments->seeds) && arguments->seeds > 0;
        } else if (strcmp(values[i], "--at") == 0) {
            good = parse_number(next, &arguments->at) && arguments->at > 0;
        } else if (strcmp(values[i], "--directed") == 0) {
            good = parse_directed(next, arguments);
        } else if (strcmp(values[i], "--mutant") == 0) {
            arguments->mutant = next;
            good = next[0] != 0;
        } else {
            good = false;
        }
        if (!good) {
            return false;
        }
        i++;
    }
    return true;
}

static void say_failure(const struct arguments *arguments, const struct progress *progress,
                        const char *what)
{
    printf("seed %" PRIu64 " failed after %" PRIu64 " good ones: %s\n", progress->seed,
           progress->done, what);
    printf("again: floe_sim --first %" PRIu64 " --seeds 1%s%s --verbose", progress->seed,
           arguments->mutant != NULL ? " --mutant " : "",
           arguments->mutant != NULL ? arguments->mutant : "");
    if (arguments->directed_name != NULL) {
        printf(" --directed %s", arguments->directed_name);
    }
    if (arguments->every_step) {
        printf(" --every-step --at %" PRIu64, progress->at);
    }
    printf("\n");
    (void)fflush(stdout);
}

/* Returns how many never happened. */
static uint32_t say_counts(const struct sim_counts *counts, bool telling)
{
    uint32_t missing = 0;
    printf("%" PRIu64 " seeds (%" PRIu64 " with the real map), %" PRIu64 " crashes (%" PRIu64
           " power cuts), %" PRIu64 " acked appends, %" PRIu64 " read back, %" PRIu64
           " recoveries, %" PRIu64 " rolls, %" PRIu64 " looks inside",
           counts->seeds, counts->real, counts->crashes, counts->power_cuts, counts->acked,
           counts->read, counts->recoveries, counts->rolls, counts->looks);

#define X(name, text)                                                                              \
    printf(", %" PRIu64 " " text, counts->name);                                                   \
    missing += counts->name == 0;
    SIM_SOMETIMES(X)
#undef X
    missing = telling ? missing : 0;
    printf(", %u failures\n", missing);
    if (missing > 0) {
        printf("what should happen sometimes never did: the simulator looks away\n");
    }
    return missing;
}

/* The same seed must be the same run. */
static void run_again(const struct sim_options *options, struct sim_result *result)
{
    struct sim_counts unused = {0};
    struct sim_options silent = *options;
    uint64_t digest = result->digest;
    silent.verbose = false;
    sim_run(&silent, &unused, result);
    if (result->digest != digest) {
        result->failed = true;
        (void)snprintf(result->text, sizeof(result->text), "the same seed is not the same run");
    }
}

/* One script: crashes at every event of its life, or at arguments->at. */
static void run_script(const struct arguments *arguments, struct progress *progress,
                       struct sim_counts *counts, struct sim_result *result)
{
    uint64_t at = arguments->at > 0 ? arguments->at : 1;
    do {
        for (uint32_t power = 0; power < 2 && !result->failed; power++) {
            progress->at = at;
            struct sim_options options = {.seed = progress->seed,
                                          .verbose = arguments->verbose,
                                          .script_at = at,
                                          .script_power = power == 1};
            sim_run(&options, counts, result);
        }
        at++;
    } while (!result->failed && !result->script_over && arguments->at == 0);
}

static void run_seed(const struct arguments *arguments, struct progress *progress,
                     struct sim_counts *counts, struct sim_result *result)
{
    *result = (struct sim_result){0};
    if (arguments->every_step) {
        run_script(arguments, progress, counts, result);
        return;
    }
    struct sim_options options = {
        .seed = progress->seed, .directed = arguments->directed, .verbose = arguments->verbose};
    sim_run(&options, counts, result);
    if (progress->done % AGAIN_EVERY == 0 && !result->failed) {
        run_again(&options, result);
    }
}

static int run_seeds(const struct arguments *arguments, struct progress *progress)
{
    struct sim_counts counts = {0};
    struct sim_result result;
    bool terminal = isatty(STDOUT_FILENO) == 1 && !arguments->verbose;
    for (uint64_t i = 0; i < arguments->seeds; i++) {
        progress->seed = arguments->first + i;
        run_seed(arguments, progress, &counts, &result);
        if (terminal && (i % PROGRESS_STEP == 0 || result.failed)) {
            printf("\r%" PRIu64 " of %" PRIu64 " seeds\r", i + 1, arguments->seeds);
            (void)fflush(stdout);
        }
        if (result.failed) {
            say_failure(arguments, progress, result.text);
            progress->said = true;
            return EXIT_FAILURE;
        }
        progress->done++;
    }
    if (arguments->verbose) {
        cover_print();
    }
    bool telling = arguments->seeds >= SEEDS_TELLING && arguments->mutant == NULL &&
                   arguments->directed == DIRECTED_NONE && !arguments->every_step;
    if (say_counts(&counts, telling) > 0) {
        progress->said = true;
        return EXIT_FAILURE;
    }
    if (arguments->mutant != NULL && mutant_hits() == 0) {
        printf("no code asked for the mutant \"%s\"\n", arguments->mutant);
    }
    return EXIT_SUCCESS;
}

static void log_nothing(void *context, const char *line, uint32_t size)
{
    (void)context;
    (void)line;
    (void)size;
}

int main(int count, char **values)
{
    struct arguments arguments;
    if (!parse_arguments(count, values, &arguments)) {
        (void)fprintf(stderr,
                      "usage: floe_sim [--first SEED] [--seeds N] [--mutant NAME] [--verbose] "
                      "[--directed journal-rot|journal-fails|file-rot] "
                      "[--every-step [--at EVENT]]\n");
        return EXIT_USAGE;
    }
    struct progress *progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED) {
        perror("floe_sim");
        return EXIT_FAILURE;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    mutant_choose(arguments.mutant);
    if (!arguments.verbose) {
        log_set_sink(log_nothing, NULL);
    }
    pid_t child = fork();
    if (child == 0) {
        return run_seeds(&arguments, progress);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("floe_sim");
        return EXIT_FAILURE;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) {
        return EXIT_SUCCESS;
    }
    if (!progress->said) {
        say_failure(&arguments, progress, "the process died, see above");
    }
    return EXIT_FAILURE;
}
