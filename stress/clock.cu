// Counts the cycles of an SM against the global timer while its arithmetic is busy: the clock that it really ran at.
#include "chains.cuh"

// A timer that has not moved after so many cycles, 10 ms or less, stands still.
#define PATIENCE (1ull << 24)

// Both counters at a change of the timer, and by how much it changed; 0 where it stood still.
struct Moment {
    u64 cycles, nanoseconds, step;
};

// The next change of the timer. Its resolution differs from card to card, and reading it between two changes would
// cost up to one of its steps.
DEVICE Moment next_change() {
    const u64 before = global_timer(), since = cycle_counter();
    u64 now = before;
    while (now == before && cycle_counter() - since < PATIENCE) now = global_timer();
    return {cycle_counter(), now, now - before};
}

DEVICE void report_moment(u64 address, Moment moment) {
    report_word(address, moment.cycles);
    report_word(address + 8, moment.nanoseconds);
    report_word(address + 16, moment.step);
}

// A block's row: the SM on which it began, the moment when it did, the same two of its end.
KERNEL clock_count(u64 rows, u64 steps, u64 sink) {
    const u64 row = rows + block_index() * 64;
    if (thread_index() == 0) {
        report_word(row, sm_id());
        next_change();  // because only from one change to the next a whole step is seen
        report_moment(row + 8, next_change());
    }
    const float sum = worked(steps);
    if (sum < 0.0f) report_word(sink, bits(sum));
    if (thread_index() == 0) {
        report_moment(row + 40, next_change());
        report_word(row + 32, sm_id());
    }
}
