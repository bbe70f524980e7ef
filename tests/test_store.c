/*
 * The keyspace against a plain model, while its table grows, shrinks and is flushed; the scan's
 * guarantee; the digest; SipHash and glob patterns.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/glob.h"
#include "raftkv/siphash.h"
#include "raftkv/store.h"

static const uint8_t secret[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t other_secret[16] = {99};

static struct store *new_store(void)
{
    struct store *store = store_new(secret);

    CHECK(store != NULL);
    return store;
}

/* A key for a number, in memory that the next call reuses. */
static struct slice numbered(unsigned number)
{
    static char text[32];
    struct slice key = {text, (size_t)snprintf(text, sizeof text, "key:%u", number)};

    return key;
}

static void put(struct store *store, unsigned number)
{
    char text[32];
    struct slice value = {text, (size_t)snprintf(text, sizeof text, "value %u", number)};

    CHECK_EQ(store_set(store, numbered(number), value), STORE_OK);
}

static void check_value(const struct store *store, struct slice key, struct slice expected)
{
    struct slice value;

    CHECK(store_get(store, key, &value));
    CHECK(slice_equal(value, expected));
}

static uint64_t random_state = 42;

static unsigned random_below(unsigned bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % bound);
}

/* ---- Keys and values ---- */

static void what_is_set_is_got(void)
{
    struct store *store = new_store();
    struct slice zeros = {"\0\r\n\xff\0", 5};
    struct slice nothing = {"", 0};
    struct slice value;

    CHECK(!store_get(store, zeros, &value));
    CHECK_EQ(store_set(store, zeros, zeros), STORE_OK);
    CHECK_EQ(store_set(store, nothing, slice_of("of the empty key")), STORE_OK);
    CHECK_EQ(store_set(store, slice_of("empty"), nothing), STORE_OK);
    check_value(store, zeros, zeros);
    check_value(store, nothing, slice_of("of the empty key"));
    check_value(store, slice_of("empty"), nothing);
    CHECK_EQ(store_count(store), 3);
    CHECK_EQ(store_bytes(store), 5 + 5 + 16 + 5);
    store_free(store);
}

static void values_are_replaced_by_longer_and_shorter_ones(void)
{
    static char bytes[70000];
    struct store *store = new_store();
    struct slice key = slice_of("k");

    memset(bytes, 'x', sizeof bytes);
    for (int round = 0; round < 300; round++) {
        struct slice value = {bytes, random_below(round % 3 == 0 ? sizeof bytes : 50)};
        bytes[0] = (char)('a' + round % 26);
        CHECK_EQ(store_set(store, key, value), STORE_OK);
        check_value(store, key, value);
        CHECK_EQ(store_bytes(store), 1 + value.size);
    }
    CHECK_EQ(store_count(store), 1);
    store_free(store);
}

static void a_value_may_come_from_another_key(void)
{
    struct store *store = new_store();
    struct slice value;

    for (unsigned i = 0; i < 1000; i++) { /* so that the table grows while a value is in use */
        put(store, i);
        CHECK(store_get(store, numbered(i), &value));
        CHECK_EQ(store_set(store, numbered(i + 1), value), STORE_OK);
    }
    check_value(store, numbered(1000), slice_of("value 999"));
    store_free(store);
}

static void writing_into_a_value_extends_it_with_zeros(void)
{
    struct store *store = new_store();
    struct slice key = slice_of("k");
    struct slice expected = {"\0\0\0abc", 6};
    struct slice longer = {"\0\0\0aXYZ\0\0!", 10};
    size_t size;

    CHECK_EQ(store_write(store, key, 3, slice_of("abc"), &size), STORE_OK);
    CHECK_EQ(size, 6);
    check_value(store, key, expected);
    CHECK_EQ(store_write(store, key, 4, slice_of("XYZ"), &size), STORE_OK);
    CHECK_EQ(store_write(store, key, 9, slice_of("!"), &size), STORE_OK);
    CHECK_EQ(size, 10);
    check_value(store, key, longer);
    CHECK_EQ(store_bytes(store), 11);
    CHECK_EQ(store_write(store, key, 2, slice_of(""), &size), STORE_OK);
    CHECK_EQ(size, 10);
    store_free(store);
}

static void a_gap_is_zero_even_where_a_longer_value_was(void)
{
    struct store *store = new_store();
    struct slice key = slice_of("k");
    struct slice expected = {"ab\0\0\0z", 6};

    store_set(store, key, slice_of("0123456789"));
    store_set(store, key, slice_of("ab"));
    CHECK_EQ(store_write(store, key, 5, slice_of("z"), NULL), STORE_OK);
    check_value(store, key, expected);
    store_free(store);
}

static void appending_a_byte_at_a_time_keeps_every_byte(void)
{
    struct store *store = new_store();
    struct slice key = slice_of("log");
    struct slice value;

    for (size_t i = 0; i < 100000; i++) {
        char byte = (char)(i * 7 % 251);
        struct slice one = {&byte, 1};
        CHECK_EQ(store_write(store, key, i, one, NULL), STORE_OK);
    }
    CHECK(store_get(store, key, &value));
    CHECK_EQ(value.size, 100000);
    for (size_t i = 0; i < 100000; i++) {
        CHECK_EQ((unsigned char)value.data[i], i * 7 % 251);
    }
    store_free(store);
}

static void a_value_of_the_largest_size_is_kept(void)
{
    struct store *store = new_store();
    struct slice key = slice_of("k");
    struct slice value;
    size_t size;

    CHECK_EQ(store_write(store, key, STORE_VALUE_BYTES_MAX - 1, slice_of("x"), &size), STORE_OK);
    CHECK_EQ(size, STORE_VALUE_BYTES_MAX);
    CHECK_EQ(store_write(store, key, 0, slice_of("y"), &size), STORE_OK);
    CHECK(store_get(store, key, &value));
    CHECK(value.data[0] == 'y' && value.data[1] == '\0' && value.data[value.size - 1] == 'x');
    CHECK(store_delete(store, key));
    CHECK_EQ(store_bytes(store), 0);
    store_free(store);
}

static void deleting_removes_one_key_once(void)
{
    struct store *store = new_store();

    put(store, 1);
    put(store, 2);
    CHECK_EQ(store_delete(store, numbered(1)), 1);
    CHECK_EQ(store_delete(store, numbered(1)), 0);
    CHECK(!store_get(store, numbered(1), NULL));
    CHECK(store_get(store, numbered(2), NULL));
    CHECK_EQ(store_count(store), 1);
    store_free(store);
}

/* ---- Against a model ---- */

enum { MODEL_KEYS = 4000 };

static unsigned char model[MODEL_KEYS]; /* is the key there? */

static void check_against_model(const struct store *store)
{
    size_t count = 0;

    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        CHECK_EQ(store_get(store, numbered(i), NULL), model[i]);
        count += model[i];
    }
    CHECK_EQ(store_count(store), count);
}

/* Changes random keys; `bias` of 100 changes set, the others delete. */
static void change_randomly(struct store *store, unsigned changes, unsigned bias)
{
    for (unsigned i = 0; i < changes; i++) {
        unsigned number = random_below(MODEL_KEYS);
        if (random_below(100) < bias) {
            put(store, number);
            model[number] = 1;
        } else {
            CHECK_EQ(store_delete(store, numbered(number)), model[number]);
            model[number] = 0;
        }
    }
}

static void the_store_agrees_with_a_model_while_it_grows_and_shrinks(void)
{
    struct store *store = new_store();

    memset(model, 0, sizeof model);
    for (int wave = 0; wave < 4; wave++) {
        for (int step = 0; step < 8; step++) {
            change_randomly(store, 1500, wave % 2 == 0 ? 95 : 3);
            check_against_model(store);
        }
    }
    store_flush(store);
    memset(model, 0, sizeof model);
    check_against_model(store);
    change_randomly(store, 1000, 80); /* while the flushed tables are being freed */
    check_against_model(store);
    store_flush(store);
    store_flush(store);
    CHECK_EQ(store_bytes(store), 0);
    store_free(store);
}

static void deferred_work_comes_to_an_end(void)
{
    struct store *store = new_store();
    unsigned steps = 0;

    CHECK_EQ(store_step(store, 10), 0);
    for (unsigned i = 0; i < 3000; i++) {
        put(store, i);
    }
    store_flush(store);
    put(store, 1);
    while (store_step(store, 10)) {
        CHECK(++steps < 10000);
    }
    CHECK(steps > 10); /* it was not done at once */
    CHECK_EQ(store_count(store), 1);
    store_free(store);
}

/* ---- Iterating ---- */

static void mark_key(void *arg, struct slice key, struct slice value)
{
    unsigned *visits = arg;
    char text[32];

    CHECK(key.size > 4 && key.size < sizeof text);
    memcpy(text, key.data, key.size);
    text[key.size] = '\0';
    unsigned number = (unsigned)strtoul(text + 4, NULL, 10);
    CHECK(number < MODEL_KEYS);
    visits[number]++;
    CHECK(value.size > 6 && memcmp(value.data, "value ", 6) == 0);
}

static void a_walk_visits_every_key_once(void)
{
    static unsigned visits[MODEL_KEYS];
    struct store *store = new_store();

    memset(visits, 0, sizeof visits);
    store_each(store, mark_key, visits);
    for (unsigned i = 0; i < 1030; i++) { /* just behind a power of two: a resize is under way */
        put(store, i);
    }
    store_each(store, mark_key, visits);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        CHECK_EQ(visits[i], i < 1030);
    }
    store_free(store);
}

static void a_scan_of_a_quiet_store_visits_every_key(void)
{
    static unsigned visits[MODEL_KEYS];

    for (unsigned count = 0; count < 300; count++) { /* with and without a resize under way */
        struct store *store = new_store();
        uint64_t cursor = 0;
        memset(visits, 0, sizeof visits);
        for (unsigned i = 0; i < count; i++) {
            put(store, i);
        }
        do {
            cursor = store_scan(store, cursor, mark_key, visits);
        } while (cursor != 0);
        for (unsigned i = 0; i < count; i++) {
            CHECK(visits[i] >= 1);
        }
        store_free(store);
    }
}

/*
 * Keys below `steady` stay; the others come and go between the steps of a scan, so that the table
 * is resized in both directions meanwhile. Every steady key has to be visited.
 */
static void scan_while_changing(unsigned steady, unsigned start, int growing)
{
    static unsigned visits[MODEL_KEYS];
    struct store *store = new_store();
    uint64_t cursor = 0;
    unsigned at = start;

    memset(visits, 0, sizeof visits);
    for (unsigned i = 0; i < start; i++) {
        put(store, i);
    }
    do {
        cursor = store_scan(store, cursor, mark_key, visits);
        for (unsigned changes = random_below(60); changes > 0; changes--) {
            if (growing && at < MODEL_KEYS) {
                put(store, at++);
            } else if (!growing && at > steady) {
                store_delete(store, numbered(--at));
            }
        }
    } while (cursor != 0);
    for (unsigned i = 0; i < steady; i++) {
        CHECK(visits[i] >= 1);
    }
    store_free(store);
}

static void a_scan_misses_no_key_while_the_table_grows(void)
{
    for (unsigned round = 0; round < 200; round++) {
        unsigned start = 1 + random_below(500);
        scan_while_changing(start, start, 1);
    }
}

static void a_scan_misses_no_key_while_the_table_shrinks(void)
{
    for (unsigned round = 0; round < 100; round++) {
        scan_while_changing(1 + random_below(100), 1000 + random_below(3000), 0);
    }
}

static void ignore_key(void *arg, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)arg;
}

static void any_number_is_a_cursor_and_scans_end(void)
{
    struct store *store = new_store();
    unsigned visited = 0;

    CHECK_EQ(store_scan(store, UINT64_MAX, ignore_key, &visited), 0);
    for (unsigned i = 0; i < 100; i++) {
        put(store, i);
    }
    for (unsigned round = 0; round < 1000; round++) {
        uint64_t cursor = (uint64_t)random_below(UINT32_MAX) << 32 | random_below(UINT32_MAX);
        unsigned steps = 0;
        do {
            cursor = store_scan(store, cursor, ignore_key, &visited);
            CHECK(++steps < 1000);
        } while (cursor != 0);
    }
    store_free(store);
}

static void random_keys_are_keys_and_all_come_up(void)
{
    static unsigned visits[MODEL_KEYS];
    struct store *store = new_store();
    struct slice key;

    CHECK(!store_random_key(store, &key));
    memset(visits, 0, sizeof visits);
    for (unsigned i = 0; i < 20; i++) {
        put(store, i);
    }
    for (unsigned i = 0; i < 2000; i++) {
        CHECK(store_random_key(store, &key));
        mark_key(visits, key, slice_of("value 0"));
    }
    for (unsigned i = 0; i < 20; i++) {
        CHECK(visits[i] > 0);
    }
    for (unsigned i = 0; i < 19; i++) {
        store_delete(store, numbered(i));
    }
    for (unsigned i = 0; i < 2000; i++) { /* most buckets are empty now */
        CHECK(store_random_key(store, &key));
        CHECK(slice_equal(key, numbered(19)));
    }
    store_free(store);
}

/* ---- The digest ---- */

/* The same changes, applied to tables of other secrets, one of which has been larger. */
static void the_digest_is_of_the_content_alone(void)
{
    struct store *a = store_new(secret);
    struct store *b = store_new(other_secret);

    CHECK(a != NULL && b != NULL);
    CHECK_EQ(store_digest(a), store_digest(b));
    for (unsigned i = 0; i < 3000; i++) {
        put(a, i);
        put(b, i);
    }
    CHECK_EQ(store_digest(a), store_digest(b));
    for (unsigned i = 500; i < 3000; i++) {
        store_delete(a, numbered(i));
    }
    CHECK(store_digest(a) != store_digest(b));
    for (unsigned i = 3000; i > 500; i--) {
        store_delete(b, numbered(i - 1));
        store_step(b, 1000);
    }
    CHECK_EQ(store_digest(a), store_digest(b));
    store_set(a, numbered(7), slice_of("value 9"));
    store_set(b, numbered(7), slice_of("value 8"));
    CHECK(store_digest(a) != store_digest(b));
    store_free(a);
    store_free(b);
}

static uint64_t digest_of(const char *key, const char *value)
{
    struct store *store = new_store();
    uint64_t digest;

    CHECK_EQ(store_set(store, slice_of(key), slice_of(value)), STORE_OK);
    digest = store_digest(store);
    store_free(store);
    return digest;
}

static void the_digest_tells_a_key_from_its_value(void)
{
    CHECK(digest_of("ab", "c") != digest_of("a", "bc"));
    CHECK(digest_of("a", "b") != digest_of("b", "a"));
    CHECK(digest_of("a", "") != digest_of("", "a"));
    CHECK(digest_of("", "") != 0);
}

/* ---- SipHash ---- */

/* Vectors of the reference implementation: key 00..0f, input of n bytes 00, 01, ... */
static void siphash_gives_the_published_values(void)
{
    static const uint8_t key_bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct siphash_key key = {load_u64(key_bytes), load_u64(key_bytes + 8)};
    char input[16];

    for (int i = 0; i < 16; i++) {
        input[i] = (char)i;
    }
    struct slice none = {input, 0};
    struct slice eight = {input, 8};
    struct slice fifteen = {input, 15};
    CHECK_EQ(siphash(key, none), UINT64_C(0x726fdb47dd0e0e31));
    CHECK_EQ(siphash(key, eight), UINT64_C(0x93f5f5799a932462));
    CHECK_EQ(siphash(key, fifteen), UINT64_C(0xa129ca6149be45e5));
}

/* ---- Patterns ---- */

static int matches(const char *pattern, const char *text)
{
    return glob_match(slice_of(pattern), slice_of(text), 0);
}

static void patterns_match_as_documented(void)
{
    CHECK(matches("h?llo", "hello") && matches("h?llo", "hxllo") && !matches("h?llo", "hllo"));
    CHECK(matches("h*llo", "hllo") && matches("h*llo", "heeeello") && !matches("h*llo", "hell"));
    CHECK(matches("h[ae]llo", "hallo") && !matches("h[ae]llo", "hillo"));
    CHECK(matches("h[^e]llo", "hallo") && !matches("h[^e]llo", "hello"));
    CHECK(matches("h[a-b]llo", "hbllo") && !matches("h[a-b]llo", "hcllo"));
    CHECK(matches("[\\]]", "]") && matches("[a\\-c]", "-") && !matches("[a\\-c]", "b"));
    CHECK(matches("h\\*llo", "h*llo") && !matches("h\\*llo", "hello"));
    CHECK(matches("", "") && !matches("", "a") && !matches("a", "") && matches("*", ""));
    CHECK(matches("*a*b*", "xxaxxbxx") && !matches("*a*b*", "xxbxxaxx"));
    CHECK(!matches("abc", "abcd") && !matches("abcd", "abc"));
    CHECK(glob_match(slice_of("SA[A-V]E"), slice_of("save"), 1));
    CHECK(!glob_match(slice_of("SAVE"), slice_of("save"), 0));
}

static void patterns_are_binary_safe(void)
{
    struct slice text = {"a\0b", 3};
    struct slice pattern = {"a[\0-\1]*", 7};

    CHECK(glob_match(pattern, text, 0));
    CHECK(glob_match(slice_of("a?b"), text, 0));
    CHECK(!glob_match(slice_of("a"), text, 0));
}

/* CVE-2022-36021 and CVE-2024-31228: patterns that once took for ever, or the whole stack. */
static void no_pattern_explodes(void)
{
    enum { STARS = 100000 };
    static char pattern[2 * STARS];
    static char text[1000];
    struct slice whole = {pattern, sizeof pattern};
    struct slice part = {pattern, 2 * 40};
    struct slice subject = {text, sizeof text};

    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < STARS; i++) {
        pattern[2 * i] = '*';
        pattern[2 * i + 1] = 'a';
    }
    CHECK(!glob_match(whole, subject, 0));
    pattern[2 * 40 - 1] = 'b';
    CHECK(!glob_match(part, subject, 0));
    memset(pattern, '*', sizeof pattern);
    CHECK(glob_match(whole, subject, 0));
    memset(pattern, '[', sizeof pattern);
    CHECK(!glob_match(whole, subject, 0));
    memset(pattern, '\\', sizeof pattern);
    CHECK(!glob_match(whole, subject, 0));
}

int main(void)
{
    RUN(what_is_set_is_got);
    RUN(values_are_replaced_by_longer_and_shorter_ones);
    RUN(a_value_may_come_from_another_key);
    RUN(writing_into_a_value_extends_it_with_zeros);
    RUN(a_gap_is_zero_even_where_a_longer_value_was);
    RUN(appending_a_byte_at_a_time_keeps_every_byte);
    RUN(a_value_of_the_largest_size_is_kept);
    RUN(deleting_removes_one_key_once);
    RUN(the_store_agrees_with_a_model_while_it_grows_and_shrinks);
    RUN(deferred_work_comes_to_an_end);
    RUN(a_walk_visits_every_key_once);
    RUN(a_scan_of_a_quiet_store_visits_every_key);
    RUN(a_scan_misses_no_key_while_the_table_grows);
    RUN(a_scan_misses_no_key_while_the_table_shrinks);
    RUN(any_number_is_a_cursor_and_scans_end);
    RUN(random_keys_are_keys_and_all_come_up);
    RUN(the_digest_is_of_the_content_alone);
    RUN(the_digest_tells_a_key_from_its_value);
    RUN(siphash_gives_the_published_values);
    RUN(patterns_match_as_documented);
    RUN(patterns_are_binary_safe);
    RUN(no_pattern_explodes);
    return check_done();
}
