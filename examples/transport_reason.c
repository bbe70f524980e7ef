/* What the reasons of the transport mean, for people, and their names. */
#include "transport.h"

const char *transport_reason_text(enum transport_reason reason)
{
    switch (reason) {
    case TRANSPORT_NONE:
        return "connected";
    case TRANSPORT_NETWORK:
        return "the network refused or broke the connection";
    case TRANSPORT_CLOSED:
        return "the other side closed the connection";
    case TRANSPORT_TIMEOUT:
        return "the other side said or took nothing in time";
    case TRANSPORT_MAGIC:
        return "the other side does not speak this protocol";
    case TRANSPORT_VERSION:
        return "the other side speaks another version of the protocol";
    case TRANSPORT_CLUSTER:
        return "the other side belongs to another cluster";
    case TRANSPORT_IDENTITY:
        return "the other side is not the server it should be, or looks for another";
    case TRANSPORT_LENGTH:
        return "a size is above its limit or does not add up";
    case TRANSPORT_CHECKSUM:
        return "bytes were damaged on the way";
    case TRANSPORT_MESSAGE:
        return "a message cannot be decoded";
    case TRANSPORT_FOREIGN:
        return "a message is not from or to the servers of its connection";
    case TRANSPORT_PLAIN:
        return "only one of the two sides has a secret to authenticate with";
    case TRANSPORT_SECRET:
        return "the other side has another secret";
    case TRANSPORT_SEAL:
        return "bytes were changed, repeated or slipped in on the way";
    case TRANSPORT_LIMIT:
        return "too many connections";
    case TRANSPORT_REPLACED:
        return "replaced by a newer connection or address";
    case TRANSPORT_MEMORY:
        return "no memory or no random bytes for the connection";
    case TRANSPORT_REASONS:
        break;
    }
    return "unknown reason";
}

const char *transport_reason_name(enum transport_reason reason)
{
    static const char *const names[TRANSPORT_REASONS] = {
        [TRANSPORT_NONE] = "none",         [TRANSPORT_NETWORK] = "network",
        [TRANSPORT_CLOSED] = "closed",     [TRANSPORT_TIMEOUT] = "timeout",
        [TRANSPORT_MAGIC] = "magic",       [TRANSPORT_VERSION] = "version",
        [TRANSPORT_CLUSTER] = "cluster",   [TRANSPORT_IDENTITY] = "identity",
        [TRANSPORT_LENGTH] = "length",     [TRANSPORT_CHECKSUM] = "checksum",
        [TRANSPORT_MESSAGE] = "message",   [TRANSPORT_FOREIGN] = "foreign",
        [TRANSPORT_PLAIN] = "plain",       [TRANSPORT_SECRET] = "secret",
        [TRANSPORT_SEAL] = "seal",         [TRANSPORT_LIMIT] = "limit",
        [TRANSPORT_REPLACED] = "replaced", [TRANSPORT_MEMORY] = "memory"};
    return (unsigned)reason < TRANSPORT_REASONS && names[reason] ? names[reason] : "unknown";
}
