# Fills in keelson.pc.in: @name@ becomes the value of the environment variable of that name. What
# lies below the prefix is said in terms of it, so that pkg-config can move it elsewhere.
{
    while (match($0, /@[a-z_]+@/)) {
        value = ENVIRON[substr($0, RSTART + 1, RLENGTH - 2)]
        $0 = substr($0, 1, RSTART - 1) value substr($0, RSTART + RLENGTH)
    }
    below = "=" ENVIRON["prefix"] "/"
    at = index($0, below)
    if ($0 !~ /^prefix=/ && at > 0) {
        $0 = substr($0, 1, at) "${prefix}/" substr($0, at + length(below))
    }
    print
}
