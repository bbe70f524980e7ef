/*
 * raftkv-check and raftkv-recover on what real servers have left: sound, torn and damaged
 * directories, a cluster whose quorum is gone for good, backups taken under load.
 */
#define _XOPEN_SOURCE 700

#include "servers.h"

#include <dirent.h>
#include <sys/stat.h>

#ifdef __APPLE__
#define MODIFIED(about) ((about).st_mtimespec)
#else
#define MODIFIED(about) ((about).st_mtim)
#endif

static struct fleet fresh; /* the new cluster */
static char tools[512];    /* where the programs lie */
static char said[32768];   /* by a tool, on stdout and stderr */

static const char *const renamed[] = {"--cluster", "fresh", QUICK, NULL};

/* ---- Running a tool ---- */

/* Adds the words that follow, up to null, to those of an argument list. */
static void take_words(const char *arguments[ARGUMENTS_MAX], int count, va_list words)
{
    while (count < ARGUMENTS_MAX - 1 && (arguments[count] = va_arg(words, const char *)) != NULL) {
        count++;
    }
    arguments[count] = NULL;
}

static int execute(const char *const *arguments)
{
    int output[2];
    int status;
    size_t used = 0;
    ssize_t count;
    pid_t pid;

    CHECK_EQ(pipe(output), 0);
    pid = fork();
    if (pid == 0) {
        dup2(output[1], 1);
        dup2(output[1], 2);
        close(output[0]);
        execv(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    close(output[1]);
    while ((count = read(output[0], said + used, sizeof said - 1 - used)) > 0) {
        used += (size_t)count;
    }
    said[used] = '\0';
    close(output[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs a tool with the words that follow, up to null, and expects that exit status. */
static void expect_exit(int expected, const char *tool, ...)
{
    char path[600];
    const char *arguments[ARGUMENTS_MAX] = {path};
    va_list words;
    int status;

    snprintf(path, sizeof path, "%s/%s", tools, tool);
    va_start(words, tool);
    take_words(arguments, 1, words);
    va_end(words);
    status = execute(arguments);
    if (status != expected) {
        printf("%s said: %s\n", tool, said);
    }
    CHECK_EQ(status, expected);
}

static void expect_said(const char *words)
{
    if (!strstr(said, words)) {
        printf("it said: %s\n", said);
    }
    CHECK(strstr(said, words));
}

/* The word behind the last place of that text in what was said. */
static void word_behind(const char *text, char out[64])
{
    const char *found = strstr(said, text);

    CHECK(found != NULL);
    for (const char *next = found; next; next = strstr(next + 1, text)) {
        found = next;
    }
    snprintf(out, 64, "%.*s", (int)strcspn(found + strlen(text), " \n"), found + strlen(text));
}

/* ---- Directories ---- */

/* A number that changes with every name, size, time and, but for their length, content there is. */
static uint64_t fingerprint(const char *directory)
{
    DIR *list = opendir(directory);
    struct dirent *entry;
    uint64_t sum = 1;

    CHECK(list != NULL);
    while ((entry = readdir(list)) != NULL) {
        char path[1024];
        struct stat about;
        uint64_t one = 14695981039346656037u;

        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &about)) {
            continue;
        }
        for (const char *c = entry->d_name; *c; c++) {
            one = (one ^ (uint8_t)*c) * 1099511628211u;
        }
        one = (one ^ (uint64_t)about.st_size) * 1099511628211u;
        one = (one ^ (uint64_t)MODIFIED(about).tv_sec) * 1099511628211u;
        one = (one ^ (uint64_t)MODIFIED(about).tv_nsec) * 1099511628211u;
        sum += one + (S_ISDIR(about.st_mode) ? fingerprint(path) : 0); /* in any order */
    }
    closedir(list);
    return sum;
}

/* The first file in a directory whose name ends so. */
static void find_file(const char *directory, const char *ending, char out[700])
{
    DIR *list = opendir(directory);
    struct dirent *entry;

    out[0] = '\0';
    CHECK(list != NULL);
    while ((entry = readdir(list)) != NULL) {
        size_t length = strlen(entry->d_name);

        if (length > strlen(ending) && !strcmp(entry->d_name + length - strlen(ending), ending)) {
            snprintf(out, 700, "%s/%s", directory, entry->d_name);
        }
    }
    closedir(list);
    CHECK(out[0] != '\0');
}

static void find_checkpoint(const char *directory, char out[700])
{
    char path[400];

    snprintf(path, sizeof path, "%s/checkpoints", directory);
    find_file(path, ".checkpoint", out);
}

static void flip_byte(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);

    CHECK(fd >= 0);
    CHECK_EQ(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    CHECK_EQ(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* Behind the last byte of a file that is not zero. */
static off_t end_of_content(const char *path)
{
    static char block[1 << 16];
    int fd = open(path, O_RDONLY);
    off_t end = 0;
    ssize_t count;

    CHECK(fd >= 0);
    for (off_t at = 0; (count = pread(fd, block, sizeof block, at)) > 0; at += count) {
        for (ssize_t i = 0; i < count; i++) {
            end = block[i] != 0 ? at + i + 1 : end;
        }
    }
    close(fd);
    return end;
}

static void copy_file(const char *from, const char *to)
{
    static char block[1 << 16];
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ssize_t count;

    CHECK(in >= 0 && out >= 0);
    while ((count = read(in, block, sizeof block)) > 0) {
        CHECK_EQ(write(out, block, (size_t)count), count);
    }
    CHECK_EQ(count, 0);
    close(in);
    CHECK_EQ(close(out), 0);
}

/* ---- Clusters ---- */

/* A cluster of one with two checkpointed keys and two more, killed. */
static void leave_a_directory(char directory[320])
{
    begin(1, NULL);
    connect_to(0);
    set_keys("old", 2);
    expect_text("RAFT.CHECKPOINT", "OK");
    set_keys("new", 2);
    fleet_kill(&fleet, 0);
    directory_of(0, directory);
}

/* Founds the new cluster's servers, one by one, from a source. */
static void recover(const char *flag, const char *source, int size)
{
    fleet_remove(&fresh);
    CHECK_EQ(fleet_make(&fresh, program, size), 0);
    fresh.flags = renamed;
    for (int i = 0; i < size; i++) {
        char to[320], id[16];

        snprintf(to, sizeof to, "%s/%d", fresh.directory, i + 1);
        snprintf(id, sizeof id, "%d", i + 1);
        expect_exit(0, "raftkv-recover", flag, source, "--to", to, "--id", id, "--peers",
                    fresh.peers, "--cluster", "fresh", NULL);
    }
}

/* From now on the questions go to the new cluster; the old one is gone. */
static void move_to_fresh(void)
{
    fleet_remove(&fleet);
    fleet = fresh;
    memset(&fresh, 0, sizeof fresh);
    for (int i = 0; i < fleet.size; i++) {
        start(i);
    }
}

static void expect_digest(const char *digest)
{
    char line[96];

    snprintf(line, sizeof line, "keyspace_digest:%s", digest);
    CHECK(info_has("digest", line));
}

static void end_all(void)
{
    end();
    fleet_remove(&fresh);
}

/* ---- raftkv-check ---- */

static void a_sound_directory_is_described_and_not_changed(void)
{
    char directory[320], lock[400];
    uint64_t before;

    leave_a_directory(directory);
    snprintf(lock, sizeof lock, "%s/lock", directory);
    CHECK_EQ(unlink(lock), 0);
    before = fingerprint(directory);
    expect_exit(0, "raftkv-check", directory, NULL);
    expect_said("node: 1\n");
    expect_said("vote: 1\n");
    expect_said("member 1: voter");
    expect_said("checkpoint at: index 3, term 1");
    expect_said(" 2 keys");
    expect_said("last 5, last term 1\n");
    expect_said("keyspace at: index 5, 4 keys");
    expect_said("log tail: clean\n");
    expect_said("\nsound\n");
    CHECK_EQ(fingerprint(directory), before);
    end_all();
}

static void a_directory_in_use_is_not_looked_at(void)
{
    char directory[320];

    begin(1, NULL);
    directory_of(0, directory);
    expect_exit(1, "raftkv-check", directory, NULL);
    expect_said("a server runs on it");
    connect_to(0);
    expect_text("SET still served", "OK");
    end_all();
}

static void a_torn_tail_is_told_and_harmless(void)
{
    char directory[320], path[700];
    int fd;

    leave_a_directory(directory);
    find_file(directory, ".wal", path);
    fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, "rest", 4, (end_of_content(path) + 7) / 8 * 8 + 128), 4);
    close(fd);
    expect_exit(0, "raftkv-check", directory, NULL);
    expect_said("log tail: torn in ");
    expect_said("harmless");
    expect_said("keyspace at: index 5, 4 keys");
    start(0);
    connect_to_leader();
    expect_keys("new", 2);
    end_all();
}

static void damage_in_the_log_is_named_with_its_place(void)
{
    char directory[320], path[700];

    leave_a_directory(directory);
    find_file(directory, ".wal", path);
    flip_byte(path, 4096 + 70);
    expect_exit(1, "raftkv-check", directory, NULL);
    expect_said("damaged: ");
    expect_said(strrchr(path, '/'));
    expect_said("at offset 4096: ");
    CHECK(!strstr(said, "sound"));
    end_all();
}

static void damage_in_a_checkpoint_is_named_with_its_place(void)
{
    char directory[320], path[700];
    struct stat about;

    leave_a_directory(directory);
    find_checkpoint(directory, path);
    CHECK_EQ(stat(path, &about), 0);
    for (off_t at = 0; at < about.st_size; at += about.st_size / 7) {
        flip_byte(path, at);
        expect_exit(1, "raftkv-check", directory, NULL);
        expect_said(path);
        expect_said("at offset ");
        expect_exit(1, "raftkv-check", path, NULL);
        flip_byte(path, at);
    }
    CHECK_EQ(truncate(path, about.st_size - 1), 0);
    expect_exit(1, "raftkv-check", directory, NULL);
    expect_said("damaged: ");
    end_all();
}

static void check_takes_one_path_that_is_there(void)
{
    char directory[320];

    expect_exit(2, "raftkv-check", NULL);
    expect_said("usage: raftkv-check");
    expect_exit(2, "raftkv-check", "a", "b", NULL);
    expect_exit(2, "raftkv-check", "--nonsense", NULL);
    leave_a_directory(directory);
    expect_exit(1, "raftkv-check", fleet.directory, NULL);
    expect_said("there is no log");
    expect_exit(1, "raftkv-check", "/nonexistent/directory", NULL);
    end_all();
}

/* ---- raftkv-recover ---- */

static void what_recover_cannot_mean_is_refused(void)
{
    char directory[320], to[320];

    leave_a_directory(directory);
    snprintf(to, sizeof to, "%s/to", fleet.directory);
    expect_exit(2, "raftkv-recover", NULL);
    expect_exit(2, "raftkv-recover", "--dir", directory, "--to", to, "--id", "1", "--cluster", "x",
                NULL);
    expect_said("--peers is missing");
    expect_exit(2, "raftkv-recover", "--dir", directory, "--to", to, "--id", "2", "--cluster", "x",
                "--peers", "1=127.0.0.1:7001", NULL);
    expect_said("does not name this server");
    expect_exit(2, "raftkv-recover", "--dir", directory, "--from-checkpoint", "file", "--to", to,
                "--id", "1", "--cluster", "x", "--peers", "1=127.0.0.1:7001", NULL);
    expect_exit(1, "raftkv-recover", "--dir", directory, "--to", to, "--id", "1", "--cluster",
                "keelson", "--peers", "1=127.0.0.1:7001", NULL);
    expect_said("without a new one its servers would be let in");
    expect_exit(1, "raftkv-recover", "--dir", directory, "--to", fleet.directory, "--id", "1",
                "--cluster", "x", "--peers", "1=127.0.0.1:7001", NULL);
    expect_said("it is there already");
    CHECK_EQ(access(to, F_OK), -1);
    end_all();
}

static void a_damaged_directory_is_not_recovered_from(void)
{
    char directory[320], path[700], to[320];

    leave_a_directory(directory);
    find_file(directory, ".wal", path);
    flip_byte(path, 4096 + 70);
    snprintf(to, sizeof to, "%s/to", fleet.directory);
    expect_exit(1, "raftkv-recover", "--dir", directory, "--to", to, "--id", "1", "--cluster", "x",
                "--peers", "1=127.0.0.1:7001", NULL);
    expect_said("damaged: ");
    CHECK_EQ(access(to, F_OK), -1);
    end_all();
}

static void a_recovered_directory_without_its_checkpoint_is_damaged(void)
{
    char directory[320], to[320], path[700];

    leave_a_directory(directory);
    recover("--dir", directory, 1);
    snprintf(to, sizeof to, "%s/1", fresh.directory);
    expect_exit(0, "raftkv-check", to, NULL);
    find_checkpoint(to, path);
    CHECK_EQ(unlink(path), 0);
    expect_exit(1, "raftkv-check", to, NULL);
    expect_said("damaged: ");
    expect_said("is missing");
    CHECK_EQ(fleet_start(&fresh, 0, WAIT_MS), -1);
    end_all();
}

/* R58: two of three servers are gone for good, disks and all. */
static void a_lost_quorum_is_recovered_from_the_survivor(void)
{
    char survivor[320], digest[64];
    uint64_t before;
    int leader;

    begin(3, quick);
    connect_to_leader();
    set_keys("k", 200);
    expect_integer("WAIT 2 10000", 2);
    leader = connect_to_leader();
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    directory_of((leader + 1) % 3, survivor);
    before = fingerprint(survivor);
    expect_exit(0, "raftkv-check", survivor, NULL);
    word_behind("keys, digest ", digest);
    recover("--dir", survivor, 3);
    expect_said(" is LOST");
    expect_said(digest);
    CHECK_EQ(fingerprint(survivor), before);
    move_to_fresh();
    connect_to(0);
    expect_digest(digest);
    connect_to_leader();
    expect_keys("k", 200);
    set_keys("after", 10);
    expect_integer("WAIT 2 10000", 2);
    end_all();
}

/* An old server that comes back calls the addresses of the new ones, which are the same. */
static void the_old_servers_are_refused_by_the_new_ones(void)
{
    struct fleet old;
    char survivor[320];
    int leader;

    begin(3, quick);
    connect_to_leader();
    set_keys("k", 20);
    expect_integer("WAIT 2 10000", 2);
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    directory_of(2, survivor);
    CHECK_EQ(fleet_make(&fresh, program, 2), 0);
    for (int i = 0; i < 2; i++) {
        fresh.nodes[i].port = fleet.nodes[i].port;
        fresh.nodes[i].peer_port = fleet.nodes[i].peer_port;
    }
    snprintf(fresh.peers, sizeof fresh.peers, "%.*s",
             (int)(strstr(fleet.peers, ",3=") - fleet.peers), fleet.peers);
    fresh.flags = renamed;
    for (int i = 0; i < 2; i++) {
        char to[320];

        snprintf(to, sizeof to, "%s/%d", fresh.directory, i + 1);
        expect_exit(0, "raftkv-recover", "--dir", survivor, "--to", to, "--id", i ? "2" : "1",
                    "--peers", fresh.peers, "--cluster", "fresh", NULL);
        CHECK_EQ(fleet_start(&fresh, i, WAIT_MS), 0);
    }
    start(2);
    old = fleet;
    fleet = fresh;
    leader = connect_to_leader();
    set_keys("k", 20);
    fleet = old;
    connect_to(2);
    expect_error("SET nobody listens", "CLUSTERDOWN");
    CHECK(info_has("raft", "leader_id:0\r\n"));
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline;) {
        if (info_has("transport", "peer_connections_ended_cluster:")) {
            break;
        }
        sleep_ms(10);
    }
    CHECK(info_has("transport", "peer_connections_ended_cluster:"));
    fleet = fresh;
    connect_to(leader);
    expect_keys("k", 20);
    CHECK(info_has("raft", "voters:2\r\n"));
    fleet = old;
    end_all();
}

static void of_several_directories_the_longest_log_is_taken(void)
{
    char with[320], without[320], line[400], to[320];
    int leader;
    int behind;

    begin(3, quick);
    leader = connect_to_leader();
    set_keys("k", 10);
    behind = (leader + 1) % 3;
    fleet_kill(&fleet, behind);
    connect_to_leader();
    set_keys("later", 10);
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    directory_of(leader, with);
    directory_of(behind, without);
    CHECK_EQ(fleet_make(&fresh, program, 1), 0);
    fresh.flags = renamed;
    snprintf(to, sizeof to, "%s/1", fresh.directory);
    expect_exit(0, "raftkv-recover", "--dir", without, "--dir", with, "--to", to, "--id", "1",
                "--peers", fresh.peers, "--cluster", "fresh", NULL);
    snprintf(line, sizeof line, "taking %s: ", with);
    expect_said(line);
    move_to_fresh();
    connect_to_leader();
    expect_keys("later", 10);
    end_all();
}

/* The server that led holds the most, uncommitted; what is committed is at the other two. */
static int leave_a_longer_stale_log(void)
{
    int leader = connect_to_leader();

    fleet_kill(&fleet, (leader + 1) % 3);
    fleet_kill(&fleet, (leader + 2) % 3);
    for (int i = 0; i < 500; i++) {
        struct slice args[3] = {slice_of("SET"), slice_of("lost"), slice_of("unacknowledged")};

        caller_add(&caller, args, 3);
    }
    CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
    CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0); /* it has stepped down: in its log */
    CHECK_EQ(reply.kind, REPLY_ERROR);
    fleet_kill(&fleet, leader);
    start((leader + 1) % 3);
    start((leader + 2) % 3);
    connect_to_leader();
    set_keys("later", 5);
    expect_integer("WAIT 1 10000", 1);
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    return leader;
}

/*
 * R12: more entries of an older term count for less. They were never acknowledged; what the later
 * leader acknowledged has to win.
 */
static void a_later_term_counts_for_more_than_more_entries(void)
{
    char stale[320], later[320], line[400], to[320];
    int leader;

    begin(3, quick);
    leader = leave_a_longer_stale_log();
    directory_of(leader, stale);
    directory_of((leader + 1) % 3, later);
    CHECK_EQ(fleet_make(&fresh, program, 1), 0);
    fresh.flags = renamed;
    snprintf(to, sizeof to, "%s/1", fresh.directory);
    expect_exit(0, "raftkv-recover", "--dir", stale, "--dir", later, "--to", to, "--id", "1",
                "--peers", fresh.peers, "--cluster", "fresh", NULL);
    snprintf(line, sizeof line, "taking %s: ", later);
    expect_said(line);
    move_to_fresh();
    connect_to_leader();
    expect_keys("later", 5);
    expect_integer("EXISTS lost", 0);
    end_all();
}

/* The checkpoint is taken and copied while writes are on their way. */
static void a_backup_taken_under_load_is_restored_into_a_new_cluster(void)
{
    enum { LOAD = 5000 };

    char directory[320], path[700], copy[400], digest[64];
    struct caller admin;
    struct reply answer;
    int leader;

    caller_init(&admin);
    begin(3, quick);
    leader = connect_to_leader();
    set_keys("before", 50);
    for (int i = 0; i < LOAD; i++) {
        struct slice args[2] = {slice_of("INCR"), slice_of("n")};

        caller_add(&caller, args, 2);
    }
    CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
    CHECK_EQ(caller_connect(&admin, fleet.nodes[leader].port, WAIT_MS), 0);
    CHECK_EQ(caller_ask(&admin, "RAFT.CHECKPOINT", &answer, WAIT_MS), 0);
    CHECK_EQ(answer.kind, REPLY_STATUS);
    directory_of(leader, directory);
    find_checkpoint(directory, path);
    snprintf(copy, sizeof copy, "%s/backup", fleet.directory);
    copy_file(path, copy);
    for (int i = 0; i < LOAD; i++) {
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        CHECK_EQ(reply.kind, REPLY_INTEGER);
    }
    caller_free(&admin);
    expect_exit(0, "raftkv-check", copy, NULL);
    word_behind("keys, digest ", digest);
    recover("--from-checkpoint", copy, 3);
    expect_said(digest);
    move_to_fresh();
    connect_to(1);
    expect_digest(digest);
    connect_to_leader();
    expect_keys("before", 50);
    expect_text("SET after restore", "OK");
    end_all();
}

/* R56: a witness has the entries' terms, and not what they say. */
static void a_witness_is_described_and_is_no_source(void)
{
    char directory[320], to[320], address[64], words[128];

    fleet_remove(&fleet);
    CHECK_EQ(fleet_make_with_spares(&fleet, program, 2, 1), 0);
    fleet.flags = quick;
    for (int i = 0; i < 3; i++) {
        start(i);
    }
    connect_to_leader();
    fleet_address(&fleet, 2, address);
    snprintf(words, sizeof words, "RAFT.ADD 3 %s witness", address);
    expect_text(words, "OK");
    set_keys("k", 10);
    connect_to(2);
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline;) {
        if (info_has("raft", "\r\nwitnesses:1\r\n")) {
            break;
        }
        sleep_ms(10);
    }
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    directory_of(2, directory);
    expect_exit(0, "raftkv-check", directory, NULL);
    expect_said("member 3: witness");
    expect_said("keyspace: none, this is a witness\n");
    snprintf(to, sizeof to, "%s/to", fleet.directory);
    expect_exit(1, "raftkv-recover", "--dir", directory, "--to", to, "--id", "1", "--cluster", "x",
                "--peers", "1=127.0.0.1:7001", NULL);
    expect_said("only witnesses are left");
    CHECK_EQ(access(to, F_OK), -1);
    end_all();
}

/* The tools lie beside the server. */
static void find_tools(void)
{
    const char *slash = strrchr(program, '/');

    snprintf(tools, sizeof tools, "%.*s", slash ? (int)(slash - program) : 1,
             slash ? program : ".");
}

/* ---- The other protocol (P15) ---- */

/* No election but when a leader is gone. */
static const char *const patient[] = {"--election-ms", "800", "--heartbeat-ms", "20", NULL};

/* Waits until all that run have the same last entry on their disks, where a kill leaves it. */
static void await_equal_logs(void)
{
    uint64_t deadline = now_ms() + WAIT_MS;
    int is_equal = 0;

    while (!is_equal && now_ms() < deadline) {
        uint64_t last = 0;

        is_equal = 1;
        for (int i = 0; i < fleet.size; i++) {
            if (fleet.nodes[i].pid > 0) {
                connect_to(i);
                uint64_t here = info_number("raft", "durable_index");

                is_equal = is_equal && (last == 0 || here == last);
                last = here;
            }
        }
        sleep_ms(5);
    }
    CHECK(is_equal);
}

static void kill_all(void)
{
    caller_close(&caller);
    for (int i = 0; i < fleet.size; i++) {
        fleet_kill(&fleet, i);
    }
}

/* Converts every directory, and puts the new one in its place. */
static void convert_all(const char *protocol)
{
    for (int i = 0; i < fleet.size; i++) {
        char directory[320], to[330], old[330];
        uint64_t before;

        directory_of(i, directory);
        snprintf(to, sizeof to, "%s.new", directory);
        snprintf(old, sizeof old, "%s.%s", directory, fleet.protocol);
        before = fingerprint(directory);
        expect_exit(0, "raftkv-recover", "--convert", protocol, "--dir", directory, "--to", to,
                    NULL);
        CHECK_EQ(fingerprint(directory), before);
        expect_exit(0, "raftkv-check", to, NULL);
        expect_said(protocol);
        CHECK_EQ(rename(directory, old), 0);
        CHECK_EQ(rename(to, directory), 0);
    }
    fleet.protocol = protocol;
}

static void start_all(void)
{
    for (int i = 0; i < fleet.size; i++) {
        start(i);
    }
    connect_to_leader();
}

static void begin_as(const char *protocol, const char *const *flags)
{
    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, 3), 0);
    fleet.flags = flags;
    fleet.protocol = protocol;
    start_all();
}

/* One server has less than the others, which alone hold what was committed last. */
static void leave_logs_that_differ(void)
{
    int behind = (connect_to_leader() + 1) % 3;

    set_keys("all", 20);
    await_equal_logs();
    expect_text("RAFT.CHECKPOINT", "OK");
    fleet_kill(&fleet, behind);
    connect_to_leader();
    set_keys("two", 20);
    expect_text("RAFT.ADD 9 127.0.0.1:1 learner", "OK"); /* a membership among the entries */
    await_equal_logs();
    kill_all();
}

static void committed_entries_outlive_a_change_of(const char *from, const char *to)
{
    begin_as(from, patient);
    leave_logs_that_differ();
    convert_all(to);
    start_all();
    expect_keys("all", 20);
    expect_keys("two", 20);
    set_keys("new", 20);
    await_equal_logs(); /* the one that was behind, too */
    kill_all();
    start_all();
    expect_keys("new", 20);
    end_all();
}

static void raft_becomes_multipaxos_and_nothing_is_lost(void)
{
    committed_entries_outlive_a_change_of("raft", "multipaxos");
}

static void multipaxos_becomes_raft_and_nothing_is_lost(void)
{
    committed_entries_outlive_a_change_of("multipaxos", "raft");
}

/* I10: whoever was behind is alone with one that was not, as an election quorum. */
static void what_was_committed_is_found_by_the_one_that_was_behind(void)
{
    int behind, ahead;

    begin_as("raft", patient);
    behind = (connect_to_leader() + 1) % 3;
    ahead = (behind + 1) % 3;
    set_keys("all", 5);
    await_equal_logs();
    fleet_kill(&fleet, behind);
    connect_to_leader();
    set_keys("two", 50);
    kill_all();
    convert_all("multipaxos");
    start(behind);
    start(ahead);
    connect_to_leader();
    expect_keys("all", 5);
    expect_keys("two", 50);
    end_all();
}

/* I10: the longest log is not the best, before the change and after it. */
static void the_later_term_counts_after_a_change_of(const char *from, const char *to)
{
    int stale;

    begin_as(from, quick);
    stale = leave_a_longer_stale_log();
    convert_all(to);
    start(stale);
    start((stale + 1) % 3);
    connect_to_leader();
    expect_keys("later", 5);
    expect_integer("EXISTS lost", 0);
    end_all();
}

static void a_longer_stale_log_is_not_adopted_after_the_change(void)
{
    the_later_term_counts_after_a_change_of("raft", "multipaxos");
    the_later_term_counts_after_a_change_of("multipaxos", "raft");
}

/* The last entry is of a leader before the last: Raft would compare other numbers than Paxos did. */
static void a_log_without_an_entry_of_the_last_leader_is_not_converted_to_raft(void)
{
    char directory[320], to[330];
    int leader, refused = 0;

    begin_as("multipaxos", patient);
    leader = connect_to_leader();
    set_keys("k", 5);
    await_equal_logs();
    fleet_kill(&fleet, leader);
    do { /* a new leader that has answered a read has got its term accepted by a quorum */
        connect_to((leader + 1) % 3);
        ask("GET k4");
        if (reply.kind != REPLY_BULK) {
            connect_to((leader + 2) % 3);
            ask("GET k4");
        }
    } while (reply.kind != REPLY_BULK);
    kill_all();
    for (int i = 1; i <= 2; i++) {
        directory_of((leader + i) % 3, directory);
        snprintf(to, sizeof to, "%s.new", directory);
        expect_exit(1, "raftkv-recover", "--convert", "raft", "--dir", directory, "--to", to, NULL);
        refused += strstr(said, "write something, wait until all hold it") != NULL;
        CHECK_EQ(access(to, F_OK), -1);
    }
    CHECK_EQ(refused, 2);
    start_all(); /* as the reason says; this writes */
    await_equal_logs();
    kill_all();
    convert_all("raft");
    start_all();
    expect_keys("k", 5);
    end_all();
}

/* Old directories do not go together with new ones: neither hears the other. */
static void the_two_protocols_do_not_mix(void)
{
    char directory[320], to[330];

    begin_as("raft", patient);
    set_keys("k", 5);
    await_equal_logs();
    kill_all();
    directory_of(0, directory);
    snprintf(to, sizeof to, "%s.new", directory);
    expect_exit(0, "raftkv-recover", "--convert", "multipaxos", "--dir", directory, "--to", to,
                NULL);
    expect_refusal(1, "belongs to a cluster that does not agree by raft", "--id", "1", "--dir", to,
                   "--listen", "127.0.0.1:0", NULL);
    expect_exit(1, "raftkv-recover", "--convert", "multipaxos", "--dir", to, "--to", "/nowhere/x",
                NULL);
    expect_said("it is of multipaxos already");
    expect_exit(2, "raftkv-recover", "--convert", "paxos", "--dir", directory, "--to", to, NULL);
    expect_exit(2, "raftkv-recover", "--convert", "raft", "--dir", directory, "--to", to, "--id",
                "1", NULL);
    expect_exit(1, "raftkv-recover", "--dir", directory, "--dir", to, "--to", "/nowhere/x", "--id",
                "1", "--peers", "1=127.0.0.1:7001", "--cluster", "x", NULL);
    expect_said("of different protocols");
    end_all();
}

/* R58 under Multi-Paxos: the log that was accepted last counts, whatever its last entry's term. */
static void a_multipaxos_cluster_is_recovered_from_a_survivor(void)
{
    char survivor[320], to[320];

    begin_as("multipaxos", patient);
    set_keys("k", 20);
    await_equal_logs();
    kill_all();
    directory_of(1, survivor);
    CHECK_EQ(fleet_make(&fresh, program, 1), 0);
    fresh.flags = renamed;
    fresh.protocol = "multipaxos";
    snprintf(to, sizeof to, "%s/1", fresh.directory);
    expect_exit(0, "raftkv-recover", "--dir", survivor, "--to", to, "--id", "1", "--peers",
                fresh.peers, "--cluster", "fresh", "--protocol", "multipaxos", NULL);
    move_to_fresh();
    connect_to_leader();
    expect_keys("k", 20);
    end_all();
}

int main(int argc, char **argv)
{
    (void)argc;
    if (find_program(argv[0])) {
        printf("skip: %s is not built\n", program);
        return check_done();
    }
    find_tools();
    caller_init(&caller);
    RUN(a_sound_directory_is_described_and_not_changed);
    RUN(a_directory_in_use_is_not_looked_at);
    RUN(a_torn_tail_is_told_and_harmless);
    RUN(damage_in_the_log_is_named_with_its_place);
    RUN(damage_in_a_checkpoint_is_named_with_its_place);
    RUN(check_takes_one_path_that_is_there);
    RUN(what_recover_cannot_mean_is_refused);
    RUN(a_damaged_directory_is_not_recovered_from);
    RUN(a_recovered_directory_without_its_checkpoint_is_damaged);
    RUN(a_lost_quorum_is_recovered_from_the_survivor);
    RUN(the_old_servers_are_refused_by_the_new_ones);
    RUN(of_several_directories_the_longest_log_is_taken);
    RUN(a_later_term_counts_for_more_than_more_entries);
    RUN(a_witness_is_described_and_is_no_source);
    RUN(a_backup_taken_under_load_is_restored_into_a_new_cluster);
    RUN(raft_becomes_multipaxos_and_nothing_is_lost);
    RUN(multipaxos_becomes_raft_and_nothing_is_lost);
    RUN(what_was_committed_is_found_by_the_one_that_was_behind);
    RUN(a_longer_stale_log_is_not_adopted_after_the_change);
    RUN(a_log_without_an_entry_of_the_last_leader_is_not_converted_to_raft);
    RUN(the_two_protocols_do_not_mix);
    RUN(a_multipaxos_cluster_is_recovered_from_a_survivor);
    end_all();
    caller_free(&caller);
    return check_done();
}
