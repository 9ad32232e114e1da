// Known-answer products of the tensor cores, type by type, one block for each SM; Volta and later.
#include "signature.cuh"

#define TILE_ELEMENTS 256
#define PER_THREAD (TILE_ELEMENTS / WARP)
#define PRODUCTS_PER_ROUND 4
#define STEPS_PER_ROUND 8

// Numbers of one byte each: ±2^e · (1 + m/4), where bit 7 is the sign, bit 0 is e, bits 1 and 2 are m, or the byte
// itself as a whole number. `exponent` is the place and `bias` the value of 2^0 in a binary format.
DEVICE u64 float_bits(u32 code, u32 width, u32 fraction, u64 bias) {
    return (u64)(code >> 7) << (width - 1) | (bias + (code & 1)) << fraction | (u64)((code >> 1) & 3) << (fraction - 2);
}
DEVICE void make_number(Half *number, u32 code) { number->bits = (u16)float_bits(code, 16, 10, 15); }
DEVICE void make_number(Brain *number, u32 code) { number->bits = (u16)float_bits(code, 16, 7, 127); }
DEVICE void make_number(float *number, u32 code) { *number = single_of((u32)float_bits(code, 32, 23, 127)); }
DEVICE void make_number(double *number, u32 code) { *number = double_of(float_bits(code, 64, 52, 1023)); }
DEVICE void make_number(signed char *number, u32 code) { *number = (signed char)code; }

template <class Number>
DEVICE void make_operand(Number *tile, u64 hash) {
    Number *mine = tile + (thread_index() % WARP) * PER_THREAD;
    for (u32 i = 0; i < PER_THREAD; ++i) make_number(mine + i, (u32)(hash >> (8 * i)) & 0xFF);
}

DEVICE u64 fold_two(u64 signature, const float *sums) {
    return fold(signature, pair_of(bits(sums[0]), bits(sums[1])));
}
DEVICE u64 fold_two(u64 signature, const int *sums) { return fold(signature, pair_of((u32)sums[0], (u32)sums[1])); }
DEVICE u64 fold_two(u64 signature, const double *sums) {
    return fold(fold(signature, bits(sums[0])), bits(sums[1]));
}

// Sums of products that are exact in every order, of new operands each time.
template <class Number, class Sum>
DEVICE void answer_products(u64 rows, u64 seed, u64 steps, Number *left, Number *right, Sum *sum) {
    report_start(rows);
    const u32 warp = thread_index() / WARP, mine = (thread_index() % WARP) * PER_THREAD;
    left += warp * TILE_ELEMENTS, right += warp * TILE_ELEMENTS, sum += warp * TILE_ELEMENTS;
    const u64 start = start_of(seed);
    u64 signature = start, counter = 0;
    for (u64 round = 0; round < steps / STEPS_PER_ROUND; ++round) {
        for (u32 i = 0; i < PER_THREAD; ++i) sum[mine + i] = 0;
        for (u32 product = 0; product < PRODUCTS_PER_ROUND; ++product, counter += 2) {
            make_operand(left, mix64(start + counter * GOLDEN));
            make_operand(right, mix64(start + (counter + 1) * GOLDEN));
            tensor_multiply_add(left, right, sum);
        }
        for (u32 i = 0; i < PER_THREAD; i += 2) signature = fold_two(signature, sum + mine + i);
    }
    report_signature(rows, signature);
}

#define PRODUCTS(Number, Sum)                                                                    \
    SHARED static Number left[THREADS * PER_THREAD], right[THREADS * PER_THREAD];                \
    SHARED static Sum sum[THREADS * PER_THREAD];                                                 \
    answer_products(rows, seed, steps, left, right, sum)

KERNEL answers_tensor(u64 rows, u64 seed, u64 steps) { PRODUCTS(Half, float); }
KERNEL answers_tensor_bf16(u64 rows, u64 seed, u64 steps) { PRODUCTS(Brain, float); }
KERNEL answers_tensor_tf32(u64 rows, u64 seed, u64 steps) { PRODUCTS(float, float); }
KERNEL answers_tensor_int8(u64 rows, u64 seed, u64 steps) { PRODUCTS(signed char, int); }
KERNEL answers_tensor_fp64(u64 rows, u64 seed, u64 steps) { PRODUCTS(double, double); }
