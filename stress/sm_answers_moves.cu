// Known-answer chains of what keeps, moves and steers values: shared memory, registers, shuffles, atomics, branches.
#include "signature.cuh"

#define HELD 192
#define STEPS_PER_PASS 64
#define CELLS 16

// A delay line over all the shared memory that a block may have: what one thread stores another loads when the line has
// gone round. In which order values arrive does not depend on how long the line is, so neither does the signature.
KERNEL answers_shared(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed), slots = spare_shared_bytes() / 8 / THREADS;
    const u32 mine = thread_index(), other = (mine + WARP + 1) % THREADS;
    u64 signature = start;
    for (u64 step = 0; step < steps + slots; ++step) {
        u64 *slot = spare_shared() + step % slots * THREADS;
        if (step >= slots) signature = fold(signature, load_shared(slot + other));
        block_barrier();
        if (step < steps) store_shared(slot + mine, mix64(start + step * GOLDEN));
        block_barrier();
    }
    report_signature(rows, signature);
}

// So many values in each thread that a block of 256 fills most of the register file: each is taken out, changed and
// put back in every pass.
KERNEL answers_registers(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed);
    u32 held[HELD], carry = (u32)(start >> 32), value = (u32)start;
#pragma unroll
    for (int i = 0; i < HELD; ++i) held[i] = value = value * 0x9E3779B1u + 0x85EBCA6Bu;
    u64 signature = start;
    for (u64 pass = 0; pass < steps / STEPS_PER_PASS; ++pass) {
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            carry = (carry << 5 | carry >> 27) * 0x9E3779B1u ^ keep(held[i]);
            held[i] = carry;
        }
        signature = fold(signature, pair_of(carry, held[0]));
    }
#pragma unroll
    for (int i = 0; i < HELD; i += 2) signature = fold(signature, pair_of(held[i], held[i + 1]));
    report_signature(rows, signature);
}

// Values from other lanes: by a butterfly, from any lane, and one bit of each as a vote.
KERNEL answers_shuffle(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed);
    u32 x = (u32)start, y = (u32)(start >> 32);
    u64 signature = start;
    for (u64 step = 0; step < steps; ++step) {
        x = x * 0x9E3779B1u + lane_across(y, 1u << (step % 5));
        y = (y << 9 | y >> 23) ^ lane_from(x, y % WARP);
        signature = fold(signature, pair_of(x, y ^ votes((x >> (step % 32)) & 1)));
    }
    report_signature(rows, signature);
}

// Sums and parities in shared memory, which come out alike in whatever order the threads take their turns.
KERNEL answers_atomics(u64 rows, u64 seed, u64 steps) {
    SHARED static u32 sums[CELLS], parities[CELLS], swapped[CELLS];
    report_start(rows);
    const u64 start = start_of(seed);
    const u32 mine = thread_index();
    u32 x = (u32)start, y = (u32)(start >> 32);
    u64 signature = start;
    if (mine < CELLS) sums[mine] = parities[mine] = swapped[mine] = 0;
    block_barrier();
    for (u64 step = 0; step < steps / 4; ++step) {
        add_to(sums + x % CELLS, y);
        xor_to(parities + (x >> 8) % CELLS, y);
        swap_add_to(swapped + (x >> 16) % CELLS, y);
        block_barrier();
        const u32 cell = (mine + (u32)step) % CELLS;
        const u32 sum = sums[cell], parity = parities[cell], swap = swapped[cell];
        x = x * 0x9E3779B1u + sum;
        y = (y << 7 | y >> 25) ^ parity ^ swap;
        signature = fold(fold(signature, pair_of(sum, parity)), pair_of(swap, x));
        block_barrier();
    }
    report_signature(rows, signature);
}

// Threads of a warp take different ways, go round differently often, and meet again.
KERNEL answers_branches(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed);
    u32 x = (u32)start, y = (u32)(start >> 32);
    u64 signature = start;
    for (u64 step = 0; step < steps / 4; ++step) {
        const u32 way = (x ^ y) & 3;
        if (way == 0) {
            x = multiply_high(x, y | 1) ^ y;
        } else if (way == 1) {
            y = y * 0x9E3779B1u + x;
        } else if (way == 2) {
            for (u32 turn = 0; turn <= (y >> 8 & 3); ++turn) x = (x << 7 | x >> 25) + y;
        } else {
            y = y ^ x >> 5;
            x = ~x;
        }
        x = x * 0x85EBCA6Bu + 0x9E3779B1u;
        y = y + (x << 3 | x >> 29);
        signature = fold(signature, pair_of(x, y));
    }
    report_signature(rows, signature);
}
