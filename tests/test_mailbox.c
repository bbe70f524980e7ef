/*
 * The mailbox: what is posted gets one answer, in order, whoever posts and however it ends; no
 * wake-up is lost; and a node that many threads propose to executes each request once.
 *
 * The source is compiled in with an allocator of our own, so that memory can fail. The program is
 * also run under ThreadSanitizer (make tsan).
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include <poll.h>
#include <pthread.h>

#include "check.h"
#include "io.h"
#include "loop.h"
#include "pending.h"
#include "raft.h"
#include "session.h"

static long allocations_left = -1; /* until one fails; negative: none does */

static int allocation_fails(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

static void *fallible_malloc(size_t size)
{
    return allocation_fails() ? NULL : malloc(size);
}

static void *fallible_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : calloc(count, size);
}

#define malloc fallible_malloc
#define calloc fallible_calloc
#include "mailbox.c"
#undef malloc
#undef calloc

enum { PATIENCE_MS = 60000 };

static struct mailbox *box;

static void begin(size_t letters_max, size_t bytes_max)
{
    const struct mailbox_options options = {&io_posix, letters_max, bytes_max};

    allocations_left = -1;
    mailbox_free(box);
    box = NULL;
    CHECK_EQ(mailbox_new(&options, &box), 0);
}

static int is_readable(void)
{
    struct pollfd place = {.fd = mailbox_fd(box), .events = POLLIN};

    return poll(&place, 1, 0) == 1;
}

/* What callbacks were told, in order. */
static struct {
    int status[64];
    int ctx[64];
    char text[64][16];
    size_t count;
} told;

static void tell(void *ctx, int status, const struct mailbox_answer *answer)
{
    told.status[told.count] = status;
    told.ctx[told.count] = *(const int *)ctx;
    snprintf(told.text[told.count], sizeof told.text[0], "%.*s", (int)answer->size,
             answer->size ? (const char *)answer->data : "");
    told.count++;
}

static const int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static void *number(int n)
{
    return (void *)(uintptr_t)&numbers[n];
}

static int post(int n, const char *text)
{
    return mailbox_post(box, text, strlen(text), tell, number(n));
}

static struct mailbox_letter *take(const char *text)
{
    struct mailbox_letter *letter = mailbox_take(box);

    CHECK(letter != NULL);
    CHECK_EQ(letter->size, strlen(text));
    CHECK(memcmp(letter->data, text, letter->size) == 0);
    return letter;
}

static void expect_told(size_t which, int n, int status, const char *text)
{
    CHECK(which < told.count);
    CHECK_EQ(told.ctx[which], n);
    CHECK_EQ(told.status[which], status);
    CHECK_STR(told.text[which], text);
}

/* ---- One thread ---- */

static void letters_are_taken_in_order_and_answered_in_any(void)
{
    struct mailbox_letter *letters[3];

    begin(0, 0);
    told.count = 0;
    CHECK(mailbox_take(box) == NULL);
    CHECK_EQ(post(0, "zero"), MAILBOX_OK);
    CHECK_EQ(post(1, ""), MAILBOX_OK);
    CHECK_EQ(post(2, "two"), MAILBOX_OK);
    letters[0] = take("zero");
    letters[1] = take("");
    letters[2] = take("two");
    CHECK(mailbox_take(box) == NULL);
    CHECK_EQ(told.count, 0);
    CHECK_EQ(mailbox_count(box), 3);
    mailbox_answer(box, letters[1], MAILBOX_OK, "b", 1);
    mailbox_answer(box, letters[2], RAFT_EDROPPED, NULL, 0);
    mailbox_answer(box, letters[0], 17, "a", 1);
    CHECK_EQ(told.count, 3);
    expect_told(0, 1, MAILBOX_OK, "b");
    expect_told(1, 2, RAFT_EDROPPED, "");
    expect_told(2, 0, 17, "a");
    CHECK_EQ(mailbox_count(box), 0);
}

static void who_wants_no_answer_gives_no_callback(void)
{
    begin(0, 0);
    CHECK_EQ(mailbox_post(box, "x", 1, NULL, NULL), MAILBOX_OK);
    mailbox_answer(box, take("x"), MAILBOX_OK, NULL, 0);
    CHECK_EQ(mailbox_post(box, "y", 1, NULL, NULL), MAILBOX_OK);
}

static void the_descriptor_is_readable_until_nothing_is_left(void)
{
    begin(0, 0);
    CHECK(!is_readable());
    CHECK_EQ(post(0, "a"), MAILBOX_OK);
    CHECK(is_readable());
    CHECK_EQ(post(1, "b"), MAILBOX_OK);
    mailbox_answer(box, take("a"), MAILBOX_OK, NULL, 0);
    CHECK(is_readable());
    mailbox_answer(box, take("b"), MAILBOX_OK, NULL, 0);
    CHECK(mailbox_take(box) == NULL);
    CHECK(!is_readable());
    CHECK_EQ(post(2, "c"), MAILBOX_OK);
    CHECK(is_readable());
}

static void letters_are_bounded_until_they_are_answered(void)
{
    struct mailbox_letter *letter;

    begin(2, 0);
    told.count = 0;
    CHECK_EQ(post(0, "a"), MAILBOX_OK);
    CHECK_EQ(post(1, "b"), MAILBOX_OK);
    CHECK_EQ(post(2, "c"), MAILBOX_EFULL);
    letter = take("a");
    CHECK_EQ(post(2, "c"), MAILBOX_EFULL);
    mailbox_answer(box, letter, MAILBOX_OK, NULL, 0);
    CHECK_EQ(post(2, "c"), MAILBOX_OK);
    CHECK_EQ(told.count, 1);
    mailbox_answer(box, take("b"), MAILBOX_OK, NULL, 0);
    mailbox_answer(box, take("c"), MAILBOX_OK, NULL, 0);
    CHECK_EQ(told.count, 3);
}

static void bytes_are_bounded_until_they_are_answered(void)
{
    begin(0, 10);
    CHECK_EQ(post(0, "12345678901"), MAILBOX_ESIZE);
    CHECK_EQ(post(0, "123456"), MAILBOX_OK);
    CHECK_EQ(post(1, "12345"), MAILBOX_EFULL);
    CHECK_EQ(post(1, "1234"), MAILBOX_OK);
    CHECK_EQ(post(2, "1"), MAILBOX_EFULL);
    CHECK_EQ(post(2, ""), MAILBOX_OK);
    mailbox_answer(box, take("123456"), MAILBOX_OK, NULL, 0);
    CHECK_EQ(post(3, "123456"), MAILBOX_OK);
    CHECK_EQ(post(4, "1"), MAILBOX_EFULL);
}

static void closing_tells_what_was_not_proposed_from_what_is_unknown(void)
{
    begin(0, 0);
    told.count = 0;
    CHECK_EQ(post(0, "a"), MAILBOX_OK);
    CHECK_EQ(post(1, "b"), MAILBOX_OK);
    CHECK_EQ(post(2, "c"), MAILBOX_OK);
    CHECK_EQ(post(3, "d"), MAILBOX_OK);
    take("a");
    take("b");
    mailbox_close(box);
    CHECK_EQ(told.count, 4);
    expect_told(0, 0, MAILBOX_EUNKNOWN, "");
    expect_told(1, 1, MAILBOX_EUNKNOWN, "");
    expect_told(2, 2, MAILBOX_ECLOSED, "");
    expect_told(3, 3, MAILBOX_ECLOSED, "");
    CHECK_EQ(post(4, "e"), MAILBOX_ECLOSED);
    CHECK_EQ(told.count, 4);
    CHECK(mailbox_take(box) == NULL);
    mailbox_close(box);
    CHECK_EQ(told.count, 4);
    CHECK_EQ(mailbox_count(box), 0);
}

static int posted_again;

static void post_again(void *ctx, int status, const struct mailbox_answer *answer)
{
    (void)answer;
    told.status[told.count++] = status;
    posted_again = mailbox_post(box, "again", 5, tell, ctx);
}

static void whoever_is_told_may_post(void)
{
    begin(0, 0);
    told.count = 0;
    CHECK_EQ(mailbox_post(box, "a", 1, post_again, number(7)), MAILBOX_OK);
    mailbox_answer(box, take("a"), MAILBOX_OK, NULL, 0);
    CHECK_EQ(posted_again, MAILBOX_OK);
    mailbox_answer(box, take("again"), MAILBOX_OK, NULL, 0);
    expect_told(1, 7, MAILBOX_OK, "");
    CHECK_EQ(mailbox_post(box, "b", 1, post_again, number(8)), MAILBOX_OK);
    mailbox_close(box);
    CHECK_EQ(posted_again, MAILBOX_ECLOSED);
    CHECK_EQ(told.count, 3);
}

static void a_ticket_waits_and_keeps_the_answer(void)
{
    struct mailbox_ticket *ticket = NULL;
    struct mailbox_answer answer = {NULL, 0};

    begin(0, 0);
    CHECK_EQ(mailbox_ask(box, "q", 1, &ticket), MAILBOX_OK);
    CHECK_EQ(mailbox_wait(ticket, 0, &answer), MAILBOX_WAITING);
    CHECK_EQ(mailbox_wait(ticket, 5, &answer), MAILBOX_WAITING);
    mailbox_answer(box, take("q"), 3, "yes", 3);
    CHECK_EQ(mailbox_wait(ticket, 0, &answer), 3);
    CHECK_EQ(answer.size, 3);
    CHECK(memcmp(answer.data, "yes", 3) == 0);
    CHECK_EQ(mailbox_wait(ticket, -1, NULL), 3);
    mailbox_forget(ticket);
}

static void a_ticket_may_be_forgotten_before_its_answer_or_outlive_the_mailbox(void)
{
    struct mailbox_ticket *early = NULL, *late = NULL;
    struct mailbox_answer answer;

    begin(0, 0);
    CHECK_EQ(mailbox_ask(box, "early", 5, &early), MAILBOX_OK);
    CHECK_EQ(mailbox_ask(box, "late", 4, &late), MAILBOX_OK);
    mailbox_forget(early);
    mailbox_forget(NULL);
    mailbox_answer(box, take("early"), MAILBOX_OK, "x", 1);
    mailbox_free(box);
    box = NULL;
    CHECK_EQ(mailbox_wait(late, -1, &answer), MAILBOX_ECLOSED);
    CHECK_EQ(answer.size, 0);
    mailbox_forget(late);
}

static void what_is_refused_leaves_no_ticket(void)
{
    struct mailbox_ticket *ticket = NULL;

    begin(1, 0);
    CHECK_EQ(post(0, "a"), MAILBOX_OK);
    CHECK_EQ(mailbox_ask(box, "b", 1, &ticket), MAILBOX_EFULL);
    mailbox_close(box);
    CHECK_EQ(mailbox_ask(box, "b", 1, &ticket), MAILBOX_ECLOSED);
    CHECK(ticket == NULL);
}

static void memory_that_fails_refuses(void)
{
    struct mailbox_options options = {.io = &io_posix};
    struct mailbox *none = NULL;
    struct mailbox_ticket *ticket = NULL;
    struct mailbox_answer answer;

    begin(0, 0);
    told.count = 0;
    allocations_left = 0;
    CHECK_EQ(post(0, "a"), MAILBOX_ENOMEM);
    allocations_left = 0;
    CHECK_EQ(mailbox_new(&options, &none), -ENOMEM);
    for (long fails = 0; fails < 2; fails++) {
        allocations_left = fails;
        CHECK_EQ(mailbox_ask(box, "a", 1, &ticket), MAILBOX_ENOMEM);
    }
    allocations_left = -1;
    CHECK(!is_readable());
    CHECK_EQ(told.count, 0);
    CHECK_EQ(mailbox_ask(box, "a", 1, &ticket), MAILBOX_OK);
    allocations_left = 0;
    mailbox_answer(box, take("a"), MAILBOX_OK, "lost", 4);
    allocations_left = -1;
    CHECK_EQ(mailbox_wait(ticket, 0, &answer), MAILBOX_OK);
    CHECK(answer.data == NULL);
    CHECK_EQ(answer.size, 4);
    mailbox_forget(ticket);
}

/* ---- A system that fails ---- */

static int writes_that_fail, writes_interrupted, reads_interrupted;

static long failing_write(void *ctx, int fd, const void *data, size_t size)
{
    if (writes_interrupted > 0) {
        writes_interrupted--;
        return -EINTR;
    }
    if (writes_that_fail > 0) {
        writes_that_fail--;
        return -EPIPE;
    }
    return io_posix.write(ctx, fd, data, size);
}

static long failing_read(void *ctx, int fd, void *data, size_t size)
{
    if (reads_interrupted > 0) {
        reads_interrupted--;
        return -EINTR;
    }
    return io_posix.read(ctx, fd, data, size);
}

static int no_pipe(void *ctx, int fds[2])
{
    (void)ctx;
    (void)fds;
    return -EMFILE;
}

static void a_pipe_that_fails_is_told_and_loses_nothing(void)
{
    struct io io = io_posix;
    struct mailbox_options options = {&io, 0, 0};
    struct mailbox *none = NULL;

    io.write = failing_write;
    io.read = failing_read;
    begin(0, 0);
    mailbox_free(box);
    box = NULL;
    CHECK_EQ(mailbox_new(&options, &box), 0);
    told.count = 0;
    writes_that_fail = 1;
    CHECK_EQ(post(0, "a"), MAILBOX_EWAKE);
    CHECK_EQ(mailbox_count(box), 0);
    writes_interrupted = 2;
    CHECK_EQ(post(1, "b"), MAILBOX_OK);
    CHECK(is_readable());
    mailbox_answer(box, take("b"), MAILBOX_OK, NULL, 0);
    reads_interrupted = 2;
    CHECK(mailbox_take(box) == NULL);
    CHECK(!is_readable());
    CHECK_EQ(told.count, 1);
    mailbox_free(box);
    box = NULL;
    io.pipe = no_pipe;
    CHECK_EQ(mailbox_new(&options, &none), -EMFILE);
    options.io = NULL;
    CHECK_EQ(mailbox_new(&options, &none), -EINVAL);
}

/* ---- Many threads ---- */

enum { THREADS = 6, POSTS = 3000 };

struct producer {
    pthread_t thread;
    uint32_t id;
    uint32_t accepted; /* by mailbox_post, in order */
    uint32_t told;     /* on the loop's thread */
    uint32_t wrong;    /* taken out of order */
    uint32_t next;     /* number of the letter to be taken next */
    int closed;        /* its last post was refused for good */
};

struct note {
    uint32_t producer;
    uint32_t number;
};

static struct producer producers[THREADS];

static void count_answer(void *ctx, int status, const struct mailbox_answer *answer)
{
    struct producer *producer = ctx;

    (void)answer;
    producer->told +=
        status == MAILBOX_OK || status == MAILBOX_EUNKNOWN || status == MAILBOX_ECLOSED;
}

/* Posts until it has posted enough, or the mailbox is closed. */
static void *produce(void *ctx)
{
    struct producer *producer = ctx;

    while (producer->accepted < POSTS && !producer->closed) {
        struct note note = {producer->id, producer->accepted};
        int status = mailbox_post(box, &note, sizeof note, count_answer, producer);

        if (status == MAILBOX_OK) {
            producer->accepted++;
        } else if (status == MAILBOX_ECLOSED) {
            producer->closed = 1;
        } else {
            poll(NULL, 0, 1);
        }
    }
    return NULL;
}

static void start_producers(void)
{
    memset(producers, 0, sizeof producers);
    for (uint32_t i = 0; i < THREADS; i++) {
        producers[i].id = i;
        CHECK_EQ(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
}

static void join_producers(void)
{
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(producers[i].thread, NULL);
    }
}

/* Takes a letter and checks its place. Returns 0 where there is none. */
static int take_note(struct mailbox_letter **out)
{
    struct mailbox_letter *letter = mailbox_take(box);
    struct note note;

    if (!letter) {
        return 0;
    }
    memcpy(&note, letter->data, sizeof note);
    producers[note.producer].wrong += note.number != producers[note.producer].next;
    producers[note.producer].next = note.number + 1;
    *out = letter;
    return 1;
}

/* The loop sleeps without bound but for the test's patience: a lost wake-up would end it. */
static void no_wake_up_is_lost_and_each_thread_keeps_its_order(void)
{
    uint32_t answered = 0;
    int sleepless = 1;

    begin(50, 0);
    start_producers();
    while (answered < THREADS * POSTS && sleepless) {
        struct pollfd place = {.fd = mailbox_fd(box), .events = POLLIN};
        struct mailbox_letter *letter;

        sleepless = poll(&place, 1, PATIENCE_MS) == 1;
        while (take_note(&letter)) {
            mailbox_answer(box, letter, MAILBOX_OK, NULL, 0);
            answered++;
        }
    }
    mailbox_close(box);
    join_producers();
    CHECK(sleepless);
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK_EQ(producers[i].told, POSTS);
        CHECK_EQ(producers[i].wrong, 0);
    }
}

/* Some letters answered, some in hand, some not taken, and posting goes on: one answer for each. */
static void closing_under_way_answers_each_accepted_letter_once(void)
{
    for (unsigned round = 0; round < 20; round++) {
        struct mailbox_letter *letter;
        unsigned taken = 0;

        begin(100, 0);
        start_producers();
        while (taken < 50 * round) {
            if (take_note(&letter)) {
                taken++;
                if (taken % 2 || mailbox_count(box) > 60) {
                    mailbox_answer(box, letter, MAILBOX_OK, NULL, 0);
                }
            }
        }
        mailbox_close(box);
        join_producers();
        CHECK_EQ(mailbox_count(box), 0);
        for (uint32_t i = 0; i < THREADS; i++) {
            CHECK_EQ(producers[i].told, producers[i].accepted);
            CHECK_EQ(producers[i].wrong, 0);
        }
    }
}

/* ---- A node that many threads propose to ---- */

/*
 * The state machine counts. A request is (session, number); its answer is the count after it. The
 * loop's thread owns everything but the mailbox. To be unkind, it sometimes drops a letter's answer
 * (the thread is told "unknown" and asks again) after proposing it, and now and then proposes twice.
 */
enum { CLIENTS = 4, REQUESTS = 150 };

struct request {
    uint64_t session; /* 0: opens one */
    uint64_t number;
};

struct service {
    raft *node;
    struct loop *loop;
    struct sessions *sessions;
    struct pending pending;
    uint64_t count;
    uint64_t takes;
    int done; /* clients that have said so */
    int failed;
};

struct client {
    pthread_t thread;
    uint64_t answered;
    uint64_t repeats;
    uint64_t last_count;
    int disorder; /* an answer was not above the one before */
};

static struct service service;

static int persist_at_once(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void send_nowhere(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

static uint64_t execute(const struct request *request, raft_index index)
{
    struct sessions_reply kept;
    uint64_t count = 0;

    if (request->session == 0) {
        service.failed |= sessions_open(service.sessions, index) != SESSIONS_OK;
        return index;
    }
    switch (sessions_begin(service.sessions, index, request->session, request->number, &kept)) {
    case SESSIONS_NEW:
        count = ++service.count;
        service.failed |= sessions_finish(service.sessions, &count, sizeof count) != SESSIONS_OK;
        break;
    case SESSIONS_REPEAT:
        memcpy(&count, kept.data, sizeof count);
        break;
    default:
        break; /* stale: a second copy of what was answered long ago */
    }
    return count;
}

static void settle(raft_index index, raft_term term, const uint64_t *answer)
{
    struct mailbox_letter *letter;
    enum pending_outcome outcome;

    while ((outcome = pending_settle(&service.pending, index, term, &letter)) != PENDING_NONE) {
        if (outcome == PENDING_APPLIED && answer) {
            mailbox_answer(box, letter, MAILBOX_OK, answer, sizeof *answer);
        } else {
            mailbox_answer(box, letter, RAFT_EDROPPED, NULL, 0);
        }
    }
}

static int apply(void *host, const raft_range *range)
{
    raft_range rest = *range;
    raft_entry entry;

    (void)host;
    while (raft_range_next(&rest, &entry)) {
        struct request request;
        uint64_t answer = 0;

        if (entry.kind == RAFT_ENTRY_DATA) {
            memcpy(&request, entry.data, sizeof request);
            answer = execute(&request, entry.index);
        }
        settle(entry.index, entry.term, &answer);
    }
    return RAFT_OK;
}

static void propose(struct mailbox_letter *letter)
{
    raft_index index;
    raft_term term;
    int status = pending_reserve(&service.pending, 1) ? RAFT_ENOMEM : RAFT_OK;

    if (status == RAFT_OK) {
        status = raft_propose(service.node, letter->data, letter->size, &index, &term);
    }
    if (status != RAFT_OK) {
        mailbox_answer(box, letter, status, NULL, 0);
        return;
    }
    service.takes++;
    if (service.takes % 5 == 0) {
        raft_propose(service.node, letter->data, letter->size, NULL, NULL);
    }
    if (service.takes % 7 == 0) {
        mailbox_answer(box, letter, RAFT_EUNKNOWN, NULL, 0);
    } else {
        pending_add(&service.pending, index, term, &letter);
    }
}

static void on_mail(void *ctx, int fd, unsigned ready)
{
    struct mailbox_letter *letter;

    (void)ctx;
    (void)fd;
    (void)ready;
    for (int i = 0; i < 20 && (letter = mailbox_take(box)); i++) {
        if (letter->size == 0) {
            service.done++;
            mailbox_answer(box, letter, MAILBOX_OK, NULL, 0);
        } else {
            propose(letter);
        }
    }
}

/* Asks until it is told. Returns the answer. */
static uint64_t insist(struct client *client, const struct request *request)
{
    for (;;) {
        struct mailbox_ticket *ticket;
        struct mailbox_answer answer;
        uint64_t result = 0;
        int status = mailbox_ask(box, request, sizeof *request, &ticket);

        if (status == MAILBOX_OK) {
            status = mailbox_wait(ticket, -1, &answer);
            if (status == MAILBOX_OK) {
                memcpy(&result, answer.data, sizeof result);
            }
            mailbox_forget(ticket);
        }
        if (status == MAILBOX_OK || status == MAILBOX_ECLOSED || status == MAILBOX_EUNKNOWN) {
            return result;
        }
        client->repeats++;
        poll(NULL, 0, status == MAILBOX_EFULL || status == RAFT_ENOLEADER);
    }
}

static void *run_client(void *ctx)
{
    struct client *client = ctx;
    struct request request = {0, 0};

    request.session = insist(client, &request);
    for (request.number = 1; request.number <= REQUESTS; request.number++) {
        uint64_t count = insist(client, &request);

        client->disorder |= count <= client->last_count;
        client->last_count = count;
        client->answered++;
    }
    while (mailbox_post(box, NULL, 0, NULL, NULL) == MAILBOX_EFULL) { /* "I am done" */
        poll(NULL, 0, 1);
    }
    return NULL;
}

static void open_service(void)
{
    const raft_member self = {.id = 1};
    raft_options options;
    raft_callbacks callbacks;

    memset(&service, 0, sizeof service);
    pending_init(&service.pending, sizeof(struct mailbox_letter *));
    CHECK_EQ(sessions_new(NULL, &service.sessions), SESSIONS_OK);
    raft_options_init(&options);
    options.id = 1;
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist_at_once;
    callbacks.send = send_nowhere;
    callbacks.apply = apply;
    CHECK_EQ(raft_new(&options, &callbacks, NULL, &service.node), RAFT_OK);
    CHECK_EQ(raft_bootstrap(service.node, &self, 1), RAFT_OK);
    CHECK_EQ(raft_start(service.node, io_posix.now_ms(NULL)), RAFT_OK);
    CHECK_EQ(raft_poll(service.node, io_posix.now_ms(NULL)), RAFT_OK);
    CHECK_EQ(raft_campaign(service.node), RAFT_OK);
    service.loop = loop_new(&io_posix);
    CHECK(service.loop != NULL);
    CHECK_EQ(loop_add(service.loop, mailbox_fd(box), LOOP_READ, on_mail, NULL), 0);
}

static void close_service(void)
{
    loop_free(service.loop);
    raft_free(service.node);
    pending_free(&service.pending);
    sessions_free(service.sessions);
}

/* Until every client is done. */
static void run_service(void)
{
    uint64_t end_ms = io_posix.now_ms(NULL) + PATIENCE_MS;

    while (service.done < CLIENTS && io_posix.now_ms(NULL) < end_ms) {
        uint64_t deadline_ms = raft_deadline(service.node);

        loop_wait(service.loop,
                  loop_timeout(deadline_ms < end_ms ? deadline_ms : end_ms, io_posix.now_ms(NULL)));
        raft_poll(service.node, io_posix.now_ms(NULL));
    }
}

static void threads_propose_and_each_request_is_executed_once(void)
{
    struct client clients[CLIENTS];
    uint64_t repeats = 0;

    begin(8, 0);
    open_service();
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQ(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    run_service();
    mailbox_close(box);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
    }
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQ(clients[i].answered, REQUESTS);
        repeats += clients[i].repeats;
        CHECK_EQ(clients[i].disorder, 0);
    }
    CHECK_EQ(service.failed, 0);
    CHECK_EQ(service.count, CLIENTS * REQUESTS);
    CHECK(repeats >= CLIENTS * REQUESTS / 8); /* every seventh was told "unknown" */
    close_service();
}

int main(void)
{
    RUN(letters_are_taken_in_order_and_answered_in_any);
    RUN(who_wants_no_answer_gives_no_callback);
    RUN(the_descriptor_is_readable_until_nothing_is_left);
    RUN(letters_are_bounded_until_they_are_answered);
    RUN(bytes_are_bounded_until_they_are_answered);
    RUN(closing_tells_what_was_not_proposed_from_what_is_unknown);
    RUN(whoever_is_told_may_post);
    RUN(a_ticket_waits_and_keeps_the_answer);
    RUN(a_ticket_may_be_forgotten_before_its_answer_or_outlive_the_mailbox);
    RUN(what_is_refused_leaves_no_ticket);
    RUN(memory_that_fails_refuses);
    RUN(a_pipe_that_fails_is_told_and_loses_nothing);
    RUN(no_wake_up_is_lost_and_each_thread_keeps_its_order);
    RUN(closing_under_way_answers_each_accepted_letter_once);
    RUN(threads_propose_and_each_request_is_executed_once);
    mailbox_free(box);
    return check_done();
}
