// Fill matrices and compare products bit for bit; the products themselves are cuBLAS's. The twin of fills.py.
#include "patterns.cuh"
#include "tally.cuh"
#include "tiles.cuh"

// A binary format: width, width of its fraction, bias of its exponent, and how many of its low bits are stored as zero,
// in bits. One without an exponent has bias 0: two's complement.
struct Format {
    u64 width, fraction, bias, spare;
};

// The bits of a number without the spare ones, as they are stored.
DEVICE u64 stored(Format format, u64 bits) {
    const u64 all = format.width == 64 ? ~0ull : (1ull << format.width) - 1;
    return (bits << format.spare) & all;
}

// A whole number of magnitude 64 at most, as bits of the format: exact.
DEVICE u64 integer_bits(Format format, long long number) {
    if (format.bias == 0) return stored(format, (u64)number);
    if (number == 0) return 0;
    const u64 negative = number < 0, size = negative ? 0 - (u64)number : (u64)number;
    u64 exponent = 0;
    while (size >> (exponent + 1)) exponent += 1;
    const u64 fraction = (size << (format.fraction - exponent)) & ((1ull << format.fraction) - 1);
    const u64 sign = negative << (format.width - 1 - format.spare);
    return stored(format, sign | (exponent + format.bias) << format.fraction | fraction);
}

// ±1.f · 2^-g with every bit of f random and g = 0 … 7, less likely by half each; of integers every bit.
DEVICE u64 full_bits(Format format, u64 hash) {
    if (format.bias == 0) return stored(format, hash >> (64 - format.width));
    u64 down = 0;
    while (down < 7 && ((hash >> (52 + down)) & 1) == 0) down += 1;
    const u64 fraction = hash & ((1ull << format.fraction) - 1);
    const u64 sign = (hash >> 63) << (format.width - 1 - format.spare);
    return stored(format, sign | (format.bias - down) << format.fraction | fraction);
}

// An operand. Elements beyond `elements` are zero, up to a whole word. With `bound` 0 every bit is random, else the
// elements are whole numbers in [-bound, bound]. With `side` the matrix, so many rows and columns, lies by rows: its
// numbers are the same, but element (i, j) lies where (j, i) would.
struct Operand {
    u64 salt, bound, side;
    Format format;
};

DEVICE u64 element(const Operand &operand, u64 place) {
    const u64 bound = operand.bound, side = operand.side;
    const u64 hash = random_word(side ? place % side * side + place / side : place, operand.salt);
    const long long number = (long long)(((hash >> 32) * (2 * bound + 1)) >> 32) - (long long)bound;
    return bound ? integer_bits(operand.format, number) : full_bits(operand.format, hash);
}

KERNEL matrix_fill(u64 base, u64 elements, u64 seed, u64 bound, u64 width, u64 fraction, u64 bias, u64 spare,
                   u64 side) {
    const Operand operand = {mix64(seed), bound, side, {width, fraction, bias, spare}};
    const u64 per_word = 64 / width, words = (elements + per_word - 1) / per_word;
    for (u64 word = block_index() * THREADS + thread_index(); word < words; word += block_count() * THREADS) {
        u64 packed = 0;
        for (u64 i = 0; i < per_word && word * per_word + i < elements; ++i)
            packed |= element(operand, word * per_word + i) << (i * width);
        store_word(base + word * 8, packed);
    }
}

// The same operand compared with what stands there; items are its elements.
KERNEL matrix_inputs(u64 base, u64 elements, u64 seed, u64 bound, u64 width, u64 fraction, u64 bias, u64 spare,
                     u64 side, u64 rows, u64 records, u64 capacity, u64 ticket, u64 stamp) {
    const Operand operand = {mix64(seed), bound, side, {width, fraction, bias, spare}};
    const Log log = {records, capacity, ticket, stamp};
    const u64 per_word = 64 / width, words = (elements + per_word - 1) / per_word;
    const u64 mask = width == 64 ? ~0ull : (1ull << width) - 1;
    Tally tally = {0, 0, 0, 0};
    for (u64 word = block_index() * THREADS + thread_index(); word < words; word += block_count() * THREADS) {
        const u64 found = load_word(base + word * 8);
        tally.total += found;
        for (u64 i = 0; i < per_word && word * per_word + i < elements; ++i) {
            const u64 place = word * per_word + i, is = (found >> (i * width)) & mask, should = element(operand, place);
            tally.items += 1;
            if (is != should) note_wrong(tally, log, place, should, is);
        }
    }
    report_tally(tally, rows);
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
