/*
 * Decimal numbers with 17 digits behind the point, for INCRBYFLOAT.
 *
 * Redis computes INCRBYFLOAT in the machine's long double and prints 17 digits behind the point.
 * What a long double is differs between machines, and replicas must agree to the last byte: so this
 * adds the decimal digits themselves. Where Redis's result is exact the two agree; where Redis
 * shows the noise of binary fractions (1000.1 + 0.1 = 1000.20000000000000001) this has the sum as
 * written. Spellings with an exponent, "inf" and "infinity" are understood; hexadecimal ones are
 * not.
 */
#ifndef RAFTKV_DECIMAL_H
#define RAFTKV_DECIMAL_H

#include "buffer.h"

#define DECIMAL_PLACES     17u   /* digits behind the point */
#define DECIMAL_DIGITS_MAX 4950u /* in all: the range of an 80-bit long double */

/* The longest text that is read, and room for any text that is written. */
#define DECIMAL_TEXT_MAX 5120u

enum { DECIMAL_OK = 0, DECIMAL_INVALID = -1, DECIMAL_INFINITE = -2 };

struct decimal {
    int negative;
    size_t count;                       /* digits in use; those above are zero */
    uint8_t digits[DECIMAL_DIGITS_MAX]; /* the least first; digits[17] is the ones */
};

/*
 * Reads a whole slice; digits behind the 17th place are rounded, half to even. DECIMAL_OK;
 * DECIMAL_INVALID: not a number, or out of range; DECIMAL_INFINITE: an infinity by name.
 */
int decimal_parse(struct slice text, struct decimal *number);

/* sum += addend, exactly. DECIMAL_OK, or DECIMAL_INFINITE where the sum is out of range. */
int decimal_add(struct decimal *sum, const struct decimal *addend);

/* Writes the number without an exponent and without trailing zeros; returns the length. */
size_t decimal_print(const struct decimal *number, char out[DECIMAL_TEXT_MAX]);

#endif
