// Keeps the arithmetic of every SM busy and leaves memory alone, so that what it holds can fade while the card is warm.
#include "device.cuh"

#define CHAINS 8

KERNEL burn(u64 steps, u64 sink) {
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
    if (sum < 0.0f) report_word(sink, bits(sum));  // never, but the compiler does not know
}
