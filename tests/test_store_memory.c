/*
 * What happens when memory runs out under the keyspace and the commands: every allocation of a
 * scripted life fails once, and each time the failure is reported, nothing of the content is lost,
 * and the same change succeeds when memory is back.
 *
 * The sources are compiled in with an allocator of our own, so that the count of allocations is
 * theirs alone.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"

static long allocations_left; /* until one fails; negative: none does */

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

static void *fallible_realloc(void *memory, size_t size)
{
    return allocation_fails() ? NULL : realloc(memory, size);
}

#define malloc  fallible_malloc
#define calloc  fallible_calloc
#define realloc fallible_realloc
#include "raftkv/buffer.c"
#include "raftkv/commands.c"
#include "raftkv/expiry.c"
#include "raftkv/store.c"
#include "raftkv/store_due.c"
#include "raftkv/store_load.c"
#include "raftkv/store_view.c"
#include "raftkv/state.c"
#include "raftkv/transaction.c"
#undef malloc
#undef calloc
#undef realloc

static const uint8_t secret[16] = {5};

static struct slice text_of(char out[32], const char *word, unsigned number)
{
    struct slice text = {out, (size_t)snprintf(out, 32, "%s%u", word, number)};

    return text;
}

/* Step number n of the scripted life: sets, replacements, appends, deletions, a flush. */
static int change(struct store *store, unsigned n)
{
    char key[32];
    char value[32];
    struct slice k = text_of(key, "key", n % 97);
    struct slice v = text_of(value, "a value of some length ", n * n);

    switch (n % 5) {
    case 0:
        return store_put(store, k, v, n % 3 == 0 ? STORE_KEEP_EXPIRY : 1000 + n);
    case 1:
        if (n % 10 == 1) {
            return store_expire(store, k, 2000 + n) < 0 ? STORE_NOMEM : STORE_OK;
        }
        return store_set(store, k, v);
    case 2:
        return store_write(store, k, n % 40, v, NULL);
    case 3:
        return store_write(store, k, n % 400, v, NULL);
    default:
        if (n % 100 == 99) {
            store_flush(store);
        }
        store_advance(store, 1000 + n / 2);
        store_remove_overdue(store, 3);
        store_delete(store, k);
        return STORE_OK;
    }
}

enum { LIFE = 250 };

static uint64_t digest_after(unsigned steps)
{
    struct store *store = store_new(secret);
    uint64_t digest;

    CHECK(store != NULL);
    for (unsigned n = 0; n < steps; n++) {
        CHECK_EQ(change(store, n), STORE_OK);
    }
    digest = store_digest(store);
    store_free(store);
    return digest;
}

static void a_failed_change_changes_nothing_and_can_be_repeated(void)
{
    static uint64_t expected[LIFE + 1];
    unsigned failures = 0;

    allocations_left = -1;
    for (unsigned n = 0; n <= LIFE; n++) {
        expected[n] = digest_after(n);
    }
    for (long fail_at = 0; fail_at < 2 * LIFE; fail_at++) {
        struct store *store;
        allocations_left = -1;
        store = store_new(secret);
        CHECK(store != NULL);
        allocations_left = fail_at;
        for (unsigned n = 0; n < LIFE; n++) {
            if (change(store, n) != STORE_OK) {
                failures++;
                CHECK_EQ(store_digest(store), expected[n]);
                CHECK_EQ(change(store, n), STORE_OK);
            }
        }
        CHECK_EQ(store_digest(store), expected[LIFE]);
        store_free(store);
    }
    CHECK(failures > 100);
}

/* ---- Snapshots ---- */

enum { EDITED_KEYS = 40, EDITS = 120 };

static struct store *filled_store(void)
{
    struct store *store;
    char key[32];

    allocations_left = -1;
    store = store_new(secret);
    CHECK(store != NULL);
    for (unsigned n = 0; n < EDITED_KEYS; n++) {
        CHECK_EQ(store_put(store, text_of(key, "key", n), slice_of("value"), 100 + n), STORE_OK);
    }
    return store;
}

/* One change of every kind for each key, in turn. */
static int edit(struct store *store, unsigned n)
{
    char key[32];
    struct slice k = text_of(key, "key", n % EDITED_KEYS);

    switch (n % 7) {
    case 0:
        return store_set(store, k, slice_of("another value, so long that it has to move away"));
    case 1:
    case 2:
        return store_write(store, k, n % 9 * 20, slice_of("inserted"), NULL);
    case 3:
        return store_expire(store, k, 5000 + n) < 0 ? STORE_NOMEM : STORE_OK;
    case 4:
        return store_put(store, k, slice_of("v"), STORE_KEEP_EXPIRY);
    case 5:
        store_delete(store, k);
        return STORE_OK;
    default:
        store_advance(store, 100 + n / 4);
        store_remove_overdue(store, 2);
        return STORE_OK;
    }
}

/* A store that is edited between the pieces of a view. 0: the view is whole, or STORE_NOMEM. */
static int snapshot_between_edits(struct store *store, unsigned edits, struct buffer *bytes)
{
    struct state_part part = {.type = STATE_SESSIONS};
    struct state_view *view = state_view_begin(store, 1, &part, 1);
    int more = view == NULL ? STORE_NOMEM : 1;

    for (unsigned n = 0; n < edits; n++) {
        if (edit(store, n) != STORE_OK) { /* as it may: memory fails, but only once */
            CHECK_EQ(edit(store, n), STORE_OK);
        }
        if (more > 0 && n % 4 == 3) {
            more = state_view_next(view, bytes, 40);
        }
    }
    while (more > 0) {
        more = state_view_next(view, bytes, 40);
    }
    state_view_end(view);
    return more;
}

static int load_bytes(const struct buffer *bytes, struct state *state)
{
    struct state_load *load = state_load_begin(secret, (const uint32_t[]){STATE_SESSIONS}, 1, 10);

    *state = (struct state){0};
    if (load == NULL) {
        return STORE_NOMEM;
    }
    for (size_t at = 0; at < buffer_size(bytes); at += 100) {
        size_t left = buffer_size(bytes) - at;
        state_load_feed(load, buffer_bytes(bytes) + at, left < 100 ? left : 100);
    }
    return state_load_end(load, state);
}

/* A view that could not keep what changed is lost, and costs the changes nothing. */
static void memory_that_fails_costs_the_view_and_not_the_store(void)
{
    struct store *store = filled_store();
    uint64_t at_opening = store_digest(store);
    uint64_t at_end;
    unsigned lost = 0;

    for (unsigned n = 0; n < EDITS; n++) {
        CHECK_EQ(edit(store, n), STORE_OK);
    }
    at_end = store_digest(store);
    store_free(store);
    allocations_left = -1;
    for (long fail_at = 0; allocations_left < 0; fail_at++) {
        struct buffer bytes = {0};
        struct state state;
        int status;

        store = filled_store();
        allocations_left = fail_at;
        status = snapshot_between_edits(store, EDITS, &bytes);
        CHECK(status == 0 || status == STORE_NOMEM);
        CHECK_EQ(store_digest(store), at_end);
        lost += status != 0;
        if (status == 0) {
            long left = allocations_left;
            allocations_left = -1;
            CHECK_EQ(load_bytes(&bytes, &state), STORE_OK);
            CHECK_EQ(store_digest(state.store), at_opening);
            state_clear(&state);
            allocations_left = left;
        }
        buffer_free(&bytes);
        store_free(store);
    }
    allocations_left = -1;
    CHECK(lost > 20);
}

static void a_load_without_memory_leaves_nothing_behind(void)
{
    struct store *store = filled_store();
    struct buffer bytes = {0};
    struct state state;
    unsigned failures = 0;

    CHECK_EQ(snapshot_between_edits(store, 0, &bytes), 0);
    allocations_left = -1;
    for (long fail_at = 0; allocations_left < 0; fail_at++) {
        int status;

        allocations_left = fail_at;
        status = load_bytes(&bytes, &state);
        CHECK(status == STORE_OK || status == STORE_NOMEM);
        CHECK((state.store != NULL) ==
              (status == STORE_OK)); /* a larger table can be done without */
        failures += status != STORE_OK;
        if (status == STORE_OK) {
            CHECK_EQ(store_digest(state.store), store_digest(store));
        }
        state_clear(&state);
    }
    allocations_left = -1;
    CHECK(failures > EDITED_KEYS);
    buffer_free(&bytes);
    store_free(store);
}

/* ---- Transactions ---- */

static void ask_queue(struct transaction *transaction, const char *const *words, size_t count,
                      struct buffer *reply)
{
    struct slice args[4];

    for (size_t i = 0; i < count; i++) {
        args[i] = slice_of(words[i]);
    }
    transaction_take(transaction, args, count, reply);
}

/* What could not be queued spoils the transaction; nothing of it is executed then. */
static void a_transaction_without_memory_is_refused(void)
{
    static const char *const multi[] = {"MULTI"};
    static const char *const exec[] = {"EXEC"};
    static const char *const set[] = {"SET", "k", "a value that takes some bytes of memory"};

    for (long fail_at = 0; fail_at < 8; fail_at++) {
        struct transaction transaction = {0};
        struct buffer reply = {0};
        int spoiled;

        allocations_left = -1;
        buffer_add(&reply, "a reply that is there already", 29);
        ask_queue(&transaction, multi, 1, NULL);
        allocations_left = fail_at;
        for (int i = 0; i < 50; i++) {
            ask_queue(&transaction, set, 3, NULL);
        }
        spoiled = transaction.is_spoiled;
        CHECK_EQ(spoiled, allocations_left < 0);
        allocations_left = -1;
        ask_queue(&transaction, exec, 1, &reply);
        CHECK_EQ(transaction.is_open, !spoiled);
        transaction_free(&transaction);
        buffer_free(&reply);
    }
}

static void a_table_that_cannot_grow_still_takes_keys(void)
{
    struct store *store;
    unsigned taken = 0;
    char key[32];

    allocations_left = -1;
    store = store_new(secret);
    CHECK(store != NULL);
    for (unsigned n = 0; n < 2000; n++) {
        struct slice k = text_of(key, "key", n);
        allocations_left = n == 0 ? -1 : 1; /* enough for an entry, not for a table */
        taken += store_set(store, k, k) == STORE_OK;
    }
    CHECK_EQ(taken, 2000);
    for (unsigned n = 0; n < 2000; n++) {
        CHECK(store_get(store, text_of(key, "key", n), NULL));
    }
    allocations_left = -1;
    store_free(store);
}

static void no_memory_for_a_store_is_reported(void)
{
    allocations_left = 0;
    CHECK(store_new(secret) == NULL);
    allocations_left = -1;
}

/* APPEND, MSET of many (whose arguments need memory too), SET: with each allocation failing once.
 */
static void apply_reports_what_it_could_not_allocate(void)
{
    struct buffer entry = {0};
    struct slice args[41];
    char words[41][32];
    unsigned failures = 0;
    int result;

    allocations_left = -1;
    args[0] = slice_of("mset");
    for (unsigned i = 1; i <= 40; i++) {
        args[i] = text_of(words[i], "word", i);
    }
    CHECK_EQ(command_encode(commands_lookup(args[0]), args, 41, 0, &entry), COMMAND_OK);
    for (long fail_at = 0; fail_at < 100; fail_at++) {
        struct store *store;
        allocations_left = -1;
        store = store_new(secret);
        CHECK(store != NULL);
        allocations_left = fail_at;
        result = command_apply(store, buffer_bytes(&entry), buffer_size(&entry), NULL);
        CHECK(result == COMMAND_OK || result == COMMAND_ENOMEM);
        failures += result == COMMAND_ENOMEM;
        store_free(store);
    }
    allocations_left = -1;
    CHECK(failures >= 21); /* the arguments, and twenty keys */
    buffer_free(&entry);
}

static void a_buffer_without_memory_fails_and_keeps_its_content(void)
{
    struct buffer buffer = {0};
    static const char bytes[1000];

    allocations_left = 0;
    buffer_add(&buffer, "x", 1);
    CHECK(buffer.failed);
    CHECK_EQ(buffer_size(&buffer), 0);
    buffer_clear(&buffer);
    allocations_left = -1;
    buffer_add(&buffer, "x", 1);
    allocations_left = 0;
    buffer_add(&buffer, bytes, sizeof bytes);
    CHECK(buffer.failed);
    CHECK_EQ(buffer_size(&buffer), 1);
    CHECK(buffer_bytes(&buffer)[0] == 'x');
    allocations_left = -1;
    buffer_free(&buffer);
}

int main(void)
{
    RUN(a_failed_change_changes_nothing_and_can_be_repeated);
    RUN(memory_that_fails_costs_the_view_and_not_the_store);
    RUN(a_load_without_memory_leaves_nothing_behind);
    RUN(a_transaction_without_memory_is_refused);
    RUN(a_table_that_cannot_grow_still_takes_keys);
    RUN(no_memory_for_a_store_is_reported);
    RUN(apply_reports_what_it_could_not_allocate);
    RUN(a_buffer_without_memory_fails_and_keeps_its_content);
    return check_done();
}
