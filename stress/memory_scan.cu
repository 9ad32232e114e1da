// Write, verify, and verify-and-replace patterns over a region of memory; peek and poke single words.
#include "patterns.cuh"
#include "tally.cuh"
#include "tiles.cuh"

// Stores the halves of a pair of words that are no targets of a modulo pattern.
DEVICE void store_others(u64 address, Pair data, Pattern pattern, u64 word) {
    const u64 first = target_bits(pattern.kind, pattern.seed, word);
    const u64 second = target_bits(pattern.kind, pattern.seed, word + 1);
    if ((first | second) == 0) return store_pair(address, data);
    if (!(first & LOW_HALF)) store_half(address, u32(data.first));
    if (!(first & ~LOW_HALF)) store_half(address + 4, u32(data.first >> 32));
    if (!(second & LOW_HALF)) store_half(address + 8, u32(data.second));
    if (!(second & ~LOW_HALF)) store_half(address + 12, u32(data.second >> 32));
}

// With `others` the targets of a modulo pattern keep what they hold.
KERNEL memory_write(u64 base, u64 pairs, u64 first_word, u64 kind, u64 seed, u64 flip, u64 descending, u64 others,
                    u64 rotation, u64 rows) {
    const Pattern pattern = {kind, seed, flip};
    const u64 salt = pattern_salt(kind, seed);
    Tally tally = {0, 0, 0, 0};
    auto one = [&](u64 number) {
        const u64 pair = turned(number, pairs, descending), word = first_word + pair * 2;
        const Pair data = pattern_pair(pattern, salt, word);
        if (others)
            store_others(base + pair * 16, data, pattern, word);
        else
            store_pair(base + pair * 16, data);
        tally.items += 2;
    };
    auto several = [&](u64 pair) {
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) one(pair + i * THREADS);
    };
    walk(pairs, rotation, several, one);
    report_tally(tally, rows);
}

// With `replace` the word found is overwritten in the same pass by the second pattern.
KERNEL memory_verify(u64 base, u64 pairs, u64 first_word, u64 kind, u64 seed, u64 flip, u64 replace, u64 next_kind,
                     u64 next_seed, u64 next_flip, u64 descending, u64 rotation, u64 rows, u64 records, u64 capacity,
                     u64 ticket, u64 stamp) {
    const Pattern pattern = {kind, seed, flip}, next = {next_kind, next_seed, next_flip};
    const u64 salt = pattern_salt(kind, seed), next_salt = pattern_salt(next_kind, next_seed);
    const bool only_turned = kind == next_kind && seed == next_seed;  // because hashing twice would cost bandwidth
    const Log log = {records, capacity, ticket, stamp};
    Tally tally = {0, 0, 0, 0};

    auto take = [&](u64 pair, Pair found) {
        const u64 word = first_word + pair * 2;
        const Pair right = pattern_pair(pattern, salt, word);
        tally.items += 2;
        tally.total += found.first + found.second;
        if (((found.first ^ right.first) | (found.second ^ right.second)) != 0) {
            if (found.first != right.first) note_wrong(tally, log, word, right.first, found.first);
            if (found.second != right.second) note_wrong(tally, log, word + 1, right.second, found.second);
        }
        if (!replace) return;
        const u64 turn = flip ^ next_flip;
        store_pair(base + pair * 16, only_turned ? Pair{right.first ^ turn, right.second ^ turn}
                                                 : pattern_pair(next, next_salt, word));
    };
    auto place = [&](u64 number) { return turned(number, pairs, descending); };
    auto one = [&](u64 number) { take(place(number), load_pair(base + place(number) * 16)); };
    auto several = [&](u64 number) {
        Pair found[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) found[i] = load_pair(base + place(number + i * THREADS) * 16);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) take(place(number + i * THREADS), found[i]);
    };
    walk(pairs, rotation, several, one);
    report_tally(tally, rows);
}

KERNEL memory_peek(u64 address, u64 answer) {
    if (thread_index() == 0) report_word(answer, load_word(address));
}

KERNEL memory_poke(u64 address, u64 word) {
    if (thread_index() == 0) store_word(address, word);
}
