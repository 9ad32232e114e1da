// Fill matrices and compare products bit for bit; the products themselves are cuBLAS's. The twin of fills.py.
#include "patterns.cuh"
#include "tally.cuh"
#include "tiles.cuh"

// A binary format: width, width of its fraction, and bias of its exponent, in bits.
struct Format {
    u64 width, fraction, bias;
};

// A whole number of magnitude 64 at most, as bits of the format: exact.
DEVICE u64 integer_bits(Format format, long long number) {
    if (number == 0) return 0;
    const u64 negative = number < 0, size = negative ? 0 - (u64)number : (u64)number;
    u64 exponent = 0;
    while (size >> (exponent + 1)) exponent += 1;
    const u64 fraction = (size << (format.fraction - exponent)) & ((1ull << format.fraction) - 1);
    return negative << (format.width - 1) | (exponent + format.bias) << format.fraction | fraction;
}

// ±1.f · 2^-g with every bit of f random and g = 0 … 7, less likely by half each.
DEVICE u64 full_bits(Format format, u64 hash) {
    u64 down = 0;
    while (down < 7 && ((hash >> (52 + down)) & 1) == 0) down += 1;
    const u64 fraction = hash & ((1ull << format.fraction) - 1);
    return (hash >> 63) << (format.width - 1) | (format.bias - down) << format.fraction | fraction;
}

// Elements beyond `elements` are zero, up to a whole word. With `bound` 0 the mantissas are full, else the elements are
// whole numbers in [-bound, bound].
KERNEL matrix_fill(u64 base, u64 elements, u64 seed, u64 bound, u64 width, u64 fraction, u64 bias) {
    const Format format = {width, fraction, bias};
    const u64 per_word = 64 / width, words = (elements + per_word - 1) / per_word, salt = mix64(seed);
    for (u64 word = block_index() * THREADS + thread_index(); word < words; word += block_count() * THREADS) {
        u64 packed = 0;
        for (u64 i = 0; i < per_word && word * per_word + i < elements; ++i) {
            const u64 hash = random_word(word * per_word + i, salt);
            const long long number = (long long)(((hash >> 32) * (2 * bound + 1)) >> 32) - (long long)bound;
            packed |= (bound ? integer_bits(format, number) : full_bits(format, hash)) << (i * width);
        }
        store_word(base + word * 8, packed);
    }
}

// Items are elements: two in a word for width 32, one for 64. `pairs` covers all elements, padded alike on both sides.
KERNEL matrix_compare(u64 actual, u64 reference, u64 pairs, u64 elements, u64 width, u64 rows, u64 records,
                      u64 capacity, u64 ticket, u64 stamp) {
    const Log log = {records, capacity, ticket, stamp};
    const u64 per_word = 64 / width, mask = width == 64 ? ~0ull : (1ull << width) - 1;
    Tally tally = {0, 0, 0, 0};

    auto take = [&](u64 word, u64 found, u64 right) {
        const u64 first = word * per_word;
        tally.total += found;
        tally.items += first >= elements ? 0 : elements - first < per_word ? elements - first : per_word;
        if (found == right) return;
        for (u64 i = 0; i < per_word; ++i) {
            const u64 is = (found >> (i * width)) & mask, should = (right >> (i * width)) & mask;
            if (is != should) note_wrong(tally, log, first + i, should, is);
        }
    };
    auto take_pair = [&](u64 pair, Pair found, Pair right) {
        take(pair * 2, found.first, right.first);
        take(pair * 2 + 1, found.second, right.second);
    };
    auto one = [&](u64 pair) { take_pair(pair, load_pair(actual + pair * 16), load_pair(reference + pair * 16)); };
    auto several = [&](u64 pair) {
        Pair found[IN_FLIGHT], right[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) {
            found[i] = load_pair(actual + (pair + i * THREADS) * 16);
            right[i] = load_pair(reference + (pair + i * THREADS) * 16);
        }
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) take_pair(pair + i * THREADS, found[i], right[i]);
    };
    walk(pairs, 0, several, one);
    report_tally(tally, rows);
}
