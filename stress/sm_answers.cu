// Known-answer chains of the integer, single, double and special-function units, one block for each SM.
#include "signature.cuh"

KERNEL answers_int32(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed);
    u32 x = (u32)start, y = (u32)(start >> 32);
    u64 signature = start;
    for (u64 step = 0; step < steps; ++step) {
        const u32 high = multiply_high(x, y | 1);
        x = x * 0x9E3779B1u + y;
        y = (y << 7 | y >> 25) ^ high;
        x = x ^ ((y & ~high) | x >> 11);
        y = y + ones(x);
        signature = fold(signature, pair_of(x, y));
    }
    report_signature(rows, signature);
}

// Starts and rate of the logistic map, see answers.py.
DEVICE float single_start(u64 hash) { return single_of(0x3E800000u | ((u32)hash & 0x7FFFFFu)); }
DEVICE float single_rate(u64 hash) { return single_of(0x407C0000u | ((u32)(hash >> 32) & 0x1FFFFu)); }

KERNEL answers_fp32(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed);
    const float rate = single_rate(start);
    float x = single_start(start), y = single_start(mix64(start));
    u64 signature = start;
    for (u64 step = 0; step < steps; ++step) {
        x = multiply(rate, multiply_add(-x, x, x));
        y = multiply(rate, subtract(y, multiply(y, y)));
        signature = fold(signature, pair_of(bits(x), bits(y)));
    }
    report_signature(rows, signature);
}

KERNEL answers_fp64(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed), mantissa = (1ull << 52) - 1;
    const double rate = double_of(0x400F800000000000ull | start >> 18);
    double x = double_of(0x3FD0000000000000ull | (start & mantissa));
    double y = double_of(0x3FD0000000000000ull | (mix64(start) & mantissa));
    u64 signature = start;
    for (u64 step = 0; step < steps; ++step) {
        x = multiply(rate, multiply_add(-x, x, x));
        y = multiply(rate, subtract(y, multiply(y, y)));
        signature = fold(fold(signature, bits(x)), bits(y));
    }
    report_signature(rows, signature);
}

// The map runs on exact arithmetic, so that only the special functions themselves may differ between architectures.
KERNEL answers_sfu(u64 rows, u64 seed, u64 steps) {
    report_start(rows);
    const u64 start = start_of(seed);
    const float rate = single_rate(start);
    float x = single_start(start);
    u64 signature = start;
    for (u64 step = 0; step < steps; ++step) {
        x = multiply(rate, multiply_add(-x, x, x));
        signature = fold(signature, pair_of(bits(reciprocal_root(x)), bits(power_of_two(x))));
        signature = fold(signature, pair_of(bits(logarithm(x)), bits(sine(x))));
    }
    report_signature(rows, signature);
}
