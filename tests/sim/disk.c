/*
 * The simulated disk. Every file is a row of pages, and every page is held twice: as reads see it
 * and as the disk would have it after a power failure; a bit per sector tells where the next sync
 * would make the one into the other. A page that was never written is null and reads as zeros.
 * Names are held likewise twice, with the changes between the two in a list.
 *
 * Invariants:
 *   1. A sector whose dirty bit is clear is either the same in both, or a failed sync dropped it.
 *   2. Bytes beyond a file's size are zero in what reads see.
 *   3. Nothing but the generator decides: the same seed and calls give the same disk.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "disk.h"

#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define PAGE_BYTES   4096u
#define SECTOR_BYTES 512u
#define SECTORS      (PAGE_BYTES / SECTOR_BYTES)
#define PATH_BYTES   112u
#define NOBODY       (-1)

struct page {
    uint8_t seen[PAGE_BYTES];
    uint8_t kept[PAGE_BYTES];
    uint8_t dirty;  /* sectors that a sync would store */
    uint8_t stored; /* sectors that have reached the disk */
};

struct inode {
    struct page **pages;
    size_t page_count;
    size_t dirty_first, dirty_end; /* every dirty page is in [dirty_first, dirty_end) */
    uint64_t size_seen;
    uint64_t size_kept;
    uint64_t bad_offset, bad_size; /* reads of it fail */
    int is_directory;
    int locked_by; /* a descriptor, or NOBODY */
};

struct name {
    char path[PATH_BYTES];
    struct inode *inode;
};

struct names {
    struct name *all;
    size_t count, capacity;
};

/* A change to a directory: a name that goes, a name that comes, or both at once. */
struct change {
    char gone[PATH_BYTES];
    char come[PATH_BYTES];
    struct inode *inode;
};

struct opened {
    struct inode *inode; /* null: a free descriptor */
    char path[PATH_BYTES];
    int writable;
};

struct disk {
    struct disk_options options;
    struct io io;
    struct rng rng;
    struct names seen, kept;
    struct change *changes;
    size_t change_count, change_capacity;
    struct inode **inodes;
    size_t inode_count, inode_capacity;
    struct opened *opened;
    size_t opened_count;
    uint64_t calls, syncs, clock_us;
    uint64_t fault_at;
    enum disk_fault fault;
    int fault_lasts, fault_met;
    int is_off;
};

/* One call: does it happen, what is returned if not, and does the power go after it? */
struct call {
    enum disk_fault fault;
    int happens;
    int error;
    int power_fails;
};

/* ---- Memory: a simulator that runs out of it stops ------------------------------------------ */

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void *grown(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 8 : 2 * *capacity;
    return must(realloc(array, *capacity * item_bytes));
}

/* ---- Paths and names ------------------------------------------------------------------------ */

static void copy_path(char out[PATH_BYTES], const char *path)
{
    size_t length = strlen(path);
    if (length >= PATH_BYTES) {
        abort();
    }
    memcpy(out, path, length + 1);
}

static void parent_of(const char *path, char out[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    copy_path(out, path);
    if (slash == NULL) {
        copy_path(out, ".");
    } else {
        out[slash == path ? 1 : slash - path] = '\0';
    }
}

static int is_within(const char *path, const char *directory)
{
    char parent[PATH_BYTES];
    parent_of(path, parent);
    return strcmp(parent, directory) == 0;
}

static struct name *find_name(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->all[i].path, path) == 0) {
            return &names->all[i];
        }
    }
    return NULL;
}

static struct inode *look_up(const struct disk *disk, const char *path)
{
    const struct name *name = find_name(&disk->seen, path);
    return name == NULL ? NULL : name->inode;
}

static void remove_name(struct names *names, const char *path)
{
    struct name *name = find_name(names, path);
    if (name != NULL) {
        size_t position = (size_t)(name - names->all);
        names->count--;
        memmove(name, name + 1, (names->count - position) * sizeof *name);
    }
}

static void set_name(struct names *names, const char *path, struct inode *inode)
{
    struct name *name = find_name(names, path);
    if (name == NULL) {
        names->all = grown(names->all, names->count, &names->capacity, sizeof *names->all);
        name = &names->all[names->count++];
        copy_path(name->path, path);
    }
    name->inode = inode;
}

static void apply_change(struct names *names, const struct change *change)
{
    if (change->gone[0] != '\0') {
        remove_name(names, change->gone);
    }
    if (change->come[0] != '\0') {
        set_name(names, change->come, change->inode);
    }
}

static void change_names(struct disk *disk, const char *gone, const char *come, struct inode *inode)
{
    disk->changes =
        grown(disk->changes, disk->change_count, &disk->change_capacity, sizeof *disk->changes);
    struct change *change = &disk->changes[disk->change_count++];
    copy_path(change->gone, gone);
    copy_path(change->come, come);
    change->inode = inode;
    apply_change(&disk->seen, change);
}

static int change_is_within(const struct change *change, const char *directory)
{
    return is_within(change->come[0] != '\0' ? change->come : change->gone, directory);
}

/* ---- Files ---------------------------------------------------------------------------------- */

static struct inode *new_inode(struct disk *disk, int is_directory)
{
    struct inode *inode = must(calloc(1, sizeof *inode));
    inode->is_directory = is_directory;
    inode->locked_by = NOBODY;
    inode->dirty_first = SIZE_MAX;
    disk->inodes =
        grown(disk->inodes, disk->inode_count, &disk->inode_capacity, sizeof *disk->inodes);
    disk->inodes[disk->inode_count++] = inode;
    return inode;
}

static void free_inode(struct inode *inode)
{
    for (size_t i = 0; i < inode->page_count; i++) {
        free(inode->pages[i]);
    }
    free(inode->pages);
    free(inode);
}

static struct page *page_at(struct inode *inode, size_t number)
{
    if (number >= inode->page_count) {
        size_t count = number + 1 > 2 * inode->page_count ? number + 1 : 2 * inode->page_count;
        inode->pages = must(realloc(inode->pages, count * sizeof *inode->pages));
        for (size_t i = inode->page_count; i < count; i++) {
            inode->pages[i] = NULL;
        }
        inode->page_count = count;
    }
    if (inode->pages[number] == NULL) {
        inode->pages[number] = must(calloc(1, sizeof *inode->pages[number]));
    }
    return inode->pages[number];
}

static void mark_dirty(struct inode *inode, size_t number, size_t first_byte, size_t end_byte)
{
    for (size_t s = first_byte / SECTOR_BYTES; s * SECTOR_BYTES < end_byte; s++) {
        inode->pages[number]->dirty |= (uint8_t)(1u << s);
    }
    if (number < inode->dirty_first) {
        inode->dirty_first = number;
    }
    if (number >= inode->dirty_end) {
        inode->dirty_end = number + 1;
    }
}

static void mark_clean(struct inode *inode)
{
    inode->dirty_first = SIZE_MAX;
    inode->dirty_end = 0;
}

/* Copies into what reads see; data null: zeros. */
static void write_seen(struct inode *inode, const uint8_t *data, uint64_t size, uint64_t offset)
{
    while (size > 0) {
        size_t within = (size_t)(offset % PAGE_BYTES);
        size_t piece = size < PAGE_BYTES - within ? (size_t)size : PAGE_BYTES - within;
        size_t number = (size_t)(offset / PAGE_BYTES);
        struct page *page = page_at(inode, number);
        if (data == NULL) {
            memset(page->seen + within, 0, piece);
        } else {
            memcpy(page->seen + within, data, piece);
            data += piece;
        }
        mark_dirty(inode, number, within, within + piece);
        offset += piece;
        size -= piece;
    }
}

static void read_seen(const struct inode *inode, uint8_t *out, size_t size, uint64_t offset)
{
    while (size > 0) {
        size_t within = (size_t)(offset % PAGE_BYTES);
        size_t piece = size < PAGE_BYTES - within ? size : PAGE_BYTES - within;
        size_t number = (size_t)(offset / PAGE_BYTES);
        const struct page *page = number < inode->page_count ? inode->pages[number] : NULL;
        if (page == NULL) {
            memset(out, 0, piece);
        } else {
            memcpy(out, page->seen + within, piece);
        }
        out += piece;
        offset += piece;
        size -= piece;
    }
}

static void store_sector(struct page *page, size_t sector)
{
    memcpy(page->kept + sector * SECTOR_BYTES, page->seen + sector * SECTOR_BYTES, SECTOR_BYTES);
    page->dirty &= (uint8_t) ~(1u << sector);
    page->stored |= (uint8_t)(1u << sector);
}

static struct page *dirty_page(const struct inode *inode, size_t number)
{
    struct page *page = number < inode->page_count ? inode->pages[number] : NULL;
    return page != NULL && page->dirty != 0 ? page : NULL;
}

/* Each dirty sector reaches the disk with that probability. */
static void store_some(struct disk *disk, struct inode *inode, uint32_t percent)
{
    for (size_t i = inode->dirty_first; i < inode->dirty_end; i++) {
        struct page *page = dirty_page(inode, i);
        for (size_t s = 0; page != NULL && s < SECTORS; s++) {
            if ((page->dirty >> s & 1) != 0 && rng_below(&disk->rng, 100) < percent) {
                store_sector(page, s);
            }
        }
    }
}

static void store_all(struct inode *inode)
{
    for (size_t i = inode->dirty_first; i < inode->dirty_end; i++) {
        struct page *page = dirty_page(inode, i);
        for (size_t s = 0; page != NULL && s < SECTORS; s++) {
            if ((page->dirty >> s & 1) != 0) {
                store_sector(page, s);
            }
        }
    }
    mark_clean(inode);
    inode->size_kept = inode->size_seen;
}

/* What a kernel does after a write error: the pages count as clean and are not written again. */
static void drop_dirty(struct inode *inode)
{
    for (size_t i = inode->dirty_first; i < inode->dirty_end; i++) {
        struct page *page = dirty_page(inode, i);
        if (page != NULL) {
            page->dirty = 0;
        }
    }
    mark_clean(inode);
}

static uint64_t bytes_used(const struct disk *disk)
{
    uint64_t used = 0;
    for (size_t i = 0; i < disk->inode_count; i++) {
        used += disk->inodes[i]->size_seen;
    }
    return used;
}

static int has_room(const struct disk *disk, const struct inode *inode, uint64_t size)
{
    if (disk->options.capacity_bytes == 0 || size <= inode->size_seen) {
        return 1;
    }
    return bytes_used(disk) + (size - inode->size_seen) <= disk->options.capacity_bytes;
}

static void resize(struct inode *inode, uint64_t size)
{
    if (size < inode->size_seen) {
        uint64_t pages_end = (uint64_t)inode->page_count * PAGE_BYTES;
        uint64_t end = inode->size_seen < pages_end ? inode->size_seen : pages_end;
        if (end > size) {
            write_seen(inode, NULL, end - size, size);
        }
    }
    inode->size_seen = size;
}

/* ---- Calls and faults ----------------------------------------------------------------------- */

static int error_of(enum disk_fault fault)
{
    switch (fault) {
    case DISK_FAULT_EIO:
    case DISK_FAULT_PARTIAL:
        return -EIO;
    case DISK_FAULT_ENOSPC:
        return -ENOSPC;
    case DISK_FAULT_EDQUOT:
        return -EDQUOT;
    case DISK_FAULT_EINTR:
        return -EINTR;
    default:
        return 0;
    }
}

static enum disk_fault fault_now(struct disk *disk)
{
    int due = disk->fault_lasts ? disk->calls >= disk->fault_at : disk->calls == disk->fault_at;
    if (disk->fault == DISK_FAULT_NONE || !due) {
        return DISK_FAULT_NONE;
    }
    disk->fault_met = 1;
    return disk->fault;
}

static struct call enter(struct disk *disk)
{
    struct call call = {DISK_FAULT_NONE, 0, -EIO, 0};
    disk->calls++;
    if (disk->is_off) {
        return call;
    }
    call.fault = fault_now(disk);
    call.error = error_of(call.fault);
    call.power_fails = call.fault == DISK_FAULT_CRASH;
    call.happens = call.error == 0;
    if (call.power_fails && rng_below(&disk->rng, 2) == 0) {
        call.happens = 0;
        call.error = -EIO;
        disk->is_off = 1;
    }
    return call;
}

static long leave(struct disk *disk, const struct call *call, long result)
{
    if (call->power_fails) {
        disk->is_off = 1;
        return -EIO;
    }
    return result;
}

static struct opened *opened_file(struct disk *disk, int fd)
{
    if (fd < 0 || (size_t)fd >= disk->opened_count || disk->opened[fd].inode == NULL) {
        return NULL;
    }
    return &disk->opened[fd];
}

/* ---- Opening and closing -------------------------------------------------------------------- */

static int free_descriptor(struct disk *disk)
{
    for (size_t i = 0; i < disk->opened_count; i++) {
        if (disk->opened[i].inode == NULL) {
            return (int)i;
        }
    }
    size_t count = disk->opened_count + 8;
    disk->opened = must(realloc(disk->opened, count * sizeof *disk->opened));
    memset(disk->opened + disk->opened_count, 0, 8 * sizeof *disk->opened);
    disk->opened_count = count;
    return (int)(count - 8);
}

static int has_parent(const struct disk *disk, const char *path)
{
    char parent[PATH_BYTES];
    parent_of(path, parent);
    const struct inode *directory = look_up(disk, parent);
    return directory != NULL && directory->is_directory;
}

static int open_now(struct disk *disk, const char *path, int flags)
{
    struct inode *inode = look_up(disk, path);
    int writable = (flags & O_ACCMODE) != O_RDONLY;
    if (inode == NULL) {
        if ((flags & O_CREAT) == 0 || !has_parent(disk, path)) {
            return -ENOENT;
        }
        inode = new_inode(disk, 0);
        change_names(disk, "", path, inode);
    } else if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
        return -EEXIST;
    }
    if (inode->is_directory ? writable : (flags & O_DIRECTORY) != 0) {
        return inode->is_directory ? -EISDIR : -ENOTDIR;
    }
    if ((flags & O_TRUNC) != 0) {
        resize(inode, 0);
    }
    int fd = free_descriptor(disk);
    disk->opened[fd].inode = inode;
    disk->opened[fd].writable = writable;
    copy_path(disk->opened[fd].path, path);
    return fd;
}

static int disk_open(void *ctx, const char *path, int flags, int mode)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    (void)mode;
    if (!call.happens) {
        return call.error;
    }
    return (int)leave(disk, &call, open_now(disk, path, flags));
}

static void close_now(struct disk *disk, int fd)
{
    struct opened *opened = &disk->opened[fd];
    if (opened->inode->locked_by == fd) {
        opened->inode->locked_by = NOBODY;
    }
    opened->inode = NULL;
}

/* A descriptor is gone whatever close returns. */
static int disk_close(void *ctx, int fd)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    if (opened_file(disk, fd) == NULL) {
        return disk->is_off ? -EIO : -EBADF;
    }
    close_now(disk, fd);
    return call.happens ? (int)leave(disk, &call, 0) : call.error;
}

static int disk_lock(void *ctx, int fd)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    struct opened *opened = opened_file(disk, fd);
    if (!call.happens || opened == NULL) {
        return call.happens ? -EBADF : call.error;
    }
    if (opened->inode->locked_by != NOBODY && opened->inode->locked_by != fd) {
        return (int)leave(disk, &call, -EWOULDBLOCK);
    }
    opened->inode->locked_by = fd;
    return (int)leave(disk, &call, 0);
}

/* ---- Reading and writing -------------------------------------------------------------------- */

static int touches_bad(const struct inode *inode, uint64_t offset, uint64_t size)
{
    return inode->bad_size != 0 && offset < inode->bad_offset + inode->bad_size &&
           inode->bad_offset < offset + size;
}

static long disk_pread(void *ctx, int fd, void *data, size_t size, uint64_t offset)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    const struct opened *opened = opened_file(disk, fd);
    if (!call.happens || opened == NULL) {
        return call.happens ? -EBADF : call.error;
    }
    const struct inode *inode = opened->inode;
    uint64_t left = offset < inode->size_seen ? inode->size_seen - offset : 0;
    size_t count = size < left ? size : (size_t)left;
    if (call.fault == DISK_FAULT_SHORT && count > 1) {
        count = 1 + (size_t)rng_below(&disk->rng, count - 1);
    }
    if (touches_bad(inode, offset, count)) {
        return leave(disk, &call, -EIO);
    }
    read_seen(inode, data, count, offset);
    return leave(disk, &call, (long)count);
}

/* How much of a write happens: all, or with a fault a part of it. */
static size_t part_of(struct disk *disk, enum disk_fault fault, size_t size)
{
    int cut = fault == DISK_FAULT_SHORT || fault == DISK_FAULT_PARTIAL || fault == DISK_FAULT_CRASH;
    if (!cut || size <= 1) {
        return size;
    }
    return 1 + (size_t)rng_below(&disk->rng, size - 1);
}

/* Kernels write back when they like. */
static void write_back_early(struct disk *disk, struct inode *inode)
{
    if (!disk->options.no_write_back && rng_below(&disk->rng, 8) == 0) {
        store_some(disk, inode, 50);
    }
}

static size_t size_of_parts(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

static void write_parts(struct inode *inode, const struct iovec *parts, size_t size,
                        uint64_t offset)
{
    for (size_t done = 0; done < size; parts++) {
        size_t piece = parts->iov_len < size - done ? parts->iov_len : size - done;
        write_seen(inode, parts->iov_base, piece, offset + done);
        done += piece;
    }
    if (offset + size > inode->size_seen) {
        inode->size_seen = offset + size;
    }
}

static long disk_pwritev(void *ctx, int fd, const struct iovec *parts, int count, uint64_t offset)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    struct opened *opened = opened_file(disk, fd);
    if (opened == NULL || !opened->writable) {
        return call.happens ? -EBADF : call.error;
    }
    if (!call.happens && call.fault != DISK_FAULT_PARTIAL) {
        return call.error;
    }
    size_t size = part_of(disk, call.fault, size_of_parts(parts, count));
    if (!has_room(disk, opened->inode, offset + size)) {
        return leave(disk, &call, -ENOSPC);
    }
    write_back_early(disk, opened->inode);
    write_parts(opened->inode, parts, size, offset);
    return leave(disk, &call, call.happens ? (long)size : call.error);
}

static long disk_pwrite(void *ctx, int fd, const void *data, size_t size, uint64_t offset)
{
    struct iovec part;
    memcpy(&part.iov_base, &data, sizeof data);
    part.iov_len = size;
    return disk_pwritev(ctx, fd, &part, 1, offset);
}

static int disk_allocate(void *ctx, int fd, uint64_t size)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    struct opened *opened = opened_file(disk, fd);
    if (!call.happens || opened == NULL) {
        return call.happens ? -EBADF : call.error;
    }
    if (!has_room(disk, opened->inode, size)) {
        return (int)leave(disk, &call, -ENOSPC);
    }
    if (size > opened->inode->size_seen) {
        opened->inode->size_seen = size;
    }
    return (int)leave(disk, &call, 0);
}

static int disk_ftruncate(void *ctx, int fd, uint64_t size)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    struct opened *opened = opened_file(disk, fd);
    if (!call.happens || opened == NULL || !opened->writable) {
        return call.happens ? -EBADF : call.error;
    }
    resize(opened->inode, size);
    return (int)leave(disk, &call, 0);
}

static int disk_file_size(void *ctx, int fd, uint64_t *size)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    const struct opened *opened = opened_file(disk, fd);
    if (!call.happens || opened == NULL) {
        return call.happens ? -EBADF : call.error;
    }
    *size = opened->inode->size_seen;
    return (int)leave(disk, &call, 0);
}

/* ---- Syncing -------------------------------------------------------------------------------- */

static void sync_names(struct disk *disk, const char *directory)
{
    size_t left = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        if (change_is_within(&disk->changes[i], directory)) {
            apply_change(&disk->kept, &disk->changes[i]);
        } else {
            disk->changes[left++] = disk->changes[i];
        }
    }
    disk->change_count = left;
}

static int disk_fsync(void *ctx, int fd)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    struct opened *opened = opened_file(disk, fd);
    if (opened == NULL) {
        return call.happens ? -EBADF : call.error;
    }
    if (!call.happens) {
        if (!disk->is_off && call.fault != DISK_FAULT_EINTR) {
            drop_dirty(opened->inode);
        }
        return call.error;
    }
    if (opened->inode->is_directory) {
        sync_names(disk, opened->path);
    } else {
        store_all(opened->inode);
    }
    disk->syncs++;
    return (int)leave(disk, &call, 0);
}

/* ---- Directories ---------------------------------------------------------------------------- */

static int disk_rename(void *ctx, const char *from, const char *to)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    if (!call.happens) {
        return call.error;
    }
    struct inode *inode = look_up(disk, from);
    if (inode == NULL || !has_parent(disk, to)) {
        return (int)leave(disk, &call, -ENOENT);
    }
    change_names(disk, from, to, inode);
    return (int)leave(disk, &call, 0);
}

static int disk_unlink(void *ctx, const char *path)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    if (!call.happens) {
        return call.error;
    }
    struct inode *inode = look_up(disk, path);
    if (inode == NULL) {
        return (int)leave(disk, &call, -ENOENT);
    }
    change_names(disk, path, "", inode);
    return (int)leave(disk, &call, 0);
}

static int disk_mkdir(void *ctx, const char *path, int mode)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    (void)mode;
    if (!call.happens) {
        return call.error;
    }
    if (look_up(disk, path) != NULL) {
        return (int)leave(disk, &call, -EEXIST);
    }
    if (!has_parent(disk, path)) {
        return (int)leave(disk, &call, -ENOENT);
    }
    change_names(disk, "", path, new_inode(disk, 1));
    return (int)leave(disk, &call, 0);
}

static int disk_list(void *ctx, const char *path, int (*each)(void *arg, const char *name),
                     void *arg)
{
    struct disk *disk = ctx;
    struct call call = enter(disk);
    if (!call.happens) {
        return call.error;
    }
    const struct inode *directory = look_up(disk, path);
    if (directory == NULL || !directory->is_directory) {
        return (int)leave(disk, &call, directory == NULL ? -ENOENT : -ENOTDIR);
    }
    int result = 0;
    for (size_t i = 0; i < disk->seen.count && result == 0; i++) {
        const char *name = disk->seen.all[i].path;
        const char *slash = strrchr(name, '/');
        if (is_within(name, path) && strcmp(name, ".") != 0 && strcmp(name, "/") != 0) {
            result = each(arg, slash == NULL ? name : slash + 1);
        }
    }
    return (int)leave(disk, &call, result);
}

/* ---- Clocks and randomness ------------------------------------------------------------------ */

static uint64_t disk_now_us(void *ctx)
{
    struct disk *disk = ctx;
    return disk->options.now_us != NULL ? disk->options.now_us(disk->options.now_arg)
                                        : ++disk->clock_us;
}

static uint64_t disk_now_ms(void *ctx)
{
    return disk_now_us(ctx) / 1000;
}

static int disk_random(void *ctx, void *data, size_t size)
{
    struct disk *disk = ctx;
    uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)rng_next(&disk->rng);
    }
    return 0;
}

/* ---- Making, copying, freeing --------------------------------------------------------------- */

static void fill_table(struct disk *disk)
{
    disk->io.ctx = disk;
    disk->io.open = disk_open;
    disk->io.close = disk_close;
    disk->io.pread = disk_pread;
    disk->io.pwrite = disk_pwrite;
    disk->io.pwritev = disk_pwritev;
    disk->io.fdatasync = disk_fsync;
    disk->io.fsync = disk_fsync;
    disk->io.ftruncate = disk_ftruncate;
    disk->io.allocate = disk_allocate;
    disk->io.file_size = disk_file_size;
    disk->io.rename = disk_rename;
    disk->io.unlink = disk_unlink;
    disk->io.mkdir = disk_mkdir;
    disk->io.lock = disk_lock;
    disk->io.list = disk_list;
    disk->io.now_ms = disk_now_ms;
    disk->io.now_us = disk_now_us;
    disk->io.random = disk_random;
}

struct disk *disk_new(const struct disk_options *options)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        return NULL;
    }
    disk->options = *options;
    disk->rng.state = options->seed;
    fill_table(disk);
    struct inode *root = new_inode(disk, 1);
    set_name(&disk->seen, ".", root);
    set_name(&disk->kept, ".", root);
    set_name(&disk->seen, "/", root);
    set_name(&disk->kept, "/", root);
    return disk;
}

void disk_free(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    for (size_t i = 0; i < disk->inode_count; i++) {
        free_inode(disk->inodes[i]);
    }
    free(disk->inodes);
    free(disk->seen.all);
    free(disk->kept.all);
    free(disk->changes);
    free(disk->opened);
    free(disk);
}

const struct io *disk_io(struct disk *disk)
{
    return &disk->io;
}

static void *copied(const void *array, size_t count, size_t item_bytes)
{
    void *copy = must(calloc(count + 1, item_bytes));
    if (count > 0) {
        memcpy(copy, array, count * item_bytes);
    }
    return copy;
}

static struct inode *copied_inode(const struct inode *inode)
{
    struct inode *copy = copied(inode, 1, sizeof *inode);
    copy->pages = copied(inode->pages, inode->page_count, sizeof *inode->pages);
    for (size_t i = 0; i < copy->page_count; i++) {
        if (copy->pages[i] != NULL) {
            copy->pages[i] = copied(copy->pages[i], 1, sizeof *copy->pages[i]);
        }
    }
    return copy;
}

/* The copy's inode for one of the original's. */
static struct inode *counterpart(const struct disk *disk, const struct disk *copy,
                                 const struct inode *inode)
{
    for (size_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] == inode) {
            return copy->inodes[i];
        }
    }
    return NULL;
}

static void point_into_copy(const struct disk *disk, struct disk *copy)
{
    for (size_t i = 0; i < copy->seen.count; i++) {
        copy->seen.all[i].inode = counterpart(disk, copy, copy->seen.all[i].inode);
    }
    for (size_t i = 0; i < copy->kept.count; i++) {
        copy->kept.all[i].inode = counterpart(disk, copy, copy->kept.all[i].inode);
    }
    for (size_t i = 0; i < copy->change_count; i++) {
        copy->changes[i].inode = counterpart(disk, copy, copy->changes[i].inode);
    }
    for (size_t i = 0; i < copy->opened_count; i++) {
        copy->opened[i].inode = counterpart(disk, copy, copy->opened[i].inode);
    }
}

struct disk *disk_clone(const struct disk *disk, uint64_t seed)
{
    struct disk *copy = copied(disk, 1, sizeof *disk);
    copy->rng.state = seed;
    copy->seen.all = copied(disk->seen.all, disk->seen.count, sizeof *disk->seen.all);
    copy->seen.capacity = disk->seen.count;
    copy->kept.all = copied(disk->kept.all, disk->kept.count, sizeof *disk->kept.all);
    copy->kept.capacity = disk->kept.count;
    copy->changes = copied(disk->changes, disk->change_count, sizeof *disk->changes);
    copy->change_capacity = disk->change_count;
    copy->opened = copied(disk->opened, disk->opened_count, sizeof *disk->opened);
    copy->inodes = copied(disk->inodes, disk->inode_count, sizeof *disk->inodes);
    copy->inode_capacity = disk->inode_count;
    for (size_t i = 0; i < copy->inode_count; i++) {
        copy->inodes[i] = copied_inode(disk->inodes[i]);
    }
    point_into_copy(disk, copy);
    fill_table(copy);
    return copy;
}

/* ---- Control -------------------------------------------------------------------------------- */

uint64_t disk_calls(const struct disk *disk)
{
    return disk->calls;
}

uint64_t disk_syncs(const struct disk *disk)
{
    return disk->syncs;
}

void disk_fail_at(struct disk *disk, uint64_t call, enum disk_fault fault, int lasting)
{
    disk->fault_at = call;
    disk->fault = fault;
    disk->fault_lasts = lasting;
    disk->fault_met = 0;
}

int disk_fault_met(const struct disk *disk)
{
    return disk->fault_met;
}

int disk_is_off(const struct disk *disk)
{
    return disk->is_off;
}

void disk_power_off(struct disk *disk)
{
    disk->is_off = 1;
}

void disk_kill(struct disk *disk)
{
    for (size_t i = 0; i < disk->opened_count; i++) {
        if (disk->opened[i].inode != NULL) {
            close_now(disk, (int)i);
        }
    }
}

static uint32_t draw_keep_percent(struct disk *disk)
{
    static const uint32_t choices[] = {0, 10, 50, 50, 90, 100};
    uint64_t choice = rng_below(&disk->rng, sizeof choices / sizeof choices[0]);
    return disk->options.keep_percent != 0 ? disk->options.keep_percent : choices[choice];
}

/* Bytes that a file gained, but that never reached the disk, are what was there before. */
static void fill_gained(struct disk *disk, struct inode *inode, uint64_t from, uint64_t to)
{
    for (uint64_t offset = from; offset < to;) {
        struct page *page = page_at(inode, (size_t)(offset / PAGE_BYTES));
        size_t within = (size_t)(offset % PAGE_BYTES);
        size_t sector = within / SECTOR_BYTES;
        size_t piece = SECTOR_BYTES - within % SECTOR_BYTES;
        if ((page->stored >> sector & 1) == 0) {
            disk_random(disk, page->kept + within, piece);
        }
        offset += piece;
    }
}

static void settle_size(struct disk *disk, struct inode *inode, uint32_t percent)
{
    uint64_t old_size = inode->size_kept;
    if (inode->size_seen != old_size && rng_below(&disk->rng, 100) < percent) {
        inode->size_kept = inode->size_seen;
    }
    if (disk->options.stale_bytes && inode->size_kept > old_size) {
        fill_gained(disk, inode, old_size, inode->size_kept);
    }
}

static void forget_unsynced(struct inode *inode)
{
    uint64_t size = inode->size_kept;
    for (size_t i = 0; i < inode->page_count; i++) {
        struct page *page = inode->pages[i];
        uint64_t start = (uint64_t)i * PAGE_BYTES;
        if (page == NULL) {
            continue;
        }
        if (start + PAGE_BYTES > size) {
            size_t left = size > start ? (size_t)(size - start) : 0;
            memset(page->kept + left, 0, PAGE_BYTES - left);
        }
        memcpy(page->seen, page->kept, PAGE_BYTES);
        page->dirty = 0;
    }
    mark_clean(inode);
    inode->size_seen = size;
}

/* A file or directory whose directory is gone is gone. */
static void drop_orphans(struct names *names)
{
    size_t left = 0;
    for (size_t i = 0; i < names->count; i++) {
        char parent[PATH_BYTES];
        parent_of(names->all[i].path, parent);
        if (find_name(names, parent) != NULL) {
            names->all[left++] = names->all[i];
        }
    }
    names->count = left;
}

static void settle_names(struct disk *disk, uint32_t percent)
{
    for (size_t i = 0; i < disk->change_count; i++) {
        if (rng_below(&disk->rng, 100) < percent) {
            apply_change(&disk->kept, &disk->changes[i]);
        }
    }
    disk->change_count = 0;
    drop_orphans(&disk->kept);
    disk->seen.count = 0;
    for (size_t i = 0; i < disk->kept.count; i++) {
        set_name(&disk->seen, disk->kept.all[i].path, disk->kept.all[i].inode);
    }
}

static int is_named(const struct disk *disk, const struct inode *inode)
{
    for (size_t i = 0; i < disk->seen.count; i++) {
        if (disk->seen.all[i].inode == inode) {
            return 1;
        }
    }
    return 0;
}

static void drop_nameless(struct disk *disk)
{
    size_t left = 0;
    for (size_t i = 0; i < disk->inode_count; i++) {
        if (is_named(disk, disk->inodes[i])) {
            disk->inodes[left++] = disk->inodes[i];
        } else {
            free_inode(disk->inodes[i]);
        }
    }
    disk->inode_count = left;
}

void disk_restart(struct disk *disk)
{
    if (!disk->is_off) {
        return;
    }
    uint32_t percent = draw_keep_percent(disk);
    disk_kill(disk);
    settle_names(disk, percent);
    drop_nameless(disk);
    for (size_t i = 0; i < disk->inode_count; i++) {
        store_some(disk, disk->inodes[i], percent);
        settle_size(disk, disk->inodes[i], percent);
        forget_unsynced(disk->inodes[i]);
    }
    disk->is_off = 0;
    if (disk->fault == DISK_FAULT_CRASH) {
        disk->fault = DISK_FAULT_NONE;
    }
}

void disk_crash(struct disk *disk)
{
    disk_power_off(disk);
    disk_restart(disk);
}

/* ---- Damage and inspection ------------------------------------------------------------------ */

static struct inode *range_of(const struct disk *disk, const char *path, uint64_t offset,
                              uint64_t size)
{
    struct inode *inode = look_up(disk, path);
    if (inode == NULL || offset > inode->size_seen || size > inode->size_seen - offset) {
        return NULL;
    }
    return inode;
}

int disk_rot(struct disk *disk, const char *path, uint64_t offset, uint64_t size)
{
    struct inode *inode = range_of(disk, path, offset, size);
    if (inode == NULL) {
        return -1;
    }
    for (uint64_t i = offset; i < offset + size; i++) {
        struct page *page = page_at(inode, (size_t)(i / PAGE_BYTES));
        uint8_t flip = (uint8_t)(1u << rng_below(&disk->rng, 8));
        page->seen[i % PAGE_BYTES] ^= flip;
        page->kept[i % PAGE_BYTES] ^= flip;
    }
    return 0;
}

int disk_poke(struct disk *disk, const char *path, uint64_t offset, const void *data, size_t size)
{
    struct inode *inode = range_of(disk, path, offset, size);
    const uint8_t *bytes = data;
    if (inode == NULL) {
        return -1;
    }
    while (size > 0) {
        struct page *page = page_at(inode, (size_t)(offset / PAGE_BYTES));
        size_t within = (size_t)(offset % PAGE_BYTES);
        size_t piece = size < PAGE_BYTES - within ? size : PAGE_BYTES - within;
        memcpy(page->seen + within, bytes, piece);
        memcpy(page->kept + within, bytes, piece);
        bytes += piece;
        offset += piece;
        size -= piece;
    }
    return 0;
}

int disk_zero(struct disk *disk, const char *path, uint64_t offset, uint64_t size)
{
    static const uint8_t zeros[SECTOR_BYTES];
    int result = range_of(disk, path, offset, size) == NULL ? -1 : 0;
    while (size > 0 && result == 0) {
        size_t piece = size < sizeof zeros ? (size_t)size : sizeof zeros;
        result = disk_poke(disk, path, offset, zeros, piece);
        offset += piece;
        size -= piece;
    }
    return result;
}

int disk_unreadable(struct disk *disk, const char *path, uint64_t offset, uint64_t size)
{
    struct inode *inode = range_of(disk, path, offset, size);
    if (inode == NULL) {
        return -1;
    }
    inode->bad_offset = offset;
    inode->bad_size = size;
    return 0;
}

int64_t disk_size(const struct disk *disk, const char *path)
{
    const struct inode *inode = look_up(disk, path);
    return inode == NULL ? -1 : (int64_t)inode->size_seen;
}

int disk_peek(const struct disk *disk, const char *path, uint64_t offset, void *data, size_t size)
{
    const struct inode *inode = range_of(disk, path, offset, size);
    if (inode == NULL) {
        return -1;
    }
    read_seen(inode, data, size, offset);
    return 0;
}

uint64_t disk_unsynced(const struct disk *disk, const char *path)
{
    const struct inode *inode = look_up(disk, path);
    uint64_t bytes = 0;
    for (size_t i = 0; inode != NULL && i < inode->page_count; i++) {
        const struct page *page = inode->pages[i];
        for (size_t s = 0; page != NULL && s < SECTORS; s++) {
            bytes += (page->dirty >> s & 1) != 0 ? SECTOR_BYTES : 0;
        }
    }
    return bytes;
}
