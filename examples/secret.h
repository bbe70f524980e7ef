/*
 * What nobody else may know: a secret read from a file, compared without telling by the time it
 * takes how much of a guess was right, wiped when done with.
 *
 * A good secret is random: `head -c 32 /dev/urandom | base64`. Whoever overhears a handshake, or is
 * called in the place of a server, can try guesses at home, so a word that people remember is none.
 */
#ifndef KEELSON_SECRET_H
#define KEELSON_SECRET_H

#include <stddef.h>
#include <stdint.h>

#define SECRET_BYTES_MIN 16u
#define SECRET_BYTES_MAX 1024u

struct io;

struct secret {
    size_t size;
    uint8_t bytes[SECRET_BYTES_MAX];
};

/*
 * Reads a file that holds a secret of at least bytes_min bytes and nothing else; one line end
 * behind it is left out. 0; -EACCES: the file is open to its group or to others, or not to us;
 * -EINVAL: it is no regular file, empty, too short or too long; or what the system says.
 */
int secret_read(const struct io *io, const char *path, size_t bytes_min, struct secret *out);

/* Whether two runs of bytes are the same; takes as long wherever they differ. */
int secret_equal(const void *one, const void *other, size_t size);

/* Overwrites, and does not let a compiler think that nobody looks. */
void secret_wipe(void *data, size_t size);

#endif
