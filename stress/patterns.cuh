// Test data as a pure function of the word's number; the twin of patterns.py.
#include "device.cuh"

enum PatternKind { OWN = 0, RANDOM = 1, BACKGROUND = 2 };

#define GOLDEN 0x9E3779B97F4A7C15ull

// A pattern as a kernel is told it. `flip` is all ones for an inverted pattern, else 0.
struct Pattern {
    u64 kind, seed, flip;
};

// The splitmix64 finaliser, invertible (Steele, Lea and Flood 2014).
DEVICE u64 mix64(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

DEVICE u64 random_word(u64 index, u64 salt) { return mix64((index + 1) * GOLDEN + salt); }

DEVICE u64 background_word(u64 index, u64 number) {
    switch (number) {
        case 0: return 0x5555555555555555ull;
        case 1: return 0x3333333333333333ull;
        case 2: return 0x0F0F0F0F0F0F0F0Full;
        case 3: return 0x0000FFFF0000FFFFull;
        case 4: return 0x00000000FFFFFFFFull;
        case 5: return 0 - (index & 1);
        case 6: return 0 - ((index >> 1) & 1);
        case 7: return 0 - ((index >> 2) & 1);
        default: return 0;
    }
}

// `salt` is mix64(seed), computed once by the caller.
DEVICE u64 pattern_word(Pattern pattern, u64 salt, u64 index) {
    const u64 word = pattern.kind == OWN      ? mix64(index ^ pattern.seed)
                     : pattern.kind == RANDOM ? random_word(index, salt)
                                              : background_word(index, pattern.seed);
    return word ^ pattern.flip;
}

DEVICE Pair pattern_pair(Pattern pattern, u64 salt, u64 index) {
    return {pattern_word(pattern, salt, index), pattern_word(pattern, salt, index + 1)};
}
