/* hiredis as a command; see README.md for what each action prints. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 48 };

static redisContext *context;
static const char *key;

static redisReply *check(void *reply)
{
    redisReply *it = reply;
    if (it == NULL || it->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "%s\n", it == NULL ? context->errstr : it->str);
        exit(1);
    }
    return it;
}

/* Arrays of [ID, [field, value]]. */
static void show(const redisReply *entries)
{
    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *entry = entries->element[i];
        printf("%s %s\n", entry->element[0]->str, entry->element[1]->element[1]->str);
    }
}

static void pipeline(void)
{
    redisReply *reply;
    for (int n = 1; n <= COUNT; n++) {
        redisAppendCommand(context, "XADD %s %d-1 value v%d", key, n, n);
    }
    for (int n = 1; n <= COUNT && redisGetReply(context, (void **)&reply) == REDIS_OK; n++) {
        printf("%s\n", check(reply)->str);
    }
}

static void write_all(void)
{
    for (int n = 1; n <= COUNT; n++) {
        printf("%s\n", check(redisCommand(context, "XADD %s %d-1 value v%d", key, n, n))->str);
    }
}

static void admin(void)
{
    const redisReply *info = check(redisCommand(context, "INFO"));
    const char *name = strstr(info->str, "server_name:floe");
    const redisReply *stream = check(redisCommand(context, "XINFO STREAM %s", key));
    printf("%s ", name == NULL ? "?" : "floe");
    printf("%s ", check(redisCommand(context, "TYPE %s", key))->str);
    printf("%lld ", stream->element[1]->integer);
    printf("%lld ", check(redisCommand(context, "DEL %s", key))->integer);
    printf("%lld\n", check(redisCommand(context, "EXISTS %s", key))->integer);
}

static void binary(void)
{
    char value[256];
    for (int i = 0; i < 256; i++) {
        value[i] = (char)i;
    }
    check(redisCommand(context, "XADD %s 1-1 value %b", key, value, sizeof(value)));
    const redisReply *read = check(redisCommand(context, "XRANGE %s - +", key));
    const redisReply *found = read->element[0]->element[1]->element[1];
    for (size_t i = 0; i < found->len; i++) {
        printf("%02x", (unsigned char)found->str[i]);
    }
    printf("\n");
}

static void groups(void)
{
    static const char *const pending = "XPENDING %s g";
    check(redisCommand(context, "XGROUP CREATE %s g 0", key));
    show(check(redisCommand(context, "XREADGROUP GROUP g me COUNT 3 STREAMS %s >", key))
             ->element[0]
             ->element[1]);
    printf("pending %lld\n", check(redisCommand(context, pending, key))->element[0]->integer);
    printf("acked %lld\n", check(redisCommand(context, "XACK %s g 1-1 2-1 3-1", key))->integer);
    printf("pending %lld\n", check(redisCommand(context, pending, key))->element[0]->integer);
}

static void run(const char *action)
{
    if (strcmp(action, "connect") == 0) {
        printf("%s\n", check(redisCommand(context, "PING"))->str);
    } else if (strcmp(action, "write") == 0) {
        write_all();
    } else if (strcmp(action, "pipeline") == 0) {
        pipeline();
    } else if (strcmp(action, "range") == 0) {
        show(check(redisCommand(context, "XRANGE %s - +", key)));
    } else if (strcmp(action, "block") == 0) {
        show(check(redisCommand(context, "XREAD BLOCK 30000 STREAMS %s 99-0", key))
                 ->element[0]
                 ->element[1]);
    } else if (strcmp(action, "trim") == 0) {
        check(redisCommand(context, "XTRIM %s MAXLEN 5", key));
        printf("%lld\n", check(redisCommand(context, "XLEN %s", key))->integer);
    } else if (strcmp(action, "admin") == 0) {
        admin();
    } else if (strcmp(action, "binary") == 0) {
        binary();
    } else if (strcmp(action, "groups") == 0) {
        groups();
    }
}

int main(int argc, char **argv)
{
    char *colon = argc < 4 ? NULL : strchr(argv[2], ':');
    if (colon == NULL) {
        return 2;
    }
    *colon = 0;
    key = argv[3];
    context = redisConnect(argv[2], atoi(colon + 1));
    if (context == NULL || context->err) {
        return 1;
    }
    run(argv[1]);
    redisFree(context);
    return 0;
}
