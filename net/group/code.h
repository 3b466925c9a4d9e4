/* What a group says to a wish; each protocol has its own words for it. Not errors of the machine:
 * most of them are the ordinary course of a rebalance. */
#pragma once

enum group_code {
    GROUP_OK,
    GROUP_CANCELED,        /* Nobody waits for the answer any more. */
    GROUP_NOT_AVAILABLE,   /* This core serves no groups now; look again. */
    GROUP_LOADING,         /* The log is being read, or could not be. */
    GROUP_INVALID_ID,      /* The group's name, or a member's, is empty or too long. */
    GROUP_UNKNOWN_MEMBER,  /* Or it has left, or was silent for too long. */
    GROUP_FENCED_INSTANCE, /* A newer member has this instance id. */
    GROUP_ILLEGAL_GENERATION,
    GROUP_REBALANCING,      /* Join again. */
    GROUP_MEMBER_ID_NEEDED, /* Join again with the id of the answer. */
    GROUP_INCONSISTENT,     /* No protocol that every member knows, or another type. */
    GROUP_INVALID_SESSION,  /* The session timeout is out of bounds. */
    GROUP_FULL,             /* Members, or the bytes that they may bring. */
    GROUP_NOT_FOUND,
    GROUP_EXISTS,
    GROUP_NOT_EMPTY,
    GROUP_SUBSCRIBED,     /* A member reads the topic. */
    GROUP_METADATA_LARGE, /* Of a committed offset. */
    GROUP_TOO_LARGE,      /* The assignments of all members together. */
    GROUP_LIMIT,          /* Groups or offsets: of this core, or of the group. */
    GROUP_TOPIC_UNKNOWN,  /* For the door's use: the topic of an offset. */
    GROUP_STOPPING,       /* As well: the server is; the group was not asked. */
    GROUP_CODE_COUNT,
};
