/*
 * A mailbox through which other threads propose. A node is used by one thread (raft.h, Threads);
 * every other thread posts what it wants proposed, and the thread of the node's event loop takes
 * it, proposes it, and answers when its fate is known.
 *
 *     any thread:    status = mailbox_post(box, data, size, done, ctx)      done is called later
 *                or  status = mailbox_ask(box, data, size, &ticket)
 *                    status = mailbox_wait(ticket, timeout_ms, &answer)
 *                    mailbox_forget(ticket)
 *
 *     the loop:      loop_add(loop, mailbox_fd(box), LOOP_READ, on_mail, host)
 *                    on_mail:  while ((letter = mailbox_take(box)))
 *                                  raft_propose(node, letter->data, letter->size, &index, &term)
 *                                  and keep the letter (pending.h), or answer why not
 *                    when it is applied, dropped or unknown:
 *                              mailbox_answer(box, letter, status, data, size)
 *
 *     the end:       mailbox_close(box)      every letter is answered; what comes later is refused
 *                    ... the other threads end ...
 *                    mailbox_free(box)
 *
 * What was posted gets exactly one answer: that of mailbox_answer, or at the end MAILBOX_ECLOSED
 * for what the loop never took (it was not proposed and never will be) and MAILBOX_EUNKNOWN for
 * what it took and did not answer (it may have been proposed, and may still be applied). What was
 * refused gets none. Letters are taken in the order in which they were posted.
 *
 * Bounded: by the letters that are not answered yet and by the bytes in them. At the bound posting
 * is refused; it never waits. No wake-up is lost: the descriptor is readable from the first letter
 * posted until mailbox_take has returned null, so a loop may also take a few letters a turn, and
 * should where it refuses them at once: who is refused posts again.
 *
 * mailbox_post, mailbox_ask, mailbox_wait and mailbox_forget are for any thread. The other
 * functions are for one thread, that of the loop, and there done is called. No lock is held while
 * it is: it may post.
 */
#ifndef KEELSON_MAILBOX_H
#define KEELSON_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

struct io;
struct mailbox;
struct mailbox_ticket;

/* Below every code of raft.h, so that an answer may be either; 0 is RAFT_OK. */
enum {
    MAILBOX_OK = 0,
    MAILBOX_WAITING = 1, /* from mailbox_wait alone: no answer in that time */

    MAILBOX_EFULL = -101,    /* refused: too many letters or bytes are without an answer */
    MAILBOX_ECLOSED = -102,  /* refused, or never taken: not proposed */
    MAILBOX_EUNKNOWN = -103, /* taken and not answered: it may or may not be applied */
    MAILBOX_ESIZE = -104,    /* refused: larger than all letters together may be */
    MAILBOX_ENOMEM = -105,   /* refused: no memory */
    MAILBOX_EWAKE = -106     /* refused: the loop could not be woken, its pipe is broken */
};

/* 0 means the default. */
struct mailbox_options {
    const struct io *io; /* mandatory; outlives the mailbox; its pipe, read and write are used by
                            any thread */
    size_t letters_max;  /* not answered yet. 0: 1024 */
    size_t bytes_max;    /* in them. 0: 16 MiB */
};

/* A letter in the loop's hands. Lent from mailbox_take until mailbox_answer. */
struct mailbox_letter {
    const void *data;
    size_t size;
};

/* The bytes of an answer. Where done gets them they are lent until it returns. */
struct mailbox_answer {
    const void *data;
    size_t size;
};

/*
 * Tells what has become of a letter. status is MAILBOX_OK, a negative code of this header, or
 * whatever else mailbox_answer was given.
 */
typedef void mailbox_done(void *ctx, int status, const struct mailbox_answer *answer);

/* ---- The loop's thread ---------------------------------------------------------------------- */

/* 0, -EINVAL, -ENOMEM, or the negated errno of the pipe. *out is set only on 0. */
int mailbox_new(const struct mailbox_options *options, struct mailbox **out);

/* Readable while there may be something to take. */
int mailbox_fd(const struct mailbox *box);

/* The next letter, or null. Every letter is to be answered. */
struct mailbox_letter *mailbox_take(struct mailbox *box);

/*
 * Answers a letter that was taken, which is gone then. Any status but MAILBOX_WAITING; the bytes
 * (null, 0: none) are borrowed, and copied where a ticket waits. Where there is no memory for the
 * copy, whoever waits is told the status and gets no bytes (mailbox_wait tells).
 */
void mailbox_answer(struct mailbox *box, struct mailbox_letter *letter, int status,
                    const void *data, size_t size);

/* Letters posted and not answered yet. */
size_t mailbox_count(struct mailbox *box);

/*
 * Refuses what is posted from now on and answers everything, see above, in the order of posting.
 * Repeating it does no harm.
 */
void mailbox_close(struct mailbox *box);

/*
 * Closes and frees; null is allowed. No other thread may use the mailbox any more; tickets are on
 * their own and may still be waited for and forgotten.
 */
void mailbox_free(struct mailbox *box);

/* ---- Any thread ----------------------------------------------------------------------------- */

/*
 * Posts bytes, which are copied. On MAILBOX_OK, done (which may be null) is called once with ctx,
 * on the loop's thread. MAILBOX_EFULL, MAILBOX_ESIZE, MAILBOX_ECLOSED, MAILBOX_ENOMEM,
 * MAILBOX_EWAKE: done is not called.
 */
int mailbox_post(struct mailbox *box, const void *data, size_t size, mailbox_done *done, void *ctx);

/* Posts likewise; on MAILBOX_OK the answer is fetched with *ticket, which is to be forgotten. */
int mailbox_ask(struct mailbox *box, const void *data, size_t size, struct mailbox_ticket **ticket);

/*
 * Waits for the answer, at most timeout_ms (negative: without bound). Returns its status and, where
 * answer is not null, its bytes, which stay until the ticket is forgotten; data is null and size
 * is not 0 where there was no memory for them. Or MAILBOX_WAITING: the letter goes on and can be
 * waited for again. Not from the loop's thread, which would wait for itself.
 */
int mailbox_wait(struct mailbox_ticket *ticket, int timeout_ms, struct mailbox_answer *answer);

/* Ends a ticket, answered or not; its letter goes on. Null is allowed. Nobody waits for it now. */
void mailbox_forget(struct mailbox_ticket *ticket);

#endif
