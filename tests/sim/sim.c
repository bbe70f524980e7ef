/*
 * The simulator's command line.
 *
 *     sim --seed N [--runs K] [--jobs J] [--protocol raft|multipaxos|both]
 *         [--store model|wal|both] [--trace] [--check-determinism] [--keep-going]
 *
 * Runs seeds N to N+K-1; with both protocols each seed is run under either of them, with the same
 * options and the same script of faults. Every run depends on its seed alone, and what is printed does not depend
 * on J. Exit status 0: nothing found; 1: the first failing seed and its invariant were printed, or
 * a counter is below its floor; 2: usage.
 *
 * Workers are processes: worker w of J takes every J-th seed from N+w on and sends its results
 * through a pipe; the parent takes them in the order of seeds. So a worker that dies tells by its
 * silence which seed killed it.
 */
#define _POSIX_C_SOURCE 200809L

#include "sim.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 64

/* The order of the protocols' counters, and of the two runs of a seed. */
enum { RAFT_RUNS, PAXOS_RUNS, PROTOCOLS };

struct arguments {
    uint64_t seed;
    uint64_t runs; /* of each protocol */
    int runs_protocol[PROTOCOLS];
    uint64_t jobs;
    enum plan_store store;
    int trace;
    int check_determinism;
    int keep_going;
};

struct worker {
    pid_t pid;
    int pipe; /* results are read here */
};

/* ---- Arguments ------------------------------------------------------------------------------- */

static int usage(void)
{
    fputs("usage: sim --seed N [--runs K] [--jobs J] [--protocol raft|multipaxos|both]\n"
          "           [--store model|wal|both] [--trace] [--check-determinism] [--keep-going]\n",
          stderr);
    return 2;
}

static int parse_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
}

static int parse_store(const char *text, enum plan_store *store)
{
    static const char *const names[] = {"model", "wal", "both"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *store = (enum plan_store)i;
            return 1;
        }
    }
    return 0;
}

static int parse_protocol(const char *text, int runs_protocol[PROTOCOLS])
{
    int both = strcmp(text, "both") == 0;
    runs_protocol[RAFT_RUNS] = both || strcmp(text, "raft") == 0;
    runs_protocol[PAXOS_RUNS] = both || strcmp(text, "multipaxos") == 0;
    return runs_protocol[RAFT_RUNS] || runs_protocol[PAXOS_RUNS];
}

/* An option with a value; 0 where it is none or wrong. */
static int parse_valued(struct arguments *arguments, const char *name, const char *value)
{
    if (strcmp(name, "--seed") == 0) {
        return parse_number(value, &arguments->seed);
    }
    if (strcmp(name, "--runs") == 0) {
        return parse_number(value, &arguments->runs);
    }
    if (strcmp(name, "--jobs") == 0) {
        return parse_number(value, &arguments->jobs) && arguments->jobs >= 1 &&
               arguments->jobs <= JOBS_MAX;
    }
    if (strcmp(name, "--store") == 0) {
        return parse_store(value, &arguments->store);
    }
    return strcmp(name, "--protocol") == 0 && parse_protocol(value, arguments->runs_protocol);
}

static int parse(struct arguments *arguments, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            arguments->trace = 1;
        } else if (strcmp(argv[i], "--check-determinism") == 0) {
            arguments->check_determinism = 1;
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            arguments->keep_going = 1;
        } else if (i + 1 >= argc || !parse_valued(arguments, argv[i], argv[i + 1])) {
            return 0;
        } else {
            i++;
        }
    }
    return arguments->runs > 0;
}

/* ---- One seed -------------------------------------------------------------------------------- */

/* I27: a second run of the same seed has to be the same, event by event. */
static void run_again(struct sim *sim, const struct plan *plan, struct result *result)
{
    struct result second;
    sim_run(sim, plan, 0, &second);
    COUNT(&result->counters, runs_repeated);
    if (!result->failed && second.trace_hash != result->trace_hash) {
        result->failed = 1;
        snprintf(result->failure, sizeof result->failure, "I27: two runs of the seed differ");
    }
}

/* How many runs there are of a seed. */
static uint64_t protocols(const struct arguments *arguments)
{
    return (uint64_t)arguments->runs_protocol[RAFT_RUNS] +
           (uint64_t)arguments->runs_protocol[PAXOS_RUNS];
}

static int protocol_of(const struct arguments *arguments, uint64_t run)
{
    return protocols(arguments) == PROTOCOLS ? (int)(run % PROTOCOLS)
                                             : arguments->runs_protocol[PAXOS_RUNS];
}

/* The plan of the run of that number. Neither protocol is given options that it has not. */
static struct plan plan_of(const struct arguments *arguments, uint64_t run)
{
    struct plan plan = plan_draw(arguments->seed + run / protocols(arguments), arguments->store);
    plan.paxos = protocol_of(arguments, run) == PAXOS_RUNS;
    plan.no_pull = plan.paxos ? 0 : plan.no_pull;
    return plan;
}

static void run_one(struct sim *sim, const struct arguments *arguments, uint64_t run,
                    struct result *result)
{
    struct plan plan = plan_of(arguments, run);
    sim_run(sim, &plan, arguments->trace, result);
    if (plan.repeat || arguments->check_determinism) {
        run_again(sim, &plan, result);
    }
}

/* ---- Workers --------------------------------------------------------------------------------- */

static int write_all(int fd, const void *data, size_t size)
{
    const char *bytes = data;
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno != EINTR) {
            return 0;
        }
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return 1;
}

static int read_all(int fd, void *data, size_t size)
{
    char *bytes = data;
    while (size > 0) {
        ssize_t got = read(fd, bytes, size);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return 0;
        }
        bytes += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
    return 1;
}

static void work(const struct arguments *arguments, uint64_t first, int pipe_end)
{
    struct sim *sim = calloc(1, sizeof *sim);
    struct result result;
    if (sim == NULL) {
        exit(2);
    }
    for (uint64_t i = first; i < arguments->runs * protocols(arguments); i += arguments->jobs) {
        run_one(sim, arguments, i, &result);
        if (!write_all(pipe_end, &result, sizeof result)) {
            break;
        }
    }
    sim_free(sim);
    free(sim);
    exit(0);
}

static int start_worker(const struct arguments *arguments, uint64_t first, struct worker *worker)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return 0;
    }
    fflush(stdout);
    worker->pid = fork();
    if (worker->pid == 0) {
        close(ends[0]);
        work(arguments, first, ends[1]);
    }
    close(ends[1]);
    worker->pipe = ends[0];
    return worker->pid > 0;
}

static void stop_workers(struct worker *workers, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (workers[i].pid > 0) {
            kill(workers[i].pid, SIGKILL);
            waitpid(workers[i].pid, NULL, 0);
        }
        close(workers[i].pipe);
    }
}

/* A worker that ended before its time: the seed at hand killed it. */
static void bury_worker(struct worker *worker, uint64_t seed, struct result *result)
{
    int status = 0;
    memset(result, 0, sizeof *result);
    result->seed = seed;
    result->failed = 1;
    waitpid(worker->pid, &status, 0);
    worker->pid = 0;
    snprintf(result->failure, sizeof result->failure, "died: the process ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void report_failure(const struct arguments *arguments, uint64_t run,
                           const struct result *result)
{
    struct plan plan = plan_of(arguments, run);
    static const char *const stores[] = {" --store model", " --store wal", ""};
    printf("seed %" PRIu64 "%s FAILS: %s\n", result->seed, plan.paxos ? " (multipaxos)" : "",
           result->failure);
    plan_print(&plan, stdout);
    printf("replay: build/sim --seed %" PRIu64 "%s%s --trace\n", result->seed,
           plan.paxos ? " --protocol multipaxos" : "", stores[arguments->store]);
}

static void add_counters(struct counters *total, const struct counters *counters)
{
    for (int i = 0; i < COUNTER_COUNT; i++) {
        total->value[i] += counters->value[i];
    }
}

/* Prints a counter of either protocol. Returns how many are below their floor. */
static int report_counter(const struct arguments *arguments, const char *name,
                          const uint64_t value[PROTOCOLS], const uint64_t floors[PROTOCOLS])
{
    int judged = arguments->runs >= FLOOR_RUNS && arguments->store == STORE_BOTH;
    int low = 0;
    printf("%-22s", name);
    for (int i = 0; i < PROTOCOLS; i++) {
        uint64_t floor = floors[i] * (arguments->runs / FLOOR_RUNS);
        if (arguments->runs_protocol[i]) {
            printf(" %12" PRIu64, value[i]);
        }
        if (arguments->runs_protocol[i] && judged && value[i] < floor) {
            printf("  below its floor of %" PRIu64, floor);
            low++;
        }
    }
    putchar('\n');
    return low;
}

static int report_counters(const struct arguments *arguments, const struct counters *totals)
{
    static const char *const names[COUNTER_COUNT] = {
#define X(name, floor) #name,
        COUNTERS(X)
#undef X
    };
    static const uint64_t raft_floors[COUNTER_COUNT] = {
#define X(name, floor) floor,
        COUNTERS(X)
#undef X
    };
    static const uint64_t paxos_floors[COUNTER_COUNT] = {
#define X(name, floor) [COUNT_##name] = floor,
        PAXOS_FLOORS(X)
#undef X
    };
    int low = 0;
    if (protocols(arguments) == PROTOCOLS) {
        printf("%-22s %12s %12s\n", "", "raft", "multipaxos");
    }
    for (int i = 0; i < COUNTER_COUNT; i++) {
        uint64_t value[PROTOCOLS] = {totals[RAFT_RUNS].value[i], totals[PAXOS_RUNS].value[i]};
        uint64_t floors[PROTOCOLS] = {raft_floors[i], paxos_floors[i]};
        low += report_counter(arguments, names[i], value, floors);
    }
    return low;
}

/* ---- All seeds ------------------------------------------------------------------------------- */

struct tally {
    uint64_t runs;
    uint64_t failed;
    uint64_t heal_worst;
    uint64_t hash;
    struct counters counters[PROTOCOLS];
};

/* Adds the result of the next run. Returns 0 where it ends everything. */
static int take_result(const struct arguments *arguments, const struct result *result,
                       struct tally *tally)
{
    uint64_t run = tally->runs++;
    tally->hash = hash_join(tally->hash, result->trace_hash);
    add_counters(&tally->counters[protocol_of(arguments, run)], &result->counters);
    if (result->heal_timeouts > tally->heal_worst) {
        tally->heal_worst = result->heal_timeouts;
    }
    if (result->failed) {
        tally->failed++;
        report_failure(arguments, run, result);
    }
    return !result->failed || arguments->keep_going;
}

static void run_workers(const struct arguments *arguments, struct tally *tally)
{
    struct worker workers[JOBS_MAX];
    struct result result;
    for (uint64_t i = 0; i < arguments->jobs; i++) {
        if (!start_worker(arguments, i, &workers[i])) {
            perror("sim: cannot start a worker");
            exit(2);
        }
    }
    for (uint64_t i = 0; i < arguments->runs * protocols(arguments); i++) {
        struct worker *worker = &workers[i % arguments->jobs];
        if (!read_all(worker->pipe, &result, sizeof result)) {
            bury_worker(worker, arguments->seed + i / protocols(arguments), &result);
            take_result(arguments, &result, tally);
            break;
        }
        if (!take_result(arguments, &result, tally)) {
            break;
        }
    }
    stop_workers(workers, arguments->jobs);
}

/* Timelines are drawn in this process, so that they go where stdout goes. */
static void run_traced(const struct arguments *arguments, struct tally *tally)
{
    struct sim *sim = calloc(1, sizeof *sim);
    struct result result;
    if (sim == NULL) {
        exit(2);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t i = 0; i < protocols(arguments); i++) {
        run_one(sim, arguments, i, &result);
        take_result(arguments, &result, tally);
    }
    sim_free(sim);
    free(sim);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {1, 1, {1, 0}, 1, STORE_BOTH, 0, 0, 0};
    struct tally tally;
    memset(&tally, 0, sizeof tally);
    if (!parse(&arguments, argc, argv)) {
        return usage();
    }
    if (arguments.trace) {
        arguments.runs = 1;
        run_traced(&arguments, &tally);
    } else {
        run_workers(&arguments, &tally);
    }
    int low = tally.failed == 0 ? report_counters(&arguments, tally.counters) : 0;
    printf("%" PRIu64 " runs, %" PRIu64 " failed, slowest healing %" PRIu64
           " election timeouts, trace %016" PRIx64 "\n",
           tally.runs, tally.failed, tally.heal_worst, tally.hash);
    return tally.failed != 0 || low != 0;
}
