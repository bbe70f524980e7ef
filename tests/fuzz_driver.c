/*
 * Runs a fuzz target without a fuzzer: replays files, and on request mutates them.
 *
 *     fuzz_X FILE_OR_DIRECTORY...
 *     fuzz_X --mutate COUNT [--seed SEED] FILE_OR_DIRECTORY...
 *
 * Each file is one test; so is each thousand of mutations begun. A target that finds something
 * aborts: the input is then named, and a mutated one is left in ./fuzz-failure.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20, MUTANT_MAX = 1 << 14 };

struct input {
    char *path;
    uint8_t *data;
    size_t size;
};

struct corpus {
    struct input *inputs;
    size_t count;
};

/* What runs now, for the handler that names it when the target aborts. */
static const char *current_path;
static const uint8_t *current_data; /* a mutant; null for a file */
static size_t current_size;

static void on_fatal(int number)
{
    static const char label[] = "FAIL ";
    static const char ending[] = ": the target aborted\n";
    if (current_data != NULL) {
        int file = open("fuzz-failure", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (file >= 0) {
            (void)!write(file, current_data, current_size);
            close(file);
        }
    }
    (void)!write(STDOUT_FILENO, label, sizeof label - 1);
    (void)!write(STDOUT_FILENO, current_path, strlen(current_path));
    (void)!write(STDOUT_FILENO, ending, sizeof ending - 1);
    signal(number, SIG_DFL);
    raise(number);
}

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "fuzz driver: out of memory\n");
        exit(2);
    }
    return p;
}

static void die(const char *path)
{
    fprintf(stderr, "fuzz driver: %s: %s\n", path, strerror(errno));
    exit(2);
}

/* ---- The corpus ----------------------------------------------------------------------------- */

static void add_file(struct corpus *corpus, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        die(path);
    }
    uint8_t *data = must(malloc(INPUT_MAX));
    size_t size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    corpus->inputs = must(realloc(corpus->inputs, (corpus->count + 1) * sizeof *corpus->inputs));
    struct input *input = &corpus->inputs[corpus->count++];
    input->path = must(strdup(path));
    input->data = must(realloc(data, size > 0 ? size : 1)); /* no byte more: readers beyond show */
    input->size = size;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->path, ((const struct input *)b)->path);
}

static void add_directory(struct corpus *corpus, const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        die(path);
    }
    size_t first = corpus->count;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char full[4096];
        struct stat about;
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(full, &about) == 0 && S_ISREG(about.st_mode)) {
            add_file(corpus, full);
        }
    }
    closedir(directory);
    if (corpus->count > first) { /* the same order on every file system */
        qsort(corpus->inputs + first, corpus->count - first, sizeof *corpus->inputs, by_path);
    }
}

static void add_path(struct corpus *corpus, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        die(path);
    }
    if (S_ISDIR(about.st_mode)) {
        add_directory(corpus, path);
    } else {
        add_file(corpus, path);
    }
}

static void free_corpus(struct corpus *corpus)
{
    for (size_t i = 0; i < corpus->count; i++) {
        free(corpus->inputs[i].path);
        free(corpus->inputs[i].data);
    }
    free(corpus->inputs);
}

/* ---- Mutations ------------------------------------------------------------------------------ */

static uint64_t random_step(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static const uint64_t interesting[] = {
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    65535,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    INT64_MAX - 1,
    INT64_MAX,
    (uint64_t)1 << 63,
    UINT64_MAX - 7,
    UINT64_MAX,
};

static void write_number(uint8_t *out, size_t room, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width && i < room; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

/* Removes, repeats or takes over a stretch of bytes; the new size. */
static size_t mutate_stretch(uint8_t *data, size_t size, uint64_t r, const struct input *other)
{
    size_t at = size > 0 ? (size_t)(r >> 8) % size : 0;
    size_t length = 1 + (size_t)(r >> 40) % 64;
    if (r % 3 == 0) {
        length = length < size - at ? length : size - at;
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    }
    const uint8_t *source = r % 3 == 1 ? data : other->data;
    size_t source_size = r % 3 == 1 ? size : other->size;
    size_t from = source_size > 0 ? (size_t)(r >> 24) % source_size : 0;
    uint8_t copy[64];
    length = length < source_size - from ? length : source_size - from;
    length = size + length <= MUTANT_MAX ? length : 0;
    memcpy(copy, source + from, length);
    memmove(data + at + length, data + at, size - at);
    memcpy(data + at, copy, length);
    return size + length;
}

static size_t mutate_once(uint8_t *data, size_t size, uint64_t *seed, const struct input *other)
{
    static const size_t widths[] = {1, 2, 4, 8};
    uint64_t r = random_step(seed);
    size_t at = size > 0 ? (size_t)(r >> 16) % size : 0;
    if (size == 0 || r % 4 == 0) {
        return mutate_stretch(data, size, random_step(seed), other);
    }
    if (r % 4 == 1) {
        data[at] ^= (uint8_t)(1u << (r >> 8) % 8);
    } else if (r % 4 == 2) {
        data[at] = (uint8_t)(r >> 8);
    } else {
        uint64_t value = interesting[(r >> 8) % (sizeof interesting / sizeof interesting[0])];
        write_number(data + at, size - at, value, widths[(r >> 4) % 4]);
    }
    return size;
}

static void run_mutations(const struct corpus *corpus, uint64_t count, uint64_t seed)
{
    uint8_t *work = must(malloc(MUTANT_MAX + 64));
    for (uint64_t i = 0; i < count; i++) {
        const struct input *base = &corpus->inputs[random_step(&seed) % corpus->count];
        size_t size = base->size < MUTANT_MAX ? base->size : MUTANT_MAX;
        memcpy(work, base->data, size);
        for (uint64_t times = 1 + random_step(&seed) % 6; times > 0; times--) {
            const struct input *other = &corpus->inputs[random_step(&seed) % corpus->count];
            size = mutate_once(work, size, &seed, other);
        }
        uint8_t *exact = must(malloc(size > 0 ? size : 1));
        memcpy(exact, work, size);
        current_path = base->path;
        current_data = exact;
        current_size = size;
        LLVMFuzzerTestOneInput(exact, size);
        current_data = NULL;
        free(exact);
    }
    free(work);
}

/* ---- The program ---------------------------------------------------------------------------- */

static uint64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text != NULL ? text : "", &end, 10);
    if (errno != 0 || text == NULL || end == text || *end != '\0') {
        fprintf(stderr, "fuzz driver: a number is missing or not one\n");
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    struct corpus corpus = {NULL, 0};
    uint64_t mutations = 0;
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutate") == 0) {
            mutations = number_of(argv[++i]);
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = number_of(argv[++i]);
        } else {
            add_path(&corpus, argv[i]);
        }
    }
    signal(SIGABRT, on_fatal);
    signal(SIGSEGV, on_fatal);
    for (size_t i = 0; i < corpus.count; i++) {
        current_path = corpus.inputs[i].path;
        LLVMFuzzerTestOneInput(corpus.inputs[i].data, corpus.inputs[i].size);
    }
    if (corpus.count > 0) {
        run_mutations(&corpus, mutations, seed);
    }
    printf("%llu passed, 0 failed\n",
           (unsigned long long)(corpus.count + (mutations + 999) / 1000));
    free_corpus(&corpus);
    return 0;
}
