/* Operations of the outside world: sockets, files, directories. A caller fills a struct io with one
 * of the io_*() functions, submits it, and gets `done` fired with a result >= 0 or an enum err.
 *
 * The struct, its paths, vectors and buffers belong to the engine from io_submit() until `done`
 * fires. Nothing is cancelled: an operation ends, or its socket is shut down. Engines: uring, posix
 * (the fallback, and the readable reference), sim (tests/sim: virtual clock, disk and network).
 *
 * What each result means:
 *
 *     IO_LISTEN    a listening descriptor         IO_READ   bytes; fewer only at the end of file
 *     IO_ACCEPT    a connected descriptor         IO_WRITE  size: a short write is ERR_IO
 *     IO_CONNECT   a connected descriptor         IO_SYNC   0: all completed writes are durable
 *     IO_RECV      bytes; 0: the peer has ended   IO_OPEN   a descriptor
 *     IO_SEND      all bytes of all vectors       IO_CLOSE  0, always
 *     IO_LIST      bytes of names filled          others    0
 *     IO_ALLOCATE  0: [position, position + size) are written zeros, file as large, durable
 *     IO_TRUNCATE  0: the file ends at `size`, where it was longer
 *
 * What is done to files and directories runs in a helper thread and may take long, but for READ,
 * WRITE and SYNC, which never block the reactor either, and CLOSE, which is done at once. */
#pragma once

#include "core/completion.h"
#include "core/err.h"

#include <sys/uio.h>

enum io_op {
    IO_NONE,
    IO_LISTEN,
    IO_ACCEPT,
    IO_CONNECT,
    IO_RECV,
    IO_SEND,
    IO_CLOSE,
    IO_READ,
    IO_WRITE,
    IO_SYNC,
    IO_OPEN,
    IO_ALLOCATE,
    IO_TRUNCATE,
    IO_RENAME,
    IO_UNLINK,
    IO_MKDIR,
    IO_SYNC_DIR,
    IO_LIST,
    IO_STAT,
    IO_SPACE,
    IO_LOCK,
};

enum io_flag {
    IO_OPEN_WRITE = 1 << 0,     /* Read and write; else read only. */
    IO_OPEN_CREATE = 1 << 1,    /* Create when missing. */
    IO_OPEN_EXCLUSIVE = 1 << 2, /* With CREATE: ERR_EXISTS when present. */
    IO_OPEN_DIRECT = 1 << 3,   /* O_DIRECT; silently buffered where refused (see io.open.direct). */
    IO_WRITE_DURABLE = 1 << 4, /* This write is durable when it completes (RWF_DSYNC or FUA). */
    IO_WRITE_CACHED = 1 << 5,  /* Into the page cache: small, and never with DURABLE. Done where the
                                  batch is submitted: a copy, and faster than to ask for it. */
    IO_LOCK_SHARED = 1 << 6,   /* Beside others that are shared; else alone. */
    IO_OPEN_MAPPED = 1 << 7,   /* With WRITE, instead of DIRECT: writes are copies; see io_map.h. */
};

/* An IPv4 or IPv6 address; 4 in 6 is stored as 4. */
struct io_address {
    uint8_t bytes[16]; /* Network order; the first 4 when family is 4. */
    uint16_t port;
    uint8_t family; /* 4 or 6; 0 = unknown. */
};

struct io {
    struct completion done;
    struct io *next; /* In the list of whoever owns the io now. */
    enum io_op op;
    int fd;
    uint32_t flags; /* enum io_flag */

    union {
        struct {
            struct io_address address; /* Port 0 is replaced by the chosen one. */
            bool shared;               /* SO_REUSEPORT: several listeners of ours on one port. */
            bool first;    /* Set by the caller after io_listen(): the first of them, so a port that
                            somebody else shares is ERR_ADDRESS_IN_USE, too. */
            bool six_only; /* As well: [::] is not the addresses of IPv4. */
        } listen;

        struct {
            struct io_address address;
        } connect;

        struct {
            uint8_t
                *data; /* NULL: the engine lends a buffer at completion, see io_recv_release(). */
            uint32_t size;
            uint32_t lent; /* Engine: 1 + index of the lent buffer, 0 = none. */
            bool more;     /* Out: there is more at hand already, as far as the engine can tell. */
        } recv;

        struct {
            struct iovec *vectors; /* Consumed: the engine changes them as it goes. */
            uint32_t count;
        } send;

        struct {
            uint8_t *data;
            uint32_t size;
            uint64_t position;
        } read;

        struct {
            const uint8_t *data;
            uint32_t size;
            uint64_t position;
        } write;

        struct {
            const char *path;
            bool direct; /* Out: O_DIRECT holds; buffers, sizes and positions are multiples of 4096.
                          */
            uint64_t flush_domain; /* Out: a SYNC of any file of this domain makes durable what was
                                      written, directly and onto durable blocks, to all of them.
                                      0: of this file alone. */
        } open;

        struct {
            uint64_t position, size;
        } allocate;

        struct {
            uint64_t size;
        } truncate;

        struct {
            const char *from, *to;
        } rename;

        struct {
            const char *path; /* UNLINK, MKDIR (parents must exist), SYNC_DIR. */
        } path;

        struct {
            const char *path;
            char *names; /* Out: NUL-terminated names, a directory's name ends in '/'. */
            uint32_t size;
            uint32_t skip;  /* How many names to pass over: to go on when `more` was set. */
            uint32_t count; /* Out: names filled. */
            bool more;      /* Out: names did not fit. */
        } list;

        struct {
            const char *path; /* ERR_NOT_FOUND when there is none. */
            uint64_t size;    /* Out. */
            uint64_t taken;   /* Out: bytes of the disk: less than `size` where there are holes. */
            uint64_t device;  /* Out: st_dev. */
            bool directory;   /* Out. */
        } stat;

        struct {
            const char *path;
            uint64_t free_bytes, total_bytes; /* Out: of the file system, for an ordinary user. */
        } space;
    };

    uint64_t engine[4]; /* The engine's own notes. */
};

/* Each prepares `io`; `done.fn` is set by the caller through completion_init() before. */
void io_listen(struct io *io, const struct io_address *address, bool shared);
void io_accept(struct io *io, int fd);
void io_connect(struct io *io, const struct io_address *address);
void io_recv(struct io *io, int fd, uint8_t *data, uint32_t size); /* data NULL: lent; size = 0. */
void io_send(struct io *io, int fd, struct iovec *vectors, uint32_t count);
void io_close(struct io *io, int fd);
void io_read(struct io *io, int fd, uint8_t *data, uint32_t size, uint64_t position);
void io_write(struct io *io, int fd, const uint8_t *data, uint32_t size, uint64_t position,
              uint32_t flags);
void io_sync(struct io *io, int fd);
void io_open(struct io *io, const char *path, uint32_t flags);
void io_allocate(struct io *io, int fd, uint64_t position, uint64_t size);
void io_truncate(struct io *io, int fd, uint64_t size); /* Never makes a file longer. */
void io_rename(struct io *io, const char *from, const char *to);
void io_unlink(struct io *io, const char *path);
void io_mkdir(struct io *io, const char *path);
void io_sync_dir(struct io *io, const char *path);
void io_list(struct io *io, const char *path, char *names, uint32_t size, uint32_t skip);
void io_stat(struct io *io, const char *path);
void io_space(struct io *io, const char *path);
void io_lock(struct io *io, int fd, uint32_t flags); /* flock, without waiting: ERR_BUSY. */

/* Hands `io` to the engine; it enters the kernel with the rest of the turn. */
void io_submit(struct reactor *reactor, struct io *io);

/* Gives the lent buffer of a completed IO_RECV back; a no-op if none was lent. Required before the
 * io is used again. Never keep a lent buffer over a wait: the ring is shared by all connections. */
void io_recv_release(struct reactor *reactor, struct io *io);

/* Ends both directions now: a pending RECV completes with 0 or an err. The descriptor stays open.
 */
void io_socket_shutdown(struct reactor *reactor, int fd);

/* Receives no more than what has come: that is still received, and then the end, by a pending RECV
 * as well. It can still be sent. */
void io_socket_end_receive(struct reactor *reactor, int fd);

/* How much of the kernel's memory a connected socket may take, about: for sends that are not on the
 * wire yet, and for what was received and not read; 0: as much as the kernel likes. */
void io_socket_limit(struct reactor *reactor, int fd, uint32_t unsent_max, uint32_t received_max);

/* The local (or peer's) address of a connected or listening socket. */
NODISCARD enum err io_socket_local(struct reactor *reactor, int fd, struct io_address *address);
NODISCARD enum err io_socket_peer(struct reactor *reactor, int fd, struct io_address *address);

/* "127.0.0.1:9092", "[::1]:9092". Returns `text`, of at least IO_ADDRESS_TEXT_BYTES. */
enum { IO_ADDRESS_TEXT_BYTES = 64 };

char *io_address_text(const struct io_address *address, char *text);

/* Parses a numeric "host:port", "[v6]:port"; "localhost" is 127.0.0.1, an empty host 0.0.0.0. */
NODISCARD enum err io_address_parse(const char *text, struct io_address *address);

/* An errno value (positive) as an err, where no operation of ours met it; see io_op_err(). */
enum err io_err_from_errno(int number);
