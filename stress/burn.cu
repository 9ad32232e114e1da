// Keeps the arithmetic of every SM busy and leaves memory alone, so that what it holds can fade while the card is warm.
#include "chains.cuh"

KERNEL burn(u64 steps, u64 sink) {
    const float sum = worked(steps);
    if (sum < 0.0f) report_word(sink, bits(sum));
}
