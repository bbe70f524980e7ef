/*
 * Looks names up beside the loop: asking the system for the address of a name may block for many
 * seconds, and a server that does nothing else meanwhile loses its lead. A thread asks instead, and
 * again after a pause where a name is not known yet (a server that is going to be added may have a
 * name before it has an address); its answers come through a mailbox (mailbox.h) to the thread of
 * the loop, on which done is called.
 *
 * All functions are for the thread of the loop.
 */
#ifndef KEELSON_RESOLVER_H
#define KEELSON_RESOLVER_H

#include <stdint.h>

#include "address.h"

struct io;
struct loop;
struct resolver;

#define RESOLVER_TEXT_MAX      264u /* a name, a port and a zero byte */
#define RESOLVER_QUESTIONS_MAX 64u

/*
 * The name that was asked for under tag is known: numeric is its address as address_format writes
 * it. May call resolver_ask and resolver_forget, not resolver_free.
 */
typedef void resolver_done(void *ctx, uint64_t tag, const char *numeric);

/* 0 means the default. */
struct resolver_options {
    const struct io *io; /* mandatory; stays until the process ends, as the thread may */
    struct loop *loop;   /* mandatory; outlives the resolver */
    resolver_done *done; /* mandatory */
    void *ctx;           /* first argument of done */
    unsigned pause_ms;   /* before a name is asked for again; doubles up to 32 times that. 0: 500 */
    /* Asks the system, on the thread; 0 or a negated errno. Null: address_parse. */
    int (*look_up)(void *ctx, const char *text, struct address *out);
    void *look_up_ctx; /* stays likewise */
};

/* Starts the thread. 0 and *out; -EINVAL, -ENOMEM, or a negated errno. */
int resolver_new(const struct resolver_options *options, struct resolver **out);

/*
 * Ends it; null is allowed. Waits for nobody: a thread that is asking ends when it is told. No done
 * is called any more.
 */
void resolver_free(struct resolver *resolver);

/*
 * Asks for "NAME:PORT" under tag, instead of what was asked for under it before. done is called
 * once, in a later turn of the loop; never while the name is not known. 0; -EINVAL: the text is too
 * long; -ENOSPC: too many questions.
 */
int resolver_ask(struct resolver *resolver, uint64_t tag, const char *text);

/* Takes a question back: done is not called for it any more. Unknown: nothing happens. */
void resolver_forget(struct resolver *resolver, uint64_t tag);

#endif
