/* The plan of cores on machines that are only described: nodes, hyper-threads, cpusets, quotas. */
#include "core/topology.h"

#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const machines[] = {
    "numa:1 core:1 pu:1",  "numa:1 core:2 pu:1",  "numa:1 core:2 pu:2",
    "numa:1 core:8 pu:1",  "numa:2 core:2 pu:2",  "numa:4 core:8 pu:1",
    "numa:2 core:32 pu:2", "numa:8 core:64 pu:2", "pack:2 numa:2 core:4 pu:2",
};
/* Of each: CPUs, physical cores, nodes. */
static const uint32_t sizes[][3] = {
    {1, 1, 1},   {2, 2, 1},    {4, 2, 1},      {8, 8, 1},   {8, 4, 2},
    {32, 32, 4}, {128, 64, 2}, {1024, 512, 8}, {32, 16, 4},
};

static struct topology_options defaults(void)
{
    return (struct topology_options){
        .cores = "auto", .numa = true, .memory_total = GIB(1024), .memory_limit = GIB(256)};
}

/* Plans, and checks what holds for every plan. */
static void plan_ok(const struct topology_options *options, const char *machine,
                    struct topology_plan *plan)
{
    char message[256] = "";
    enum err err = topology_plan(options, machine, plan, message);
    assert_string_equal(message, "");
    assert_int_equal(err, OK);
    assert_in_range(plan->core_count, 1, REACTORS_MAX - 1);
    uint64_t limit = options->memory_limit == 0 ? options->memory_total / 4 : options->memory_limit;
    uint64_t sum = plan->meta.memory_bytes;
    for (uint32_t i = 0; i < plan->core_count; i++) {
        const struct topology_core *core = &plan->cores[i];
        assert_true(core->memory_bytes >= MEMORY_LIMIT_MIN);
        assert_true(core->memory_bytes == plan->cores[0].memory_bytes);
        sum += core->memory_bytes;
        for (uint32_t j = 0; plan->pinned && j < i; j++) {
            assert_int_not_equal(core->cpu, plan->cores[j].cpu);
        }
        assert_true(core->numa_node == -1 || (options->numa && plan->pinned));
    }
    assert_true(plan->meta.memory_bytes >= MEMORY_LIMIT_MIN);
    assert_true(sum <= limit && limit - sum < (uint64_t)plan->core_count * BLOCK_SIZE_MIN);
    assert_true(plan->idle_poll_us == 0 || plan->pinned);
}

static void plan_fails(const struct topology_options *options, const char *machine,
                       const char *expected)
{
    struct topology_plan plan;
    char message[256] = "";
    assert_int_equal(topology_plan(options, machine, &plan, message), ERR_INVALID);
    if (strstr(message, expected) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", message, expected);
    }
}

static bool shares_cpu(const struct topology_plan *plan)
{
    for (uint32_t i = 0; i < plan->core_count; i++) {
        if (plan->cores[i].cpu == plan->meta.cpu) {
            return true;
        }
    }
    return false;
}

static void auto_takes_every_physical_core_but_the_metadata_cores(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
        struct topology_options options = defaults();
        struct topology_plan plan;
        plan_ok(&options, machines[i], &plan);
        uint32_t cores = sizes[i][1];
        uint32_t wanted = cores > 4 ? cores - 1 : cores;
        assert_int_equal(plan.core_count, min_u32(wanted, 256));
        assert_true(plan.pinned);
        if (cores > 4) {
            assert_false(shares_cpu(&plan));
        }
    }
}

static void hyper_threads_are_cores_only_when_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
        struct topology_options options = defaults();
        struct topology_plan plan;
        const uint32_t threads = sizes[i][0] / sizes[i][1];
        plan_ok(&options, machines[i], &plan);
        for (uint32_t j = 0; j < plan.core_count; j++) {
            assert_int_equal(plan.cores[j].cpu % threads, 0); /* The first of its core. */
        }
        options.smt = true;
        plan_ok(&options, machines[i], &plan);
        uint32_t wanted = sizes[i][0] > 4 ? sizes[i][0] - 1 : sizes[i][0];
        assert_int_equal(plan.core_count, min_u32(wanted, 256));
    }
}

static void the_metadata_core_shares_only_when_it_must(void **state)
{
    (void)state;
    struct topology_options options = defaults();
    struct topology_plan plan;
    plan_ok(&options, "numa:1 core:2 pu:1", &plan);
    assert_int_equal(plan.core_count, 2);
    assert_int_equal(plan.meta.cpu, plan.cores[1].cpu); /* Nothing is left. */
    assert_int_equal(plan.idle_poll_us, 0);
    plan_ok(&options, "numa:1 core:2 pu:2", &plan);
    assert_int_equal(plan.core_count, 2);
    assert_int_equal(plan.cores[1].cpu, 2);
    assert_int_equal(plan.meta.cpu, 3); /* The sibling of the last core. */
    assert_true(plan.idle_poll_us > 0);
    plan_ok(&options, "numa:1 core:8 pu:1", &plan);
    assert_int_equal(plan.core_count, 7);
    assert_int_equal(plan.meta.cpu, 7);
    options.cores = "2";
    plan_ok(&options, "numa:1 core:4 pu:1", &plan);
    assert_false(shares_cpu(&plan));
    assert_true(plan.idle_poll_us > 0);
}

static void a_count_is_spread_over_the_nodes(void **state)
{
    (void)state;
    static const char *const counts[] = {"4", "8", "16"};
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        struct topology_options options = defaults();
        struct topology_plan plan;
        options.cores = counts[i];
        plan_ok(&options, "numa:4 core:8 pu:1", &plan);
        const uint32_t count = (uint32_t)atoi(counts[i]);
        uint32_t per_node[4] = {0};
        assert_int_equal(plan.core_count, count);
        for (uint32_t j = 0; j < plan.core_count; j++) {
            assert_int_equal(plan.cores[j].numa_node, plan.cores[j].cpu / 8);
            per_node[plan.cores[j].numa_node]++;
        }
        for (uint32_t node = 0; node < 4; node++) {
            assert_int_equal(per_node[node], count / 4);
        }
    }
}

/* Every count on every machine: as many cores, each CPU at most one more time than any other. */
static void more_cores_than_cpus_are_unpinned_and_even(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < ARRAY_COUNT(machines); i++) {
        for (uint32_t count = 1; count <= 256; count = count * 3 / 2 + 1) {
            char text[16];
            (void)snprintf(text, sizeof(text), "%u", count);
            struct topology_options options = defaults();
            struct topology_plan plan;
            options.cores = text;
            plan_ok(&options, machines[i], &plan);
            assert_int_equal(plan.core_count, count);
            assert_int_equal(plan.pinned, count <= sizes[i][1]);
            uint32_t uses[1024] = {0}, least = UINT32_MAX, most = 0;
            for (uint32_t j = 0; j < count; j++) {
                uses[plan.cores[j].cpu]++;
                most = max_u32(most, uses[plan.cores[j].cpu]);
            }
            for (uint32_t j = 0; j < 1024; j++) {
                least = uses[j] == 0 ? least : min_u32(least, uses[j]);
            }
            assert_in_range(most - least, 0, 1);
        }
    }
}

static void a_list_is_exactly_these_cpus(void **state)
{
    (void)state;
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.cores = "0-2,9,40-41";
    plan_ok(&options, "numa:2 core:32 pu:2", &plan);
    const uint32_t expected[] = {0, 1, 2, 9, 40, 41};
    assert_int_equal(plan.core_count, ARRAY_COUNT(expected));
    for (uint32_t i = 0; i < plan.core_count; i++) {
        assert_int_equal(plan.cores[i].cpu, expected[i]);
    }
    assert_int_equal(plan.meta.cpu, 41); /* Not a CPU outside of the list. */
    assert_true(plan.pinned);
    options.cores = "3-3";
    plan_ok(&options, "numa:1 core:4 pu:1", &plan);
    assert_int_equal(plan.core_count, 1);
    assert_int_equal(plan.cores[0].cpu, 3);
    options.cores = "100,2"; /* In any order, on both nodes. */
    plan_ok(&options, "numa:2 core:32 pu:2", &plan);
    assert_int_equal(plan.cores[0].cpu, 2);
    assert_int_equal(plan.cores[0].numa_node, 0);
    assert_int_equal(plan.cores[1].cpu, 100);
    assert_int_equal(plan.cores[1].numa_node, 1);
}

static void only_allowed_cpus_are_used(void **state)
{
    (void)state;
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.cpuset = "0-3,8";
    plan_ok(&options, "numa:4 core:8 pu:1", &plan);
    assert_int_equal(plan.core_count, 4); /* Of five, one is the metadata core's. */
    assert_int_equal(plan.cores[3].cpu, 3);
    assert_int_equal(plan.meta.cpu, 8);
    assert_int_equal(plan.meta.numa_node, 1);
    /* The second thread of a core stands for it where the first is not allowed. */
    options.cpuset = "1,3";
    plan_ok(&options, "numa:1 core:2 pu:2", &plan);
    assert_int_equal(plan.core_count, 2);
    assert_int_equal(plan.cores[0].cpu, 1);
    assert_int_equal(plan.cores[1].cpu, 3);
    assert_int_equal(plan.meta.cpu, 3);
    options.cpuset = "2-3";
    plan_ok(&options, "numa:1 core:2 pu:2", &plan);
    assert_int_equal(plan.core_count, 1);
    assert_int_equal(plan.cores[0].cpu, 2);
    assert_int_equal(plan.meta.cpu, 3);
    options.cpuset = "1-1000"; /* What the machine lacks does not matter. */
    plan_ok(&options, "numa:1 core:2 pu:1", &plan);
    assert_int_equal(plan.core_count, 1);
}

static void a_quota_limits_auto_and_unpins(void **state)
{
    (void)state;

    static const struct {
        uint32_t milli, cores;
        bool pinned;
    } cases[] = {
        {100, 1, false},  {999, 1, false},  {1000, 1, false}, {1500, 1, false}, {2000, 2, false},
        {3999, 3, false}, {7000, 7, false}, {7999, 7, false}, {8000, 7, true},  {64000, 7, true},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct topology_options options = defaults();
        struct topology_plan plan;
        options.cpu_quota_milli = cases[i].milli;
        plan_ok(&options, "numa:2 core:4 pu:1", &plan);
        assert_int_equal(plan.core_count, cases[i].cores);
        assert_int_equal(plan.pinned, cases[i].pinned);
        assert_int_equal(plan.cores[0].numa_node, cases[i].pinned ? 0 : -1);
        assert_int_equal(plan.idle_poll_us, 0);
    }
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.cpu_quota_milli = 1500;
    options.cores = "6"; /* Who asks for a number gets it. */
    plan_ok(&options, "numa:2 core:4 pu:1", &plan);
    assert_int_equal(plan.core_count, 6);
    assert_false(plan.pinned);
    options.cores = "0-1";
    plan_ok(&options, "numa:2 core:4 pu:1", &plan);
    assert_true(plan.pinned);
}

static void dev_is_two_cores_at_most(void **state)
{
    (void)state;
    static const char *const texts[] = {"auto", "1", "2", "8", "0-3"};
    static const uint32_t counts[] = {2, 1, 2, 2, 2};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct topology_options options = defaults();
        struct topology_plan plan;
        options.dev = true;
        options.cores = texts[i];
        plan_ok(&options, "numa:2 core:32 pu:2", &plan);
        assert_int_equal(plan.core_count, counts[i]);
    }
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.dev = true;
    plan_ok(&options, "numa:1 core:1 pu:1", &plan);
    assert_int_equal(plan.core_count, 1);
}

static void without_numa_no_node_is_named(void **state)
{
    (void)state;
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.numa = false;
    plan_ok(&options, "numa:4 core:8 pu:1", &plan);
    for (uint32_t i = 0; i < plan.core_count; i++) {
        assert_int_equal(plan.cores[i].numa_node, -1);
    }
    assert_int_equal(plan.meta.numa_node, -1);
    assert_true(plan.pinned);
}

static void memory_is_a_quarter_split_evenly(void **state)
{
    (void)state;
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.memory_limit = 0;
    options.memory_total = GIB(16);
    options.cores = "4";
    plan_ok(&options, "numa:1 core:8 pu:1", &plan);
    assert_true(plan.meta.memory_bytes == MEMORY_LIMIT_MIN);
    assert_true(plan.cores[0].memory_bytes == (GIB(4) - MEMORY_LIMIT_MIN) / 4);
}

static void little_memory_means_fewer_cores_or_an_error(void **state)
{
    (void)state;
    struct topology_options options = defaults();
    struct topology_plan plan;
    options.memory_limit = MIB(256); /* Three cores and the metadata core. */
    plan_ok(&options, "numa:1 core:8 pu:1", &plan);
    assert_int_equal(plan.core_count, 3);
    options.cores = "3";
    plan_ok(&options, "numa:1 core:8 pu:1", &plan);
    assert_true(plan.cores[0].memory_bytes == MEMORY_LIMIT_MIN);
    options.cores = "4";
    plan_fails(&options, "numa:1 core:8 pu:1",
               "memory.limit = 256MiB is too small for 4 cores: they and the metadata core need "
               "64MiB each. Raise it, or lower cpu.cores");
    options.cores = "auto";
    options.memory_limit = MIB(127);
    plan_fails(&options, "numa:1 core:8 pu:1", "memory.limit = 127MiB is too small for 1 cores");
    options.memory_limit = 0;
    options.memory_total = MIB(400);
    plan_fails(&options, "numa:1 core:8 pu:1", "memory.limit = 100MiB (auto, a quarter) is too");
    options.memory_limit = MIB(512);
    plan_fails(&options, "numa:1 core:8 pu:1",
               "memory.limit = 512MiB is more than the 400MiB of this machine");
}

static void wrong_settings_are_named(void **state)
{
    (void)state;

    static const struct {
        const char *cores, *cpuset, *message;
    } cases[] = {
        {"", NULL, "cpu.cores = \"\" is wrong: give auto, a number of cores, or a list"},
        {"all", NULL, "cpu.cores = \"all\" is wrong"},
        {"0", NULL, "cpu.cores = \"0\" is out of range: give 1 to 256 cores"},
        {"257", NULL, "is out of range"},
        {"99999999999999999999", NULL, "is out of range"},
        {"-1", NULL, "is wrong"},
        {"1-", NULL, "is wrong"},
        {"0-1,", NULL, "is wrong"},
        {"3-1", NULL, "is wrong"},
        {"0,x", NULL, "is wrong"},
        {"0 - 1", NULL, "is wrong"},
        {"0-99999", NULL, "is wrong"},
        {"0-4", NULL,
         "cpu.cores = \"0-4\": CPU 4 is not available to this process (it may use all "
         "of the machine): remove it from the list"},
        {"0-2", "0-1", "CPU 2 is not available to this process (it may use 0-1)"},
        {"auto", "7", "none of the allowed CPUs \"7\" is in this machine"},
        {"auto", "x", "the allowed CPUs \"x\" are not a list such as 0-3,8"},
        {"auto", "", "are not a list"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct topology_options options = defaults();
        options.cores = cases[i].cores;
        options.cpuset = cases[i].cpuset;
        plan_fails(&options, "numa:1 core:4 pu:1", cases[i].message);
    }
    struct topology_options options = defaults();
    plan_fails(&options, "moon:3", "cannot read the CPU topology of moon:3");
    char long_list[2000];
    memset(long_list, '9', sizeof(long_list) - 1);
    long_list[sizeof(long_list) - 1] = '\0';
    options.cores = long_list;
    plan_fails(&options, "numa:1 core:4 pu:1", "is out of range");
}

/* Small machines, each with each cpuset, count and kind: every plan is consistent. */
static void every_small_machine_has_a_plan(void **state)
{
    (void)state;
    static const char *const small[] = {"numa:1 core:4 pu:1", "numa:2 core:2 pu:1",
                                        "numa:1 core:2 pu:2", "numa:2 core:1 pu:2"};
    static const char *const counts[] = {"auto", "1", "2", "3", "4", "5"};
    for (size_t machine = 0; machine < ARRAY_COUNT(small); machine++) {
        for (uint32_t mask = 1; mask < 16; mask++) {
            char cpuset[16] = "";
            for (uint32_t cpu = 0; cpu < 4; cpu++) {
                if ((mask >> cpu & 1) != 0) {
                    (void)snprintf(cpuset + strlen(cpuset), sizeof(cpuset) - strlen(cpuset), "%s%u",
                                   cpuset[0] == '\0' ? "" : ",", cpu);
                }
            }
            for (size_t count = 0; count < ARRAY_COUNT(counts); count++) {
                struct topology_options options = defaults();
                struct topology_plan plan;
                options.cpuset = cpuset;
                options.cores = counts[count];
                options.smt = (mask + count) % 2 == 0;
                plan_ok(&options, small[machine], &plan);
                assert_true((mask >> plan.meta.cpu & 1) != 0);
                for (uint32_t i = 0; i < plan.core_count; i++) {
                    assert_true((mask >> plan.cores[i].cpu & 1) != 0);
                }
            }
        }
    }
}

static void this_machine_can_be_planned_and_pinned(void **state)
{
    (void)state;
    struct topology_options options = {.cores = "auto", .numa = true};
    struct topology_plan plan;
    char cpuset[1024] = "";
    topology_read_machine(&options, cpuset, sizeof(cpuset));
    assert_true(options.memory_total > 0);
    assert_ptr_equal(options.cpuset, cpuset);
    assert_true(strlen(cpuset) > 0);
    options.memory_total = GIB(16); /* A small builder has too little for its cores. */
    plan_ok(&options, NULL, &plan);
    /* In a child: the pin stays with the thread. */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct topology_core nowhere = {.cpu = 4095, .numa_node = -1};
        bool good = topology_pin(&plan.cores[0]) == OK && topology_pin(&nowhere) == ERR_INVALID;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* No room for the list: then nothing is said about CPUs. */
    char small[2];
    topology_read_machine(&options, small, 1);
    assert_null(options.cpuset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_takes_every_physical_core_but_the_metadata_cores),
        cmocka_unit_test(hyper_threads_are_cores_only_when_asked),
        cmocka_unit_test(the_metadata_core_shares_only_when_it_must),
        cmocka_unit_test(a_count_is_spread_over_the_nodes),
        cmocka_unit_test(more_cores_than_cpus_are_unpinned_and_even),
        cmocka_unit_test(a_list_is_exactly_these_cpus),
        cmocka_unit_test(only_allowed_cpus_are_used),
        cmocka_unit_test(a_quota_limits_auto_and_unpins),
        cmocka_unit_test(dev_is_two_cores_at_most),
        cmocka_unit_test(without_numa_no_node_is_named),
        cmocka_unit_test(memory_is_a_quarter_split_evenly),
        cmocka_unit_test(little_memory_means_fewer_cores_or_an_error),
        cmocka_unit_test(wrong_settings_are_named),
        cmocka_unit_test(every_small_machine_has_a_plan),
        cmocka_unit_test(this_machine_can_be_planned_and_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
