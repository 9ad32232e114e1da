// Fill matrices, digest products, and compare bit for bit those whose digest is not the right one; the products
// themselves are cuBLAS's. The twin of fills.py and digests.py.
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

// A number by its parts; of `fraction` the low bits are taken, of `hash` the highest is the sign.
DEVICE u64 number_bits(Format format, u64 hash, u64 exponent, u64 fraction) {
    const u64 sign = (hash >> 63) << (format.width - 1 - format.spare);
    return stored(format, sign | exponent << format.fraction | (fraction & ((1ull << format.fraction) - 1)));
}

// A whole number of magnitude 64 at most, as bits of the format: exact.
DEVICE u64 integer_bits(Format format, long long number) {
    if (format.bias == 0) return stored(format, (u64)number);
    if (number == 0) return 0;
    const u64 size = number < 0 ? 0 - (u64)number : (u64)number;
    u64 exponent = 0;
    while (size >> (exponent + 1)) exponent += 1;
    return number_bits(format, (u64)number, exponent + format.bias, size << (format.fraction - exponent));
}

// ±1.f · 2^-g with every bit of f random and g = 0 … 7, less likely by half each; of integers every bit.
DEVICE u64 full_bits(Format format, u64 hash) {
    if (format.bias == 0) return stored(format, hash >> (64 - format.width));
    u64 down = 0;
    while (down < 7 && ((hash >> (52 + down)) & 1) == 0) down += 1;
    return number_bits(format, hash, format.bias - down, hash);
}

// ±1.f with f either 0101… or 1010…, times one of the two smallest powers of two above the subnormals or, `large`, of
// the two largest, so that a product of both kinds is about 1. Integers are stripes of bits.
DEVICE u64 toggling_bits(Format format, u64 hash, bool large) {
    const u64 stripes = hash & 1 ? 0x5555555555555555ull : 0xAAAAAAAAAAAAAAAAull, step = (hash >> 1) & 1;
    if (format.bias == 0) return stored(format, stripes);
    return number_bits(format, hash, large ? 2 * format.bias - step : 1 + step, stripes);
}

enum Data { FULL = 0, WHOLE = 1, SMALL = 2, LARGE = 3 };

// An operand: `period` numbers, and the first of them again beyond. Whole numbers are in [-bound, bound]. With
// `columns`, the matrix has so many and lies by rows: its numbers are the same, but (i, j) lies where (j, i) would.
struct Operand {
    u64 period, columns, salt, data, bound;
    Format format;
};

DEVICE u64 element(const Operand &operand, u64 place) {
    u64 number = place < operand.period ? place : place - operand.period;
    const u64 columns = operand.columns, bound = operand.bound;
    if (columns) number = number % columns * (operand.period / columns) + number / columns;
    const u64 hash = random_word(number, operand.salt);
    switch (operand.data) {
        case FULL: return full_bits(operand.format, hash);
        case WHOLE: {
            const u64 from_zero = ((hash >> 32) * (2 * bound + 1)) >> 32;
            return integer_bits(operand.format, (long long)from_zero - (long long)bound);
        }
        default: return toggling_bits(operand.format, hash, operand.data == LARGE);
    }
}

// Elements beyond `elements` are zero, up to a whole word.
KERNEL matrix_fill(u64 base, u64 elements, u64 period, u64 columns, u64 seed, u64 data, u64 bound, u64 width,
                   u64 fraction, u64 bias, u64 spare) {
    const Operand operand = {period, columns, mix64(seed), data, bound, {width, fraction, bias, spare}};
    const u64 per_word = 64 / width, words = (elements + per_word - 1) / per_word;
    for (u64 word = block_index() * THREADS + thread_index(); word < words; word += block_count() * THREADS) {
        u64 packed = 0;
        for (u64 i = 0; i < per_word && word * per_word + i < elements; ++i)
            packed |= element(operand, word * per_word + i) << (i * width);
        store_word(base + word * 8, packed);
    }
}

// The same operand compared with what stands there; items are its elements.
KERNEL matrix_inputs(u64 base, u64 elements, u64 period, u64 columns, u64 seed, u64 data, u64 bound, u64 width,
                     u64 fraction, u64 bias, u64 spare, u64 rows, u64 records, u64 capacity, u64 ticket, u64 stamp) {
    const Operand operand = {period, columns, mix64(seed), data, bound, {width, fraction, bias, spare}};
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

// A product that began `shift` pairs into the matrix and went on with its beginning: which pair of the matrix stands at
// this place.
DEVICE u64 unshifted(u64 place, u64 shift, u64 pairs) {
    const u64 pair = place + shift;
    return pair < pairs ? pair : pair - pairs;
}

// A word's part in a digest: lea64, an invertible mixer (Steele and Vigna 2021), of what it holds and where. Its shifts
// by half a word are free, because a digest shall take no longer than its reading.
DEVICE u64 digest_part(u64 word, u64 bits) {
    u64 z = bits ^ ((word + 1) * GOLDEN);
    z = (z ^ (z >> 32)) * 0xDABA0B6EB09322E3ull;
    z = (z ^ (z >> 32)) * 0xDABA0B6EB09322E3ull;
    return z ^ (z >> 32);
}

// The digest of a product: the sum over all its words, in any order. Items are words. Told to the host by the rows, and
// to the next kernel by the two counters at `sums`.
KERNEL matrix_digest(u64 actual, u64 pairs, u64 shift, u64 sums, u64 rows) {
    Tally tally = {0, 0, 0, 0};
    auto take = [&](u64 place, Pair found) {
        const u64 word = 2 * unshifted(place, shift, pairs);
        tally.items += 2;
        tally.total += digest_part(word, found.first) + digest_part(word + 1, found.second);
    };
    auto one = [&](u64 place) { take(place, load_pair(actual + place * 16)); };
    auto several = [&](u64 place) {
        Pair found[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) found[i] = load_pair(actual + (place + i * THREADS) * 16);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) take(place + i * THREADS, found[i]);
    };
    walk(pairs, 0, several, one);
    const Tally whole = report_tally(tally, rows);
    if (thread_index() != 0) return;
    add_to_counter(sums, whole.items);
    add_to_counter(sums + 8, whole.total);
}

// Whether a digest took every word and came to what it should; one thread decides for its block.
DEVICE bool digest_is_right(u64 sums, u64 words, u64 digest) {
    SHARED static u32 right;
    if (thread_index() == 0) right = read_counter(sums) == words && read_counter(sums + 8) == digest;
    block_barrier();
    return right;
}

// Nothing where the digest is right, else every element against the reference, which lies unshifted. Items are elements:
// two in a word for width 32, one for 64.
KERNEL matrix_compare(u64 actual, u64 reference, u64 pairs, u64 shift, u64 width, u64 sums, u64 digest, u64 rows,
                      u64 records, u64 capacity, u64 ticket, u64 stamp) {
    if (digest_is_right(sums, 2 * pairs, digest)) return;
    const Log log = {records, capacity, ticket, stamp};
    const u64 per_word = 64 / width, mask = width == 64 ? ~0ull : (1ull << width) - 1;
    Tally tally = {0, 0, 0, 0};

    auto take = [&](u64 word, u64 found, u64 right) {
        tally.total += found;
        tally.items += per_word;
        if (found == right) return;
        for (u64 i = 0; i < per_word; ++i) {
            const u64 is = (found >> (i * width)) & mask, should = (right >> (i * width)) & mask;
            if (is != should) note_wrong(tally, log, word * per_word + i, should, is);
        }
    };
    auto take_pair = [&](u64 place, Pair found, Pair right) {
        const u64 word = 2 * unshifted(place, shift, pairs);
        take(word, found.first, right.first);
        take(word + 1, found.second, right.second);
    };
    auto right_pair = [&](u64 place) { return load_pair(reference + unshifted(place, shift, pairs) * 16); };
    auto one = [&](u64 place) { take_pair(place, load_pair(actual + place * 16), right_pair(place)); };
    auto several = [&](u64 place) {
        Pair found[IN_FLIGHT], right[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) {
            found[i] = load_pair(actual + (place + i * THREADS) * 16);
            right[i] = right_pair(place + i * THREADS);
        }
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) take_pair(place + i * THREADS, found[i], right[i]);
    };
    walk(pairs, 0, several, one);
    report_tally(tally, rows);
}
