// Chains of single-precision products and sums that keep the arithmetic of an SM busy and leave memory alone.
#include "device.cuh"

#define CHAINS 8

// Work through the chains; the sum of their ends, which is never negative, and the compiler does not know it.
DEVICE float worked(u64 steps) {
    float chain[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) chain[i] = 1.0f + 0.001f * float(thread_index() + i);
    for (u64 step = 0; step < steps; ++step) {
#pragma unroll
        for (int i = 0; i < CHAINS; ++i) chain[i] = multiply_add(chain[i], 0.9990234f, 0.4371337f);
    }
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) sum += chain[i];
    return sum;
}
