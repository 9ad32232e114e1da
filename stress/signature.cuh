// Signatures of known-answer chains and how a block tells them to the host; the twin of answers.py.
#include "patterns.cuh"

// Take 64 bits into a signature; for a fixed one of the two it is a bijection of the other.
DEVICE u64 fold(u64 signature, u64 value) {
    return ((signature << 13 | signature >> 51) ^ value) * 0x9FB21C651E98DF25ull;
}

DEVICE u64 pair_of(u32 high, u32 low) { return (u64)high << 32 | low; }

DEVICE u64 start_of(u64 seed) { return mix64((thread_index() + 1) * GOLDEN + seed); }

#define WARP 32
#define WARPS (THREADS / WARP)
#define ROW_WORDS (2 + WARPS + THREADS)

// A block's row of the answer: the SM on which it began, the SM on which it ended, the place of each warp, the signature
// of each thread. The host compares; the card is not asked to judge itself.
DEVICE u64 row_of(u64 rows) { return rows + block_index() * ROW_WORDS * 8; }

DEVICE void report_start(u64 rows) {
    if (thread_index() == 0) report_word(row_of(rows), sm_id());
    if (thread_index() % WARP == 0) report_word(row_of(rows) + (2 + thread_index() / WARP) * 8, warp_slot());
}

DEVICE void report_signature(u64 rows, u64 signature) {
    report_word(row_of(rows) + (2 + WARPS + thread_index()) * 8, signature);
    block_barrier();
    if (thread_index() == 0) report_word(row_of(rows) + 8, sm_id());
}
