/*
 * Pattern matching with one point of return.
 *
 * A star takes as little as it can: when what follows it does not match, the latest star takes one
 * byte more and matching resumes behind it. Earlier stars need never be tried again, since whatever
 * they could take the latest one can take itself. So there is no recursion and no explosion.
 */
#include "glob.h"

static int fold_byte(char byte, int fold)
{
    return fold ? byte_lower(byte) : (unsigned char)byte;
}

struct class_scan {
    struct slice pattern;
    size_t at; /* of the byte behind the opening bracket, then behind the whole class */
    int byte;  /* what has to be in the class */
    int fold;
};

static int scan_byte(const struct class_scan *scan, size_t at)
{
    return fold_byte(scan->pattern.data[at], scan->fold);
}

/* Takes one member of a class (an escape, a range or a byte): does it hold the byte? */
static int scan_member(struct class_scan *scan)
{
    size_t left = scan->pattern.size - scan->at;
    const char *member = scan->pattern.data + scan->at;

    if (member[0] == '\\' && left >= 2) {
        scan->at += 2;
        return fold_byte(member[1], scan->fold) == scan->byte;
    }
    if (left >= 3 && member[1] == '-') {
        int low = scan_byte(scan, scan->at);
        int high = scan_byte(scan, scan->at + 2);
        scan->at += 3;
        return low <= high ? low <= scan->byte && scan->byte <= high
                           : high <= scan->byte && scan->byte <= low;
    }
    scan->at++;
    return fold_byte(member[0], scan->fold) == scan->byte;
}

/* A class that is not closed ends with the pattern. */
static int scan_class(struct class_scan *scan)
{
    int negated = scan->at < scan->pattern.size && scan->pattern.data[scan->at] == '^';
    int held = 0;

    scan->at += (size_t)negated;
    while (scan->at < scan->pattern.size && scan->pattern.data[scan->at] != ']') {
        held |= scan_member(scan);
    }
    if (scan->at < scan->pattern.size) {
        scan->at++;
    }
    return negated ? !held : held;
}

/* Does the pattern at *at, not a star, match this byte? Moves *at behind what it looked at. */
static int match_one(struct slice pattern, size_t *at, char byte, int fold)
{
    char mark = pattern.data[*at];

    if (mark == '?') {
        (*at)++;
        return 1;
    }
    if (mark == '[') {
        struct class_scan scan = {pattern, *at + 1, fold_byte(byte, fold), fold};
        int held = scan_class(&scan);
        *at = scan.at;
        return held;
    }
    if (mark == '\\' && pattern.size - *at >= 2) {
        (*at)++;
    }
    mark = pattern.data[(*at)++];
    return fold_byte(mark, fold) == fold_byte(byte, fold);
}

int glob_match(struct slice pattern, struct slice text, int fold)
{
    size_t pattern_at = 0;
    size_t text_at = 0;
    size_t behind_star = SIZE_MAX; /* none met yet */
    size_t star_end = 0;           /* of what the latest star takes */

    while (text_at < text.size) {
        if (pattern_at < pattern.size && pattern.data[pattern_at] == '*') {
            behind_star = ++pattern_at;
            star_end = text_at;
        } else if (pattern_at < pattern.size &&
                   match_one(pattern, &pattern_at, text.data[text_at], fold)) {
            text_at++;
        } else if (behind_star != SIZE_MAX) {
            pattern_at = behind_star;
            text_at = ++star_end;
        } else {
            return 0;
        }
    }
    while (pattern_at < pattern.size && pattern.data[pattern_at] == '*') {
        pattern_at++;
    }
    return pattern_at == pattern.size;
}
