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
    case 1:
        return store_set(store, k, v);
    case 2:
        return store_write(store, k, n % 40, v, NULL);
    case 3:
        return store_write(store, k, n % 400, v, NULL);
    default:
        if (n % 100 == 99) {
            store_flush(store);
        }
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
    RUN(a_table_that_cannot_grow_still_takes_keys);
    RUN(no_memory_for_a_store_is_reported);
    RUN(apply_reports_what_it_could_not_allocate);
    RUN(a_buffer_without_memory_fails_and_keeps_its_content);
    return check_done();
}
