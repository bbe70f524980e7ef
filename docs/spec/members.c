/*
 * Searches MultiPaxosMembers.tla: all states within the bounds of a cfg file, breadth first.
 *
 *   members FILE.cfg [STATES]
 *
 * It is the module over again, action for action and by the same names; what is said there is not
 * repeated. Exit status 0: all states were seen, no invariant is broken. 1: one is, and a shortest way
 * to it is printed. 2: there are more than STATES states, or the file cannot be used.
 *
 * Where the two differ in form:
 *   (1) A set of servers is a mask. A log is a number in a table of all logs met.
 *   (2) "For some set of promises" is "for all that are no better than the one looked at": a quorum
 *       with more servers in it is one still.
 *   (3) Of owner tables that are the same but for names one is searched, and of states that are the
 *       same but for names of servers that own no term one is kept.
 *   (4) What StateView leaves out is cleared in the state (forget).
 *   (5) Of a state 64 bits of a hash are kept. With n states the chance that one was taken for
 *       another is about n * n / 2^65.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SERVERS_MAX = 4, TERMS_MAX = 4, LENGTH_MAX = 4, LOGS_MAX = 60000, ORDERS_MAX = 24 };
enum { NOBODY = 255, NO_LOG = UINT16_MAX };

static void stop(const char *what, const char *which)
{
    fprintf(stderr, "members: %s %s\n", what, which);
    exit(2);
}

static void *resize(void *memory, size_t count, size_t size)
{
    void *grown = realloc(memory, count * size);
    if (grown == NULL) {
        stop("no memory", "");
    }
    return grown;
}

/* ---- Constants -------------------------------------------------------------------------------- */

enum mutation {
    NONE,
    P10COMMIT, /* P10: next change once commit >= L, not once a Q2 has accepted */
    P10CHAIN,  /* P10: next change before the previous one is committed */
    ONCE,      /* P9: the membership adopted is not asked for a Q1 */
    KEEPBEST,  /* P9: it is asked, but the best log is not chosen anew */
    OUTSIDE,   /* P9: promises from outside are not looked at for the best log */
    COUNTALL,  /* P9: promises from outside count towards a Q1 */
    SELFCOUNT, /* R46: a leader that is left out counts itself */
    ONESTEP,   /* Q5: any change of one voter is made in one step */
    ANYSTEP,   /* R43: any change at all is made in one step */
    ONEHALF,   /* R13: a quorum of the union of both halves is enough */
    EARLY,     /* P6: accepted_round is raised before L is reached */
    MUTATIONS
};

static const char *const MUTATION_NAMES[MUTATIONS] = {
    "none",     "p10commit", "p10chain", "once",    "keepbest", "outside",
    "countall", "selfcount", "onestep",  "anystep", "onehalf",  "early",
};

static unsigned servers;
static unsigned founders; /* a mask */
static unsigned terms;
static unsigned length_max;
static int has_values;
static int has_joint;
static int is_late;
static int is_narrow;
static enum mutation mutation;
static uint8_t owner[TERMS_MAX + 1];

static unsigned size_of(unsigned set)
{
    return (unsigned)__builtin_popcount(set);
}

static unsigned bit(unsigned server)
{
    return 1u << server;
}

/* ---- Logs ------------------------------------------------------------------------------------- */

struct entry {
    uint8_t term;
    uint8_t now; /* the voters that a change leads to; none: it is not a change */
    uint8_t old; /* those that it comes from; the same: it is not joint */
};

struct log {
    uint8_t length;
    uint8_t change; /* the index of the change that governs; 0: the founding membership does */
    struct entry entries[LENGTH_MAX];
};

static struct log logs[LOGS_MAX];
static unsigned log_count;
static uint16_t log_table[1u << 17]; /* number + 1 */

static uint32_t log_hash(const struct log *log)
{
    uint32_t hash = log->length;
    for (unsigned i = 0; i < log->length; i++) {
        const struct entry *entry = &log->entries[i];
        hash = (hash ^ entry->term) * 0x9e3779b1u;
        hash = (hash ^ entry->now) * 0x9e3779b1u;
        hash = (hash ^ entry->old) * 0x9e3779b1u;
        hash ^= hash >> 15;
    }
    return hash;
}

/* The number of a log whose unused entries are zero. */
static uint16_t number_of(struct log *log)
{
    log->change = 0;
    for (unsigned i = 0; i < log->length; i++) {
        log->change = log->entries[i].now != 0 ? (uint8_t)(i + 1) : log->change;
    }
    uint32_t place = log_hash(log) & ((1u << 17) - 1);
    while (log_table[place] != 0) {
        if (memcmp(&logs[log_table[place] - 1], log, sizeof *log) == 0) {
            return (uint16_t)(log_table[place] - 1);
        }
        place = (place + 1) & ((1u << 17) - 1);
    }
    if (log_count == LOGS_MAX) {
        stop("too many logs", "");
    }
    logs[log_count] = *log;
    log_table[place] = (uint16_t)(log_count + 1);
    return (uint16_t)log_count++;
}

static unsigned length(uint16_t log)
{
    return logs[log].length;
}

static uint16_t cut(uint16_t log, unsigned end)
{
    struct log result;
    if (end >= length(log)) {
        return log;
    }
    memset(&result, 0, sizeof result);
    result.length = (uint8_t)end;
    memcpy(result.entries, logs[log].entries, end * sizeof *result.entries);
    return number_of(&result);
}

static uint16_t append(uint16_t log, struct entry entry)
{
    struct log result = logs[log];
    result.entries[result.length++] = entry;
    return number_of(&result);
}

static unsigned term_at(uint16_t log, unsigned index)
{
    return logs[log].entries[index - 1].term;
}

static int same(uint16_t a, uint16_t b, unsigned end)
{
    return length(a) >= end && length(b) >= end &&
           memcmp(logs[a].entries, logs[b].entries, end * sizeof(struct entry)) == 0;
}

static unsigned join(uint16_t a, uint16_t b)
{
    unsigned index = length(a) < length(b) ? length(a) : length(b);
    while (index > 0 && term_at(a, index) != term_at(b, index)) {
        index--;
    }
    return index;
}

/* ---- Memberships ------------------------------------------------------------------------------ */

static struct entry governing(uint16_t log)
{
    struct entry founding = {0, (uint8_t)founders, (uint8_t)founders};
    unsigned change = logs[log].change;
    return change == 0 ? founding : logs[log].entries[change - 1];
}

static int is_joint(uint16_t log)
{
    struct entry membership = governing(log);
    return membership.now != membership.old;
}

static unsigned q2_size(unsigned count)
{
    return count / 2 + 1;
}

static unsigned q1_size(unsigned count)
{
    return is_narrow ? count - q2_size(count) + 1 : q2_size(count);
}

static struct entry halves(uint16_t log)
{
    struct entry membership = governing(log);
    if (mutation == ONEHALF) {
        membership.now |= membership.old;
        membership.old = membership.now;
    }
    return membership;
}

static int is_q1(unsigned set, uint16_t log)
{
    struct entry half = halves(log);
    unsigned counted = mutation == COUNTALL ? ~0u : 0;
    return size_of(set & (half.now | counted)) >= q1_size(size_of(half.now)) &&
           size_of(set & (half.old | counted)) >= q1_size(size_of(half.old));
}

static int is_q2(unsigned set, uint16_t log)
{
    struct entry half = halves(log);
    return size_of(set & half.now) >= q2_size(size_of(half.now)) &&
           size_of(set & half.old) >= q2_size(size_of(half.old));
}

static int one_step(unsigned a, unsigned b)
{
    unsigned all = size_of(a | b);
    if (mutation == ANYSTEP) {
        return 1;
    }
    return size_of(a ^ b) <= 1 &&
           (mutation == ONESTEP || (q1_size(size_of(a)) + q2_size(size_of(b)) > all &&
                                    q1_size(size_of(b)) + q2_size(size_of(a)) > all));
}

/* ---- States ----------------------------------------------------------------------------------- */

enum phase { FREE, PREP, LEAD, DONE, DEAD };

struct server {
    uint16_t log;
    uint8_t term;
    uint8_t acc;
};

struct ballot {
    uint16_t elog;
    uint16_t prom[SERVERS_MAX]; /* the logs promised with, or NO_LOG */
    uint8_t prom_acc[SERVERS_MAX];
    uint8_t accd[SERVERS_MAX];
    uint8_t phase;
    uint8_t pull;
    uint8_t base;
    uint8_t cmt;
    uint8_t unused[2];
};

/* Without holes: it is hashed as it lies in memory. */
struct state {
    struct server servers[SERVERS_MAX];
    struct ballot ballots[TERMS_MAX];
};

static struct ballot *at(struct state *state, unsigned t)
{
    return &state->ballots[t - 1];
}

static const struct ballot *of(const struct state *state, unsigned t)
{
    return &state->ballots[t - 1];
}

static int led(const struct state *state, unsigned t)
{
    return of(state, t)->phase == LEAD || of(state, t)->phase == DONE;
}

static int is_in(const struct state *state, unsigned s, enum phase phase)
{
    unsigned t = state->servers[s].term;
    return t > 0 && owner[t] == s && of(state, t)->phase == phase;
}

static int leads(const struct state *state, unsigned s)
{
    return is_in(state, s, LEAD);
}

/* Whether the owner of t is at work on it. */
static int is_at(const struct state *state, unsigned t, enum phase phase)
{
    return state->servers[owner[t]].term == t && of(state, t)->phase == phase;
}

static int synced(const struct state *state, unsigned s)
{
    const struct server *server = &state->servers[s];
    return !leads(state, s) || length(server->log) == length(of(state, server->term)->elog);
}

static unsigned reach(const struct state *state, unsigned s, unsigned t)
{
    return join(state->servers[s].log, of(state, t)->elog);
}

static int left(const struct state *state, unsigned t)
{
    int is_left = 1;
    for (unsigned s = 0; s < servers; s++) {
        is_left = is_left && state->servers[s].term > t;
    }
    return is_left;
}

static int has_q2(const struct state *state, unsigned t, unsigned index)
{
    const struct ballot *ballot = of(state, t);
    struct entry membership = governing(ballot->elog);
    unsigned took = 0;
    for (unsigned s = 0; s < servers; s++) {
        took |= ballot->accd[s] > index ? bit(s) : 0;
    }
    if (mutation == SELFCOUNT && ((membership.now | membership.old) & bit(owner[t])) == 0) {
        return (took & bit(owner[t])) != 0 &&
               size_of(took & membership.now) + 1 >= q2_size(size_of(membership.now));
    }
    return is_q2(took, ballot->elog);
}

/* How far the log of leader t is chosen; of a term that was forgotten, all that is left. */
static unsigned chosen(const struct state *state, unsigned t)
{
    const struct ballot *ballot = of(state, t);
    unsigned index = length(ballot->elog);
    if (left(state, t)) {
        return index;
    }
    while (index > ballot->cmt && !has_q2(state, t, index)) {
        index--;
    }
    return index;
}

static void no_promises(struct ballot *ballot)
{
    for (unsigned s = 0; s < SERVERS_MAX; s++) {
        ballot->prom[s] = NO_LOG;
        ballot->prom_acc[s] = 0;
    }
    ballot->pull = NOBODY;
}

/* The candidacy or leadership of s, if there is one, ends. */
static void end(struct state *state, unsigned s)
{
    struct server *server = &state->servers[s];
    if (leads(state, s)) {
        at(state, server->term)->phase = DONE;
    } else if (is_in(state, s, PREP)) {
        at(state, server->term)->phase = DEAD;
        no_promises(at(state, server->term));
    }
}

static void adopt(struct state *state, unsigned s, unsigned t)
{
    if (t > state->servers[s].term) {
        end(state, s);
        state->servers[s].term = (uint8_t)t;
    }
}

/* StateView. `was` is the state before: what was left there is forgotten already. */
static void forget(const struct state *was, struct state *state)
{
    for (unsigned t = 1; t <= terms; t++) {
        struct ballot *ballot = at(state, t);
        if (!left(state, t) || left(was, t)) {
            continue;
        }
        unsigned end_of_chosen = length(ballot->elog);
        while (end_of_chosen > ballot->cmt && !has_q2(state, t, end_of_chosen)) {
            end_of_chosen--;
        }
        ballot->elog = cut(ballot->elog, end_of_chosen);
        ballot->phase = led(state, t) ? DONE : DEAD;
        ballot->base = 0;
        no_promises(ballot);
        memset(ballot->accd, 0, sizeof ballot->accd);
    }
}

static void print_set(unsigned set)
{
    const char *comma = "";
    printf("{");
    for (unsigned s = 0; s < servers; s++) {
        if ((set & bit(s)) != 0) {
            printf("%s%u", comma, s + 1);
            comma = ",";
        }
    }
    printf("}");
}

static void print_log(uint16_t log)
{
    printf("<");
    for (unsigned i = 0; i < length(log); i++) {
        const struct entry *entry = &logs[log].entries[i];
        printf("%s%u", i > 0 ? " " : "", entry->term);
        if (entry->now != 0) {
            printf(":");
            print_set(entry->now);
        }
        if (entry->now != entry->old) {
            print_set(entry->old);
        }
    }
    printf(">");
}

static void print_state(const struct state *state)
{
    for (unsigned s = 0; s < servers; s++) {
        const struct server *server = &state->servers[s];
        printf("   %u: term %u acc %u ", s + 1, server->term, server->acc);
        print_log(server->log);
    }
    printf("\n");
    for (unsigned t = 1; t <= terms; t++) {
        const struct ballot *ballot = of(state, t);
        if (led(state, t)) {
            printf("        leader of %u, server %u: ", t, owner[t] + 1u);
            print_log(ballot->elog);
            printf(" L %u commit %u accepted", ballot->base, ballot->cmt);
            for (unsigned s = 0; s < servers; s++) {
                printf(ballot->accd[s] == 0 ? " -" : " %d", ballot->accd[s] - 1);
            }
            printf("\n");
        }
    }
}

/* ---- Invariants ------------------------------------------------------------------------------- */

static int i1_agreement(const struct state *state)
{
    int holds = 1;
    for (unsigned t = 1; t <= terms; t++) {
        for (unsigned u = 1; u <= terms; u++) {
            unsigned commit = of(state, t)->cmt;
            holds = holds && (!led(state, t) || !led(state, u) || commit > of(state, u)->cmt ||
                              same(of(state, t)->elog, of(state, u)->elog, commit));
        }
    }
    return holds;
}

static int i8_acc_below_term(const struct state *state)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        holds = holds && state->servers[s].acc <= state->servers[s].term;
    }
    return holds;
}

static int i9_accepted_holds_l(const struct state *state)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        const struct server *server = &state->servers[s];
        if (server->acc > 0 && server->acc == server->term) {
            const struct ballot *ballot = of(state, server->acc);
            holds = holds && same(server->log, ballot->elog, length(server->log)) &&
                    length(server->log) >= ballot->base;
        }
    }
    return holds;
}

/* What a term has been forgotten of was looked at while somebody was still in it. */
static int i10_chosen_safe(const struct state *state)
{
    int holds = 1;
    for (unsigned t = 1; t <= terms; t++) {
        for (unsigned u = t + 1; u <= terms && led(state, t); u++) {
            holds = holds && (!led(state, u) || left(state, u) ||
                              same(of(state, t)->elog, of(state, u)->elog, chosen(state, t)));
        }
    }
    return holds;
}

/* What is the same through the last index with the same term is so through every earlier one. */
static int matching(uint16_t a, uint16_t b)
{
    return same(a, b, join(a, b));
}

static int i12_log_matching(const struct state *state)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        for (unsigned r = 0; r < s; r++) {
            holds = holds && matching(state->servers[s].log, state->servers[r].log);
        }
        for (unsigned t = 1; t <= terms; t++) {
            holds = holds && matching(state->servers[s].log, of(state, t)->elog);
        }
    }
    return holds;
}

static int one_open(const struct state *state, uint16_t log)
{
    unsigned known = 0;
    unsigned count = 0;
    for (unsigned t = 1; t <= terms; t++) {
        unsigned index = led(state, t) ? chosen(state, t) : 0;
        index = index < length(log) ? index : length(log);
        while (index > known && !same(of(state, t)->elog, log, index)) {
            index--;
        }
        known = index > known ? index : known;
    }
    for (unsigned i = known; i < length(log); i++) {
        count += logs[log].entries[i].now != 0;
    }
    return count <= 1;
}

static int i17_one_open_change(const struct state *state)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        holds = holds && one_open(state, state->servers[s].log);
    }
    for (unsigned t = 1; t <= terms; t++) {
        holds = holds && one_open(state, of(state, t)->elog);
    }
    return holds;
}

static int p5_commit_in_l(const struct state *state)
{
    int holds = 1;
    for (unsigned t = 1; t <= terms; t++) {
        const struct ballot *ballot = of(state, t);
        holds = holds && (ballot->phase != LEAD || ballot->cmt <= length(ballot->elog));
    }
    return holds;
}

static int i7_nothing_below_promise(const struct state *from, const struct state *to)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        for (unsigned t = 1; t < from->servers[s].term; t++) {
            holds = holds && of(from, t)->accd[s] == of(to, t)->accd[s];
        }
    }
    return holds;
}

static int i8_monotone(const struct state *from, const struct state *to)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        holds = holds && to->servers[s].term >= from->servers[s].term &&
                to->servers[s].acc >= from->servers[s].acc;
    }
    return holds;
}

static int i14_no_chosen_cut(const struct state *from, const struct state *to)
{
    int holds = 1;
    for (unsigned s = 0; s < servers; s++) {
        uint16_t was = from->servers[s].log;
        uint16_t is = to->servers[s].log;
        for (unsigned t = 1; t <= to->servers[s].term && is != was; t++) {
            uint16_t elog = of(from, t)->elog;
            holds = holds && (!led(from, t) || !same(elog, was, chosen(from, t)) ||
                              same(elog, is, chosen(from, t)));
        }
    }
    return holds;
}

/* Those that the file names are looked at. */
static struct {
    const char *name;
    int (*holds)(const struct state *state);
    int is_checked;
} invariants[] = {
    {"I8_AccBelowTerm", i8_acc_below_term, 0},
    {"I9_AcceptedHoldsL", i9_accepted_holds_l, 0},
    {"I12_LogMatching", i12_log_matching, 0},
    {"P5_CommitInL", p5_commit_in_l, 0},
    {"I1_Agreement", i1_agreement, 0},
    {"I10_ChosenSafe", i10_chosen_safe, 0},
    {"I17_OneOpenChange", i17_one_open_change, 0},
};

static struct {
    const char *name;
    int (*holds)(const struct state *from, const struct state *to);
    int is_checked;
} properties[] = {
    {"I7_NothingBelowPromise", i7_nothing_below_promise, 0},
    {"I8_Monotone", i8_monotone, 0},
    {"I14_NoChosenCut", i14_no_chosen_cut, 0},
};

enum {
    INVARIANTS = sizeof invariants / sizeof *invariants,
    PROPERTIES = sizeof properties / sizeof *properties,
};

static const char *broken(const struct state *state)
{
    for (size_t i = 0; i < INVARIANTS; i++) {
        if (invariants[i].is_checked && !invariants[i].holds(state)) {
            return invariants[i].name;
        }
    }
    return NULL;
}

static const char *broken_by_step(const struct state *from, const struct state *to)
{
    for (size_t i = 0; i < PROPERTIES; i++) {
        if (properties[i].is_checked && !properties[i].holds(from, to)) {
            return properties[i].name;
        }
    }
    return NULL;
}

/* ---- The states seen -------------------------------------------------------------------------- */

static uint64_t *prints;  /* by number, in the order in which they were found */
static uint32_t *parents; /* by number */
static uint32_t *seen;    /* an open hash table of numbers + 1 */
static size_t seen_room;  /* a power of two */
static size_t print_count;
static size_t print_room;
static size_t print_limit;

/* Those that own no term, and are all founders or all not, may change places. */
static uint8_t orders[ORDERS_MAX][SERVERS_MAX];
static unsigned order_count;
static uint16_t renamed[ORDERS_MAX][LOGS_MAX]; /* number + 1 of a log under an order */

static unsigned rename_set(unsigned set, const uint8_t *order)
{
    unsigned result = 0;
    for (unsigned s = 0; s < servers; s++) {
        result |= (set & bit(s)) != 0 ? bit(order[s]) : 0;
    }
    return result;
}

static uint16_t rename_log(uint16_t log, unsigned which)
{
    if (log == NO_LOG || which == 0) {
        return log;
    }
    if (renamed[which][log] == 0) {
        struct log result = logs[log];
        for (unsigned i = 0; i < result.length; i++) {
            struct entry *entry = &result.entries[i];
            entry->now = (uint8_t)rename_set(entry->now, orders[which]);
            entry->old = (uint8_t)rename_set(entry->old, orders[which]);
        }
        renamed[which][log] = (uint16_t)(number_of(&result) + 1);
    }
    return (uint16_t)(renamed[which][log] - 1);
}

static void rename_state(const struct state *state, unsigned which, struct state *result)
{
    const uint8_t *order = orders[which];
    *result = *state;
    for (unsigned s = 0; s < servers; s++) {
        result->servers[order[s]] = state->servers[s];
        result->servers[order[s]].log = rename_log(state->servers[s].log, which);
    }
    for (unsigned t = 1; t <= terms; t++) {
        const struct ballot *from = of(state, t);
        struct ballot *to = at(result, t);
        to->elog = rename_log(from->elog, which);
        to->pull = from->pull == NOBODY ? (uint8_t)NOBODY : order[from->pull];
        for (unsigned s = 0; s < servers; s++) {
            to->prom[order[s]] = rename_log(from->prom[s], which);
            to->prom_acc[order[s]] = from->prom_acc[s];
            to->accd[order[s]] = from->accd[s];
        }
    }
}

static uint64_t hash_of(const struct state *state)
{
    uint64_t words[sizeof *state / 8];
    uint64_t hash = 0;
    memcpy(words, state, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        hash = (hash ^ words[i]) * UINT64_C(0xd6e8feb86659fd93);
        hash ^= hash >> 32;
        hash *= UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 29;
    }
    return hash;
}

static uint64_t print_of(const struct state *state)
{
    uint64_t least = hash_of(state);
    struct state other;
    for (unsigned i = 1; i < order_count; i++) {
        rename_state(state, i, &other);
        uint64_t hash = hash_of(&other);
        least = hash < least ? hash : least;
    }
    return least;
}

static void place_print(uint32_t number)
{
    size_t place = prints[number] & (seen_room - 1);
    while (seen[place] != 0) {
        place = (place + 1) & (seen_room - 1);
    }
    seen[place] = number + 1;
}

static void make_room(void)
{
    if (print_count == print_room) {
        print_room = print_room == 0 ? 1u << 16 : print_room * 3 / 2;
        prints = resize(prints, print_room, sizeof *prints);
        parents = resize(parents, print_room, sizeof *parents);
    }
    if (print_count * 10 >= seen_room * 7) {
        free(seen);
        seen_room = seen_room == 0 ? 1u << 16 : seen_room * 2;
        seen = calloc(seen_room, sizeof *seen);
        if (seen == NULL) {
            stop("no memory", "");
        }
        for (size_t i = 0; i < print_count; i++) {
            place_print((uint32_t)i);
        }
    }
}

/* True: it was not seen before. */
static int is_new(uint64_t print, uint32_t parent)
{
    make_room();
    size_t place = print & (seen_room - 1);
    while (seen[place] != 0) {
        if (prints[seen[place] - 1] == print) {
            return 0;
        }
        place = (place + 1) & (seen_room - 1);
    }
    prints[print_count] = print;
    parents[print_count] = parent;
    seen[place] = (uint32_t)++print_count;
    return 1;
}

/* ---- The states to look at -------------------------------------------------------------------- */

enum { CHUNK = 1 << 12 };

static struct state **chunks;
static size_t chunk_room;

static void put(size_t number, const struct state *state)
{
    if (number / CHUNK >= chunk_room) {
        size_t room = chunk_room == 0 ? 64 : chunk_room * 2;
        chunks = resize(chunks, room, sizeof *chunks);
        memset(chunks + chunk_room, 0, (room - chunk_room) * sizeof *chunks);
        chunk_room = room;
    }
    if (chunks[number / CHUNK] == NULL) {
        chunks[number / CHUNK] = resize(NULL, CHUNK, sizeof **chunks);
    }
    chunks[number / CHUNK][number % CHUNK] = *state;
}

static struct state take(size_t number)
{
    struct state state = chunks[number / CHUNK][number % CHUNK];
    if (number % CHUNK == CHUNK - 1) {
        free(chunks[number / CHUNK]);
        chunks[number / CHUNK] = NULL;
    }
    return state;
}

/* ---- Steps ------------------------------------------------------------------------------------ */

struct step {
    const char *action;
    unsigned t;
    unsigned s;
};

static const struct state *now; /* the state that steps are taken from */
static uint32_t now_number;
static uint64_t step_count;
static const char *failure; /* the first invariant found broken */
static uint64_t failed_print;
static uint32_t failed_parent;
static uint64_t wanted; /* retracing: the step to this one is looked for */
static int is_retracing;
static struct step found_step;
static struct state found_state;

static void retrace(const struct state *state, struct step step)
{
    struct state view = *state;
    forget(now, &view);
    if (found_step.action == NULL && print_of(&view) == wanted) {
        found_step = step;
        found_state = view;
    }
}

static void emit(const struct state *state, const char *action, unsigned s, unsigned t)
{
    struct state view = *state;
    struct step step = {action, t, s};
    if (failure != NULL && !is_retracing) {
        return;
    }
    if (is_retracing) {
        retrace(state, step);
        return;
    }
    step_count++;
    forget(now, &view);
    uint64_t print = print_of(&view);
    failure = broken_by_step(now, state);
    if (failure == NULL && is_new(print, now_number)) {
        failure = broken(&view);
        put(print_count - 1, &view);
    }
    if (failure != NULL) {
        failed_print = print;
        failed_parent = now_number;
    }
}

static void set_log(struct state *state, unsigned s, uint16_t log)
{
    state->servers[s].log = log;
}

/* Phase 1. */

static int may_campaign(unsigned s)
{
    uint16_t log = now->servers[s].log;
    unsigned voters = founders;
    for (unsigned i = 0; i < length(log); i++) {
        voters |= logs[log].entries[i].now | logs[log].entries[i].old;
    }
    return (voters & bit(s)) != 0;
}

static void campaign(unsigned t)
{
    unsigned s = owner[t];
    struct state next = *now;
    if (of(now, t)->phase == FREE && t > now->servers[s].term && synced(now, s) &&
        may_campaign(s)) {
        end(&next, s);
        next.servers[s].term = (uint8_t)t;
        at(&next, t)->phase = PREP;
        emit(&next, "Campaign", s, t);
    }
}

static void promise(unsigned s, unsigned t)
{
    const struct ballot *ballot = of(now, t);
    const struct server *server = &now->servers[s];
    struct state next = *now;
    int is_first = t > server->term ||
                   (t == server->term && ballot->phase == PREP && ballot->prom[s] == NO_LOG);
    if (ballot->phase == FREE || owner[t] == s || !synced(now, s) || !is_first) {
        return;
    }
    adopt(&next, s, t);
    if (ballot->phase == PREP) {
        at(&next, t)->prom[s] = server->log;
        at(&next, t)->prom_acc[s] = server->acc;
    }
    emit(&next, "Promise", s, t);
}

static int geq(unsigned a, uint16_t log, unsigned b, uint16_t other)
{
    return a > b || (a == b && length(log) >= length(other));
}

/* Whether the promises that are no better than this log are a Q1 with the candidate. */
static int is_best(unsigned t, unsigned acc, uint16_t log)
{
    const struct ballot *ballot = of(now, t);
    const struct server *self = &now->servers[owner[t]];
    struct entry membership = governing(self->log);
    unsigned members = membership.now | membership.old;
    unsigned set = bit(owner[t]);
    for (unsigned p = 0; p < servers; p++) {
        int is_looked_at = mutation != OUTSIDE || (members & bit(p)) != 0;
        if (ballot->prom[p] != NO_LOG &&
            (!is_looked_at || geq(acc, log, ballot->prom_acc[p], ballot->prom[p]))) {
            set |= bit(p);
        }
    }
    return geq(acc, log, self->acc, self->log) && is_q1(set, self->log);
}

static int peer_best(unsigned t, unsigned b)
{
    return is_best(t, of(now, t)->prom_acc[b], of(now, t)->prom[b]);
}

static void pull_chunk(unsigned t, unsigned b)
{
    const struct ballot *ballot = of(now, t);
    uint16_t best = ballot->prom[b];
    uint16_t log = now->servers[owner[t]].log;
    struct state next = *now;
    if (!is_at(now, t, PREP) || best == NO_LOG || best == log ||
        !(ballot->pull == b || (ballot->pull == NOBODY && peer_best(t, b)))) {
        return;
    }
    unsigned index = join(log, best);
    log = index < length(log) ? cut(log, index) : append(log, logs[best].entries[index]);
    int is_whole = log == best && mutation != ONCE && mutation != KEEPBEST;
    set_log(&next, owner[t], log);
    at(&next, t)->pull = (uint8_t)(is_whole ? NOBODY : b);
    emit(&next, "PullChunk", b, t);
}

static void pull_end(unsigned t)
{
    struct state next = *now;
    if (is_at(now, t, PREP) && of(now, t)->pull != NOBODY) {
        at(&next, t)->pull = NOBODY;
        emit(&next, "PullEnd", owner[t], t);
    }
}

/* The last log pulled, without a look at promises that came since. */
static int has_kept_best(unsigned t)
{
    const struct ballot *ballot = of(now, t);
    uint16_t log = now->servers[owner[t]].log;
    unsigned set = bit(owner[t]);
    for (unsigned p = 0; p < servers; p++) {
        set |= ballot->prom[p] != NO_LOG ? bit(p) : 0;
    }
    return log == ballot->prom[ballot->pull] &&
           (mutation == ONCE || (mutation == KEEPBEST && is_q1(set, log)));
}

static int has_best(unsigned t)
{
    const struct ballot *ballot = of(now, t);
    const struct server *self = &now->servers[owner[t]];
    if (ballot->pull != NOBODY) {
        return has_kept_best(t);
    }
    int is_found = is_best(t, self->acc, self->log);
    for (unsigned b = 0; b < servers && !is_found; b++) {
        is_found = ballot->prom[b] == self->log && peer_best(t, b);
    }
    return is_found;
}

static void elect(unsigned t)
{
    unsigned s = owner[t];
    struct state next = *now;
    struct ballot *ballot = at(&next, t);
    if (!is_at(now, t, PREP) || !has_best(t)) {
        return;
    }
    next.servers[s].acc = (uint8_t)t;
    ballot->phase = LEAD;
    no_promises(ballot);
    ballot->elog = next.servers[s].log;
    ballot->base = (uint8_t)length(ballot->elog);
    ballot->accd[s] = (uint8_t)(ballot->base + 1);
    for (unsigned u = 1; u < t; u++) {
        ballot->cmt = of(now, u)->cmt > ballot->cmt ? of(now, u)->cmt : ballot->cmt;
    }
    emit(&next, "Elect", s, t);
}

/* Phase 2, leader. */

static void add(const char *action, unsigned t, struct entry entry)
{
    unsigned s = owner[t];
    struct state next = *now;
    struct ballot *ballot = at(&next, t);
    ballot->elog = append(ballot->elog, entry);
    if (!is_late) {
        set_log(&next, s, ballot->elog);
        ballot->accd[s] = (uint8_t)(length(ballot->elog) + 1);
    }
    emit(&next, action, s, t);
}

static int may_add(unsigned t)
{
    return is_at(now, t, LEAD) && length(of(now, t)->elog) < length_max;
}

static void propose(unsigned t)
{
    struct entry entry = {(uint8_t)t, 0, 0};
    if (has_values && may_add(t)) {
        add("Propose", t, entry);
    }
}

static int may_change(unsigned t)
{
    const struct ballot *ballot = of(now, t);
    int is_known = ballot->cmt >= logs[ballot->elog].change;
    if (!may_add(t)) {
        return 0;
    }
    if (mutation == P10COMMIT) {
        return ballot->cmt >= ballot->base && is_known;
    }
    return has_q2(now, t, ballot->base) && (mutation == P10CHAIN || is_known);
}

static void change(const char *action, unsigned t, unsigned to, unsigned from)
{
    struct entry entry = {(uint8_t)t, (uint8_t)to, (uint8_t)from};
    add(action, t, entry);
}

static void change_one(unsigned t, unsigned v)
{
    uint16_t log = of(now, t)->elog;
    unsigned voters = governing(log).now;
    unsigned then = voters ^ bit(v);
    if (may_change(t) && !is_joint(log) && then != 0 && one_step(voters, then)) {
        change("ChangeOne", t, then, then);
    }
}

static void change_joint(unsigned t, unsigned v, unsigned w)
{
    uint16_t log = of(now, t)->elog;
    unsigned voters = governing(log).now;
    unsigned then = voters ^ (bit(v) | bit(w));
    if (!may_change(t) || is_joint(log) || then == 0) {
        return;
    }
    if (!one_step(voters, then)) {
        if (has_joint) {
            change("ChangeJoint", t, then, voters);
        }
    } else if (mutation == ANYSTEP) {
        change("ChangeJoint", t, then, then);
    }
}

static void leave_joint(unsigned t)
{
    uint16_t log = of(now, t)->elog;
    if (is_joint(log) && may_change(t)) {
        change("LeaveJoint", t, governing(log).now, governing(log).now);
    }
}

static void leader_sync(unsigned t)
{
    unsigned s = owner[t];
    uint16_t elog = of(now, t)->elog;
    uint16_t log = now->servers[s].log;
    struct state next = *now;
    if (is_at(now, t, LEAD) && length(log) < length(elog)) {
        log = append(log, logs[elog].entries[length(log)]);
        set_log(&next, s, log);
        at(&next, t)->accd[s] = (uint8_t)(length(log) + 1);
        emit(&next, "LeaderSync", s, t);
    }
}

static void leader_commit(unsigned t)
{
    struct state next = *now;
    for (unsigned n = of(now, t)->cmt + 1u; n <= length(of(now, t)->elog); n++) {
        if (is_at(now, t, LEAD) && has_q2(now, t, n)) {
            at(&next, t)->cmt = (uint8_t)n;
            emit(&next, "LeaderCommit", owner[t], t);
        }
    }
}

/* Phase 2, follower. */

static int hears(unsigned s, unsigned t)
{
    return led(now, t) && owner[t] != s && now->servers[s].term <= t && synced(now, s);
}

static void answer(struct state *state, unsigned s, unsigned t, unsigned index)
{
    uint8_t *accd = &at(state, t)->accd[s];
    *accd = *accd < index + 1 ? (uint8_t)(index + 1) : *accd;
}

static void follower_cut(unsigned s, unsigned t)
{
    uint16_t log = now->servers[s].log;
    unsigned index = hears(s, t) ? reach(now, s, t) : 0;
    struct state next = *now;
    if (hears(s, t) && index < length(log) && index < length(of(now, t)->elog)) {
        set_log(&next, s, cut(log, index));
        adopt(&next, s, t);
        emit(&next, "FollowerCut", s, t);
    }
}

static void follower_add(unsigned s, unsigned t)
{
    uint16_t log = now->servers[s].log;
    uint16_t elog = of(now, t)->elog;
    unsigned index = hears(s, t) ? reach(now, s, t) : 0;
    struct state next = *now;
    if (hears(s, t) && index == length(log) && index < length(elog)) {
        set_log(&next, s, append(log, logs[elog].entries[index]));
        if (now->servers[s].acc == t) {
            answer(&next, s, t, index + 1);
        }
        adopt(&next, s, t);
        emit(&next, "FollowerAdd", s, t);
    }
}

static int is_to_accept(unsigned s, unsigned t)
{
    return led(now, t) && owner[t] != s && now->servers[s].term == t && now->servers[s].acc < t;
}

static int stale_tail(unsigned s, unsigned t)
{
    uint16_t log = now->servers[s].log;
    unsigned index = reach(now, s, t);
    return length(log) > index && term_at(log, index + 1) < t;
}

static void follower_cut_tail(unsigned s, unsigned t)
{
    struct state next = *now;
    if (is_to_accept(s, t) && reach(now, s, t) >= of(now, t)->base && stale_tail(s, t)) {
        set_log(&next, s, cut(now->servers[s].log, reach(now, s, t)));
        emit(&next, "FollowerCutTail", s, t);
    }
}

static void follower_accept(unsigned s, unsigned t)
{
    unsigned through = of(now, t)->base;
    struct state next = *now;
    if (mutation == EARLY && through > 1) {
        through = 1;
    }
    if (is_to_accept(s, t) && reach(now, s, t) >= through && !stale_tail(s, t)) {
        next.servers[s].acc = (uint8_t)t;
        answer(&next, s, t, reach(now, s, t));
        emit(&next, "FollowerAccept", s, t);
    }
}

static void crash(unsigned s)
{
    struct state next = *now;
    if (leads(now, s) || is_in(now, s, PREP)) {
        end(&next, s);
        emit(&next, "Crash", s, now->servers[s].term);
    }
}

static void steps_of_owner(unsigned t)
{
    campaign(t);
    elect(t);
    pull_end(t);
    propose(t);
    leave_joint(t);
    leader_sync(t);
    leader_commit(t);
    for (unsigned v = 0; v < servers; v++) {
        pull_chunk(t, v);
        change_one(t, v);
        for (unsigned w = 0; w <= v; w++) {
            change_joint(t, v, w);
        }
    }
}

static void all_steps(const struct state *state, uint32_t number)
{
    now = state;
    now_number = number;
    for (unsigned t = 1; t <= terms; t++) {
        steps_of_owner(t);
        for (unsigned s = 0; s < servers; s++) {
            promise(s, t);
            follower_cut(s, t);
            follower_add(s, t);
            follower_cut_tail(s, t);
            follower_accept(s, t);
        }
    }
    for (unsigned s = 0; s < servers; s++) {
        crash(s);
    }
}

/* ---- The search ------------------------------------------------------------------------------- */

static struct state first_state(void)
{
    struct state state;
    struct log none;
    memset(&state, 0, sizeof state);
    memset(&none, 0, sizeof none);
    uint16_t empty = number_of(&none);
    for (unsigned s = 0; s < SERVERS_MAX; s++) {
        state.servers[s].log = empty;
    }
    for (unsigned t = 1; t <= TERMS_MAX; t++) {
        at(&state, t)->elog = empty;
        no_promises(at(&state, t));
    }
    return state;
}

static void print_trace(void)
{
    size_t depth = 0;
    uint64_t *path = NULL;
    struct state state = first_state();
    for (uint32_t i = failed_parent; i != 0; i = parents[i]) {
        path = resize(path, depth + 1, sizeof *path);
        path[depth++] = prints[i];
    }
    is_retracing = 1;
    for (size_t i = 0; i <= depth; i++) {
        wanted = i < depth ? path[depth - 1 - i] : failed_print;
        found_step.action = NULL;
        all_steps(&state, 0);
        state = found_state;
        printf("%3zu %s server %u term %u\n", i + 1, found_step.action, found_step.s + 1,
               found_step.t);
        print_state(&state);
    }
    is_retracing = 0;
    free(path);
    printf("broken: %s, %zu states\n", failure, depth + 2);
}

/* All states from one owner table on. The depth, or 0: there are too many. */
static unsigned search(void)
{
    struct state state = first_state();
    unsigned depth = 1;
    size_t end_of_level = 1;
    print_count = 0;
    seen_room = 0;
    (void)is_new(print_of(&state), 0);
    put(0, &state);
    for (size_t i = 0; i < print_count && failure == NULL; i++) {
        if (i == end_of_level) {
            end_of_level = print_count;
            depth++;
        }
        if (print_count > print_limit) {
            return 0;
        }
        state = take(i);
        all_steps(&state, (uint32_t)i);
    }
    return depth;
}

static void empty_queue(void)
{
    for (size_t i = 0; i < chunk_room; i++) {
        free(chunks[i]);
        chunks[i] = NULL;
    }
}

/* ---- Owner tables ----------------------------------------------------------------------------- */

/* The order of the servers that a number in their base spells; false: it is none that will do. */
static int order_of(unsigned code, uint8_t *order)
{
    unsigned used = 0;
    int is_kept = 1;
    for (unsigned s = servers; s-- > 0; code /= servers) {
        unsigned to = code % servers;
        order[s] = (uint8_t)to;
        used |= bit(to);
        is_kept = is_kept && (founders >> s & 1) == (founders >> to & 1);
    }
    return is_kept && size_of(used) == servers;
}

/* All orders in which founders stay founders; the one that changes nothing is the first. */
static unsigned all_orders(uint8_t result[ORDERS_MAX][SERVERS_MAX])
{
    uint8_t order[SERVERS_MAX] = {0};
    unsigned count = 0;
    unsigned end_of_codes = 1;
    for (unsigned s = 0; s < servers; s++) {
        end_of_codes *= servers;
    }
    for (unsigned code = 0; code < end_of_codes; code++) {
        if (order_of(code, order)) {
            memcpy(result[count++], order, sizeof order);
        }
    }
    return count;
}

/* Whether no renaming of this table comes before it. Keeps the orders that leave it as it is. */
static int is_least(void)
{
    uint8_t every[ORDERS_MAX][SERVERS_MAX];
    unsigned count = all_orders(every);
    order_count = 0;
    for (unsigned i = 0; i < count; i++) {
        int difference = 0;
        for (unsigned t = 1; t <= terms && difference == 0; t++) {
            difference = (int)every[i][owner[t]] - (int)owner[t];
        }
        if (difference < 0) {
            return 0;
        }
        if (difference == 0) {
            memcpy(orders[order_count++], every[i], SERVERS_MAX);
        }
    }
    memset(renamed, 0, sizeof renamed);
    return 1;
}

/* The next table, as a number is counted up; false: that was the last. */
static int next_table(void)
{
    unsigned t = terms;
    while (t > 0 && owner[t] + 1u == servers) {
        owner[t--] = 0;
    }
    if (t > 0) {
        owner[t]++;
    }
    return t > 0;
}

/* ---- The file --------------------------------------------------------------------------------- */

/* What stands behind a constant's name; NULL: it is not there. */
static const char *value_of(const char *text, const char *name)
{
    size_t size = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += strspn(line, " \n");
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            line += size + strspn(line + size, " ");
            return line + strspn(line, "=<- ");
        }
    }
    return NULL;
}

static const char *needed(const char *text, const char *name)
{
    const char *value = value_of(text, name);
    if (value == NULL) {
        stop("no constant", name);
    }
    return value;
}

static unsigned number(const char *text, const char *name, unsigned limit)
{
    unsigned long value = strtoul(needed(text, name), NULL, 10);
    if (value < 1 || value > limit) {
        stop("out of bounds:", name);
    }
    return (unsigned)value;
}

static int truth(const char *text, const char *name)
{
    return strncmp(needed(text, name), "TRUE", 4) == 0;
}

/* {1, 2, 3} as a mask */
static unsigned set(const char *text, const char *name)
{
    const char *place = needed(text, name);
    unsigned result = 0;
    for (; *place != '}' && *place != '\n' && *place != '\0'; place++) {
        if (*place >= '1' && *place <= '0' + SERVERS_MAX) {
            result |= bit((unsigned)(*place - '1'));
        } else if (strchr("{, ", *place) == NULL) {
            stop("not a set of servers that are counted from 1:", name);
        }
    }
    return result;
}

static void read_constants(const char *text)
{
    const char *name = needed(text, "Mutation");
    unsigned all = set(text, "Server");
    servers = size_of(all);
    founders = set(text, "Founders");
    terms = number(text, "MaxTerm", TERMS_MAX);
    length_max = number(text, "MaxLen", LENGTH_MAX);
    has_values = truth(text, "Values");
    has_joint = truth(text, "Joint");
    is_late = truth(text, "Late");
    is_narrow = truth(text, "Narrow");
    mutation = MUTATIONS;
    for (unsigned i = 0; i < MUTATIONS; i++) {
        size_t size = strlen(MUTATION_NAMES[i]);
        if (strncmp(name + 1, MUTATION_NAMES[i], size) == 0 && name[size + 1] == '"') {
            mutation = (enum mutation)i;
        }
    }
    if (servers == 0 || all != bit(servers) - 1 || founders == 0 || (founders & ~all) != 0 ||
        mutation == MUTATIONS || strncmp(needed(text, "Owners"), "All", 3) != 0) {
        stop("unknown servers, founders, owners or mutation", "");
    }
}

static void read_file(const char *path)
{
    static char text[1u << 14];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        stop("cannot open", path);
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    read_constants(text);
    for (size_t i = 0; i < INVARIANTS; i++) {
        invariants[i].is_checked = strstr(text, invariants[i].name) != NULL;
    }
    for (size_t i = 0; i < PROPERTIES; i++) {
        properties[i].is_checked = strstr(text, properties[i].name) != NULL;
    }
}

int main(int argc, char **argv)
{
    uint64_t states = 0;
    unsigned tables = 0;
    unsigned deepest = 0;
    time_t start = time(NULL);
    if (argc < 2) {
        stop("usage: members FILE.cfg [STATES]", "");
    }
    read_file(argv[1]);
    print_limit = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000000;
    do {
        if (!is_least()) {
            continue;
        }
        unsigned depth = search();
        tables++;
        states += print_count;
        deepest = depth > deepest ? depth : deepest;
        if (failure != NULL) {
            print_trace();
            return 1;
        }
        if (depth == 0) {
            printf("%s: INCOMPLETE, %" PRIu64 " states\n", argv[1], states);
            return 2;
        }
        empty_queue();
    } while (next_table());
    printf("%s: complete, no violation: %u owner tables, %" PRIu64 " states, %" PRIu64
           " steps, depth %u, %ld s\n",
           argv[1], tables, states, step_count, deepest, (long)(time(NULL) - start));
    return 0;
}
