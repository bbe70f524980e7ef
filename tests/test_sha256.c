/*
 * SHA-256 and HMAC against published vectors: the examples of FIPS 180-4, the cases of RFC 4231.
 * Cutting the input into pieces changes nothing, wherever the cuts are.
 */
#include "check.h"
#include "sha256.h"

#include <stdlib.h>
#include <string.h>

static void (*begin)(struct sha256 *hash); /* with the processor's instructions, or without */

static void to_text(const uint8_t *hash, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++) {
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    }
}

static void check_hash(const void *data, size_t size, const char *expected)
{
    struct sha256 hash;
    uint8_t out[SHA256_BYTES];
    char text[2 * SHA256_BYTES + 1];
    begin(&hash);
    sha256_add(&hash, data, size);
    sha256_end(&hash, out);
    to_text(out, sizeof out, text);
    CHECK_STR(text, expected);
}

static void check_hmac(const void *key, size_t key_size, const char *data, size_t size,
                       const char *expected)
{
    struct hmac hmac;
    uint8_t out[SHA256_BYTES];
    char text[2 * SHA256_BYTES + 1];
    hmac_begin(&hmac, key, key_size);
    hmac_add(&hmac, data, size);
    hmac_end(&hmac, out);
    to_text(out, strlen(expected) / 2, text); /* one case publishes a beginning only */
    CHECK_STR(text, expected);
}

static void hashes_are_those_of_the_standard(void)
{
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char longer[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                                 "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    check_hash("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_hash("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_hash(two_blocks, strlen(two_blocks),
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_hash(longer, strlen(longer),
               "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

static void a_million_letters_hash_as_in_the_standard(void)
{
    char *data = malloc(1000000);
    CHECK(data != NULL);
    memset(data, 'a', 1000000);
    check_hash(data, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(data);
}

/* Every length around the ends of blocks, cut at every place. */
static void cuts_change_nothing(void)
{
    uint8_t data[3 * SHA256_BLOCK];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(7 * i + i / 13);
    }
    for (size_t size = 0; size <= sizeof data; size++) {
        struct sha256 hash;
        uint8_t whole[SHA256_BYTES], pieces[SHA256_BYTES];
        begin(&hash);
        sha256_add(&hash, data, size);
        sha256_end(&hash, whole);
        for (size_t cut = 0; cut <= size; cut++) {
            begin(&hash);
            sha256_add(&hash, data, cut);
            sha256_add(&hash, data + cut, (size - cut) / 2);
            sha256_add(&hash, data + cut + (size - cut) / 2, size - cut - (size - cut) / 2);
            sha256_end(&hash, pieces);
            CHECK(!memcmp(whole, pieces, sizeof whole));
        }
    }
}

/* Of byte i worth i mod 251, by another program; the padding changes its shape at 56 and 64. */
static void lengths_around_a_block_are_padded_rightly(void)
{
    static const struct {
        size_t size;
        const char *hash;
    } known[] = {
        {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {55, "463eb28e72f82e0a96c0a4cc53690c571281131f672aa229e0d45ae59b598b59"},
        {56, "da2ae4d6b36748f2a318f23e7ab1dfdf45acdc9d049bd80e59de82a60895f562"},
        {57, "2fe741af801cc238602ac0ec6a7b0c3a8a87c7fc7d7f02a3fe03d1c12eac4d8f"},
        {63, "29af2686fd53374a36b0846694cc342177e428d1647515f078784d69cdb9e488"},
        {64, "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108"},
        {65, "4bfd2c8b6f1eec7a2afeb48b934ee4b2694182027e6d0fc075074f2fabb31781"},
        {119, "da18797ed7c3a777f0847f429724a2d8cd5138e6ed2895c3fa1a6d39d18f7ec6"},
        {120, "f52b23db1fbb6ded89ef42a23ce0c8922c45f25c50b568a93bf1c075420bbb7c"},
        {127, "92ca0fa6651ee2f97b884b7246a562fa71250fedefe5ebf270d31c546bfea976"},
        {128, "471fb943aa23c511f6f72f8d1652d9c880cfa392ad80503120547703e56a2be5"},
        {129, "5099c6a56203f9687f7d33f4bfdf576d31dc91f6b695ecea38b2770c87631135"},
        {256, "5bc31b283cef0072274e97d74916552954c935794536cab632641e5ea071379d"},
    };
    uint8_t data[256];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i % 251);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        check_hash(data, known[i].size, known[i].hash);
    }
}

static void keyed_hashes_are_those_of_the_rfc(void)
{
    uint8_t key[131], data[50];
    static const char large[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    static const char both[] =
        "This is a test using a larger than block-size key and a larger than block-size data. The "
        "key needs to be hashed before being used by the HMAC algorithm.";
    memset(key, 0x0b, 20);
    check_hmac(key, 20, "Hi There", 8,
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check_hmac("Jefe", 4, "what do ya want for nothing?", 28,
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    check_hmac(key, 20, (const char *)data, sizeof data,
               "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    for (int i = 0; i < 25; i++) {
        key[i] = (uint8_t)(i + 1);
    }
    memset(data, 0xcd, sizeof data);
    check_hmac(key, 25, (const char *)data, sizeof data,
               "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    memset(key, 0x0c, 20);
    check_hmac(key, 20, "Test With Truncation", 20, "a3b6167473100ee06e0c796c2955552b");
    memset(key, 0xaa, sizeof key);
    check_hmac(key, sizeof key, large, strlen(large),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    check_hmac(key, sizeof key, both, strlen(both),
               "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

/* A copy of the begun state stands for the key, as often as one likes. */
static void a_copy_begins_the_next_message_under_the_same_key(void)
{
    struct hmac keyed;
    hmac_begin(&keyed, "Jefe", 4);
    for (int i = 0; i < 3; i++) {
        struct hmac copy = keyed;
        uint8_t out[SHA256_BYTES];
        char text[2 * SHA256_BYTES + 1];
        hmac_add(&copy, "what do ya ", 11);
        hmac_add(&copy, "want for nothing?", 17);
        hmac_end(&copy, out);
        to_text(out, sizeof out, text);
        CHECK_STR(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}

/* Lengths at random: both ways of stirring give the same. */
static void instructions_change_nothing(void)
{
    uint8_t data[1024];
    uint32_t random = 12345;
    for (int round = 0; round < 2000; round++) {
        struct sha256 one, other;
        uint8_t of_one[SHA256_BYTES], of_other[SHA256_BYTES];
        random = random * 1664525u + 1013904223u;
        size_t size = random >> 22;
        for (size_t i = 0; i < size; i++) {
            random = random * 1664525u + 1013904223u;
            data[i] = (uint8_t)(random >> 24);
        }
        sha256_begin(&one);
        sha256_begin_portable(&other);
        sha256_add(&one, data, size);
        sha256_add(&other, data, size);
        sha256_end(&one, of_one);
        sha256_end(&other, of_other);
        CHECK(!memcmp(of_one, of_other, sizeof of_one));
    }
}

static void run_hashes(void)
{
    RUN(hashes_are_those_of_the_standard);
    RUN(a_million_letters_hash_as_in_the_standard);
    RUN(cuts_change_nothing);
    RUN(lengths_around_a_block_are_padded_rightly);
}

int main(void)
{
    begin = sha256_begin_portable;
    run_hashes();
    begin = sha256_begin;
    run_hashes();
    RUN(instructions_change_nothing);
    RUN(keyed_hashes_are_those_of_the_rfc);
    RUN(a_copy_begins_the_next_message_under_the_same_key);
    return check_done();
}
