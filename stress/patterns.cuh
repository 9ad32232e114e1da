// Test data as a pure function of the word's number; the twin of patterns.py.
#include "device.cuh"

enum PatternKind { OWN = 0, RANDOM = 1, BACKGROUND = 2, WALKING = 3, MODULO_SECTOR = 4, MODULO_HALF = 5 };

#define SECTOR_MODULUS 5
#define HALF_MODULUS 20
#define OFFSET_BITS 8
#define ALL_ONES 0xFFFFFFFFFFFFFFFFull
#define LOW_HALF 0x00000000FFFFFFFFull

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

// A half whose only set bit is one place further than in the half before it.
DEVICE u64 walking_half(u64 half, u64 first) { return 1ull << ((half + first) & 31); }

DEVICE u64 modulo_offset(u64 seed) { return seed & ((1ull << OFFSET_BITS) - 1); }

// The bits of a word that belong to targets of a modulo pattern.
DEVICE u64 target_bits(u64 kind, u64 seed, u64 index) {
    const u64 offset = modulo_offset(seed);
    if (kind == MODULO_SECTOR) return (index >> 2) % SECTOR_MODULUS == offset ? ALL_ONES : 0;
    const u64 low = 2 * index % HALF_MODULUS;  // even, so that the next half is of the same turn
    return (low == offset ? LOW_HALF : 0) | (low + 1 == offset ? ~LOW_HALF : 0);
}

// What a pattern needs besides its seed, computed once by the caller.
DEVICE u64 pattern_salt(u64 kind, u64 seed) { return mix64(kind < MODULO_SECTOR ? seed : seed >> OFFSET_BITS); }

DEVICE u64 plain_word(u64 kind, u64 seed, u64 salt, u64 index) {
    switch (kind) {
        case OWN: return mix64(index ^ seed);
        case RANDOM: return random_word(index, salt);
        case BACKGROUND: return background_word(index, seed);
        case WALKING: return walking_half(2 * index, seed) | walking_half(2 * index + 1, seed) << 32;
        default: return ~salt ^ target_bits(kind, seed, index);
    }
}

DEVICE u64 pattern_word(Pattern pattern, u64 salt, u64 index) {
    return plain_word(pattern.kind, pattern.seed, salt, index) ^ pattern.flip;
}

DEVICE Pair pattern_pair(Pattern pattern, u64 salt, u64 index) {
    return {pattern_word(pattern, salt, index), pattern_word(pattern, salt, index + 1)};
}
