/*
 * CRC-32C (Castagnoli), the checksum of the log and of the frames on the wire. It finds accidents;
 * it is no defence against anyone.
 */
#ifndef KEELSON_CRC32C_H
#define KEELSON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * The checksum of what crc covers, followed by data; crc is 0 for nothing. So a checksum of pieces
 * is taken piece by piece. Uses the processor's instruction where it has one.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The same without that instruction; for tests and other processors. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

#endif
