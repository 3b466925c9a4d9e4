/* The simulated world's insides, shared by io_engine_sim.c, sim_effect.c and
 * sim_node.c. */
#pragma once

#include "tests/sim/io_engine_sim.h"

#include <setjmp.h>

enum {
    SIM_NODES_MAX = 16,
    SIM_REACTORS_MAX = 16, /* Of one node. */
    SIM_TURN_NS_MAX = 20000,
    SIM_BLOCK_BYTES = 4096, /* What O_DIRECT wants. */
    SIM_MEMORY_BYTES = 64 << 20,
};

enum { SIM_PANIC_BYTES = 256 };

enum { NOTE_DUE, NOTE_MOMENT, NOTE_CRC, NOTE_STATE };

enum sim_fd_kind {
    SIM_FD_FREE,
    SIM_FD_FILE,
    SIM_FD_SOCKET,
};

struct sim_fd {
    enum sim_fd_kind kind;
    int32_t number; /* Inode or socket. */
    bool write, direct, locked, shared;
    enum sim_files files; /* By the name under which it was opened. */
};

struct sim_io_list {
    struct io *head, *tail;
};

/* One reactor's side of the engine. */
struct sim_engine {
    struct sim_node *node;
    struct reactor *reactor;
    struct sim_io_list done;
    uint64_t idle_until_ns; /* What the last poll would have waited for. */
    uint8_t *buffers;
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
};

struct sim_node {
    struct sim_world *world;
    uint32_t number;
    struct disk *disk;
    struct sim_disk_manners manners;
    struct process *process;
    bool alive, crashed;
    uint64_t crash_in; /* 0: not armed. */
    uint64_t events, faults, slow;
    struct sim_fd *fds;
    uint32_t fd_count;
    struct reactor *reactors[SIM_REACTORS_MAX];
    struct sim_engine *engines[SIM_REACTORS_MAX];
    uint32_t reactor_count;
    jmp_buf escape; /* Where sim_execute() and a panic go; set while a turn runs. */
    char panic[SIM_PANIC_BYTES];
};

struct sim_world {
    struct prng prng, scenario;
    uint64_t now_ns, wall_offset_ms;
    uint64_t trace; /* Over every operation on a disk: when, what, its result. */
    struct network *network;
    struct sim_node *nodes[SIM_NODES_MAX];
    uint32_t node_count;
    struct io **flying;
    uint32_t flying_count, flying_capacity;
};

/* sim_node.c: whose turn it is; NULL: nobody's. */
void sim_node_turns(struct sim_node *node);

/* sim_effect.c */
struct sim_fd *sim_fd(struct sim_node *node, int fd);
int32_t sim_fd_add(struct sim_node *node, const struct sim_fd *entry);
struct disk_write sim_disk_write(struct sim_node *node, const struct io *io);

/* The operation, no socket's but IO_CLOSE, takes effect; its result. */
int32_t sim_effect(struct sim_node *node, struct io *io);
