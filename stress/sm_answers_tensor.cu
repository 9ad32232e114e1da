// Known-answer products of the tensor cores, one block for each SM; Volta and later.
#include "signature.cuh"

#define WARP 32
#define TILE_ELEMENTS 256
#define PER_THREAD (TILE_ELEMENTS / WARP)
#define PRODUCTS_PER_ROUND 4
#define STEPS_PER_ROUND 8

// Eight halves ±2^e · (1 + m/4) from one hash: bit 7 of a byte is the sign, bit 0 is e, bits 1 and 2 are m.
DEVICE void make_operand(u16 *tile, u64 hash) {
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u32 code = (u32)(hash >> (8 * i)) & 0xFF;
        const u32 half = (code >> 7) << 15 | (15 + (code & 1)) << 10 | ((code >> 1) & 3) << 8;
        tile[(thread_index() % WARP) * PER_THREAD + i] = (u16)half;
    }
}

KERNEL answers_tensor(u64 rows, u64 seed, u64 steps) {
    SHARED static u16 left[THREADS / WARP][TILE_ELEMENTS], right[THREADS / WARP][TILE_ELEMENTS];
    SHARED static float sum[THREADS / WARP][TILE_ELEMENTS];
    report_start(rows);
    const u32 warp = thread_index() / WARP, mine = (thread_index() % WARP) * PER_THREAD;
    const u64 start = start_of(seed);
    u64 signature = start, counter = 0;
    for (u64 round = 0; round < steps / STEPS_PER_ROUND; ++round) {
        for (u32 i = 0; i < PER_THREAD; ++i) sum[warp][mine + i] = 0.0f;
        for (u32 product = 0; product < PRODUCTS_PER_ROUND; ++product, counter += 2) {
            make_operand(left[warp], mix64(start + counter * GOLDEN));
            make_operand(right[warp], mix64(start + (counter + 1) * GOLDEN));
            tensor_multiply_add(left[warp], right[warp], sum[warp]);
        }
        for (u32 i = 0; i < PER_THREAD; i += 2)
            signature = fold(signature, pair_of(bits(sum[warp][mine + i]), bits(sum[warp][mine + i + 1])));
    }
    report_signature(rows, signature);
}
