// Plain reads, writes and copies, as fast as memory gives them.
#include "tiles.cuh"

// `sink` is written only if the words read cancel to a number that they do not, so that no read can be left out.
KERNEL stream_read(u64 base, u64 pairs, u64 sink) {
    u64 seen = 0;
    auto one = [&](u64 pair) {
        const Pair found = load_plain(base + pair * 16);
        seen += found.first ^ found.second;
    };
    auto several = [&](u64 pair) {
        Pair found[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) found[i] = load_plain(base + (pair + i * THREADS) * 16);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) seen += found[i].first ^ found[i].second;
    };
    walk(pairs, 0, several, one);
    if (seen == 0x6A09E667F3BCC909ull) report_word(sink, seen);
}

KERNEL stream_write(u64 base, u64 pairs, u64 word) {
    auto one = [&](u64 pair) { store_plain(base + pair * 16, {word, ~word}); };
    auto several = [&](u64 pair) {
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) one(pair + i * THREADS);
    };
    walk(pairs, 0, several, one);
}

KERNEL stream_copy(u64 from, u64 to, u64 pairs) {
    auto one = [&](u64 pair) { store_plain(to + pair * 16, load_plain(from + pair * 16)); };
    auto several = [&](u64 pair) {
        Pair found[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) found[i] = load_plain(from + (pair + i * THREADS) * 16);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i) store_plain(to + (pair + i * THREADS) * 16, found[i]);
    };
    walk(pairs, 0, several, one);
}
