/*
 * Decimal addition on arrays of digits. Invariant: digits at count and above are not meaningful and
 * are never read; the digit below count is not zero, and zero has count 0 and is not negative.
 */
#include "decimal.h"

#include <string.h>

#define EXPONENT_MAX 100000 /* beyond it every number is out of range or zero */

/* ---- Reading ---- */

/* The parts of a number's text. */
struct spelling {
    struct slice whole;    /* digits before the point */
    struct slice fraction; /* digits behind it */
    int exponent;
    int negative;
};

static struct slice take_digits(struct slice *rest)
{
    struct slice digits = {rest->data, 0};

    while (rest->size > 0 && *rest->data >= '0' && *rest->data <= '9') {
        rest->data++;
        rest->size--;
        digits.size++;
    }
    return digits;
}

static int take_mark(struct slice *rest, char mark, char other)
{
    if (rest->size == 0 || (*rest->data != mark && *rest->data != other)) {
        return 0;
    }
    rest->data++;
    rest->size--;
    return 1;
}

/* Takes "+" or "-" if there is one: is it a minus? */
static int take_sign(struct slice *rest)
{
    int negative = take_mark(rest, '-', '-');

    if (!negative) {
        take_mark(rest, '+', '+');
    }
    return negative;
}

/* Takes what follows the "e". 0: nothing that is an exponent. */
static int take_exponent(struct slice *rest, int *exponent)
{
    int negative = take_sign(rest);
    struct slice digits = take_digits(rest);
    int value = 0;

    for (size_t i = 0; i < digits.size; i++) {
        value = value * 10 + (digits.data[i] - '0');
        if (value > EXPONENT_MAX) {
            value = EXPONENT_MAX;
        }
    }
    *exponent = negative ? -value : value;
    return digits.size > 0;
}

static int take_spelling(struct slice text, struct spelling *spelling)
{
    memset(spelling, 0, sizeof *spelling);
    spelling->negative = take_sign(&text);
    if (slice_is(text, "inf") || slice_is(text, "infinity")) {
        return DECIMAL_INFINITE;
    }
    spelling->whole = take_digits(&text);
    if (take_mark(&text, '.', '.')) {
        spelling->fraction = take_digits(&text);
    }
    if (spelling->whole.size + spelling->fraction.size == 0) {
        return DECIMAL_INVALID;
    }
    if (take_mark(&text, 'e', 'E') && !take_exponent(&text, &spelling->exponent)) {
        return DECIMAL_INVALID;
    }
    return text.size == 0 ? DECIMAL_OK : DECIMAL_INVALID;
}

static void drop_leading_zeros(struct decimal *number)
{
    while (number->count > 0 && number->digits[number->count - 1] == 0) {
        number->count--;
    }
    if (number->count == 0) {
        number->negative = 0;
    }
}

/* Adds one to the last place. 0: out of range. */
static int increment(struct decimal *number)
{
    size_t place = 0;

    while (place < number->count && number->digits[place] == 9) {
        number->digits[place++] = 0;
    }
    if (place < number->count) {
        number->digits[place]++;
        return 1;
    }
    if (place == DECIMAL_DIGITS_MAX) {
        return 0;
    }
    number->digits[place] = 1;
    number->count = place + 1;
    return 1;
}

/* What is known of the digits behind the last place. */
struct remainder {
    int first;   /* the first of them */
    int nonzero; /* another one is not zero */
};

/* Puts a digit where it belongs. 0: out of range. */
static int place_digit(struct decimal *number, struct remainder *rest, long place, int digit)
{
    if (digit == 0) {
        return 1;
    }
    if (place >= (long)DECIMAL_DIGITS_MAX) {
        return 0;
    }
    if (place >= 0) {
        if (number->count == 0) { /* digits come from the highest down */
            number->count = (size_t)place + 1;
            memset(number->digits, 0, number->count);
        }
        number->digits[place] = (uint8_t)digit;
    } else if (place == -1) {
        rest->first = digit;
    } else {
        rest->nonzero = 1;
    }
    return 1;
}

static int place_digits(struct decimal *number, struct remainder *rest, struct slice digits,
                        long highest)
{
    for (size_t i = 0; i < digits.size; i++) {
        if (!place_digit(number, rest, highest - (long)i, digits.data[i] - '0')) {
            return 0;
        }
    }
    return 1;
}

static int round_half_to_even(struct decimal *number, const struct remainder *rest)
{
    int odd = number->count > 0 && number->digits[0] % 2 == 1;

    if (rest->first > 5 || (rest->first == 5 && (rest->nonzero || odd))) {
        return increment(number);
    }
    return 1;
}

int decimal_parse(struct slice text, struct decimal *number)
{
    struct spelling spelling;
    struct remainder rest = {0, 0};
    int result = text.size < DECIMAL_TEXT_MAX ? take_spelling(text, &spelling) : DECIMAL_INVALID;

    if (result != DECIMAL_OK) {
        return result;
    }
    long ones = (long)DECIMAL_PLACES + spelling.exponent;
    number->count = 0;
    number->negative = spelling.negative;
    if (!place_digits(number, &rest, spelling.whole, ones + (long)spelling.whole.size - 1) ||
        !place_digits(number, &rest, spelling.fraction, ones - 1) ||
        !round_half_to_even(number, &rest)) {
        return DECIMAL_INVALID;
    }
    drop_leading_zeros(number);
    return DECIMAL_OK;
}

/* ---- Adding ---- */

static int digit_at(const struct decimal *number, size_t place)
{
    return place < number->count ? number->digits[place] : 0;
}

static int compare_magnitudes(const struct decimal *a, const struct decimal *b)
{
    if (a->count != b->count) {
        return a->count < b->count ? -1 : 1;
    }
    for (size_t place = a->count; place-- > 0;) {
        if (a->digits[place] != b->digits[place]) {
            return a->digits[place] < b->digits[place] ? -1 : 1;
        }
    }
    return 0;
}

static int add_magnitudes(struct decimal *sum, const struct decimal *addend)
{
    size_t count = sum->count > addend->count ? sum->count : addend->count;
    int carry = 0;

    for (size_t place = 0; place < count; place++) {
        int digit = digit_at(sum, place) + digit_at(addend, place) + carry;
        sum->digits[place] = (uint8_t)(digit % 10);
        carry = digit / 10;
    }
    sum->count = count;
    if (carry == 0) {
        return DECIMAL_OK;
    }
    if (count == DECIMAL_DIGITS_MAX) {
        return DECIMAL_INFINITE;
    }
    sum->digits[sum->count++] = 1;
    return DECIMAL_OK;
}

/* out = |large| - |small|, where out may be either of the two. */
static void subtract_magnitudes(struct decimal *out, const struct decimal *large,
                                const struct decimal *small)
{
    size_t count = large->count;
    int borrow = 0;

    for (size_t place = 0; place < count; place++) {
        int digit = digit_at(large, place) - digit_at(small, place) - borrow;
        borrow = digit < 0;
        out->digits[place] = (uint8_t)(digit + 10 * borrow);
    }
    out->count = count;
}

int decimal_add(struct decimal *sum, const struct decimal *addend)
{
    if (sum->negative == addend->negative) {
        return add_magnitudes(sum, addend);
    }
    if (compare_magnitudes(sum, addend) >= 0) {
        subtract_magnitudes(sum, sum, addend);
    } else {
        subtract_magnitudes(sum, addend, sum);
        sum->negative = addend->negative;
    }
    drop_leading_zeros(sum);
    return DECIMAL_OK;
}

/* ---- Writing ---- */

size_t decimal_print(const struct decimal *number, char out[DECIMAL_TEXT_MAX])
{
    size_t last = 0; /* the lowest place that is written */
    size_t length = 0;
    size_t top = number->count > DECIMAL_PLACES ? number->count : DECIMAL_PLACES + 1;

    while (last < DECIMAL_PLACES && digit_at(number, last) == 0) {
        last++;
    }
    if (number->negative) {
        out[length++] = '-';
    }
    for (size_t place = top; place-- > last;) {
        if (place == DECIMAL_PLACES - 1) {
            out[length++] = '.';
        }
        out[length++] = (char)('0' + digit_at(number, place));
    }
    return length;
}
