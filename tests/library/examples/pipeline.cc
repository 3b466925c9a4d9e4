// Many partitions, one round to the disk: appends are submitted first and waited for afterwards.
// Then several threads share one handle, and what they append at the same time is flushed together.
//
//     c++ -std=c++17 pipeline.cc -o pipeline $(pkg-config --cflags --libs libfloe) -pthread
//     ./pipeline data
#include <floe.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace
{

void need(int result, const char *what)
{
    if (result != FLOE_OK) {
        std::fprintf(stderr, "%s: %s\n", what, floe_error_text(result));
        std::exit(1);
    }
}

floe_record record_of(const std::string &value)
{
    floe_record record{};
    record.value = value.data();
    record.value_size = value.size();
    record.timestamp_ms = FLOE_NOW;
    return record;
}

} // namespace

int main(int argc, char **argv)
{
    floe_options options = FLOE_OPTIONS;
    options.shared = 1;
    char why[FLOE_MESSAGE_BYTES];
    floe *log = nullptr;
    if (floe_open(argc > 1 ? argv[1] : "data", &options, &log, why, sizeof(why)) != FLOE_OK) {
        std::fprintf(stderr, "%s\n", why);
        return 1;
    }
    constexpr uint32_t partition_count = 8;
    std::vector<floe_partition *> partitions(partition_count);
    for (uint32_t i = 0; i < partition_count; i++) {
        need(floe_partition_open(log, "events", i, nullptr, &partitions[i]), "open");
    }

    std::vector<floe_pending *> appends;
    for (floe_partition *partition : partitions) {
        const std::string value = "submitted";
        const floe_record record = record_of(value);
        floe_pending *append = nullptr;
        need(floe_append_submit(partition, &record, 1, &append), "submit");
        appends.push_back(append);
    }
    for (floe_pending *append : appends) {
        need(floe_append_wait(append, nullptr), "wait");
    }

    std::atomic<uint64_t> appended{0};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 4; i++) {
        threads.emplace_back([&, i] {
            for (uint32_t n = 0; n < 25; n++) {
                const std::string value = "thread " + std::to_string(i);
                const floe_record record = record_of(value);
                need(floe_append(partitions[0], &record, nullptr), "append");
                appended++;
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }

    floe_reader *reader = nullptr;
    floe_view view;
    uint64_t read = 0;
    need(floe_reader_open(partitions[0], FLOE_START, &reader), "reader");
    while (floe_reader_next(reader, &view) == FLOE_OK) {
        read++;
    }
    std::printf("appended %llu read %llu\n", static_cast<unsigned long long>(appended + 1),
                static_cast<unsigned long long>(read));
    need(floe_close(log), "close");
    return read >= appended + 1 ? 0 : 1;
}
