// What a block counted and what went wrong, told to the host.
#include "device.cuh"

// Counts of one thread, then of its block: 64-bit items compared or stored, the wrapping sum of what was loaded, and
// what of it was wrong. `report_tally` writes them in this order, one row of four words for each block.
struct Tally {
    u64 items, total, bad_items, bad_bits;
};

// The first wrong items. `records` is host memory of `capacity` rows of four words: item, expected, actual, and
// stamp << 32 | SM. The stamp numbers the launch, so that a row which an earlier one left is never taken for new.
struct Log {
    u64 records, capacity, ticket, stamp;
};

DEVICE void note_wrong(Tally &tally, Log log, u64 item, u64 expected, u64 actual) {
    tally.bad_items += 1;
    tally.bad_bits += ones(expected ^ actual);
    if (read_counter(log.ticket) >= log.capacity) return;  // because a wholly wrong region would queue up to draw
    const u64 row = draw_ticket(log.ticket);
    if (row >= log.capacity) return;
    const u64 address = log.records + row * 32;
    report_word(address, item);
    report_word(address + 8, expected);
    report_word(address + 16, actual);
    report_word(address + 24, log.stamp << 32 | sm_id());
}

// The sum of the block's tallies, for each of its threads. Every thread of the block must come here, and once only.
DEVICE Tally tally_of_block(const Tally &tally) {
    SHARED static Tally of_thread[THREADS];
    const u32 thread = thread_index();
    of_thread[thread] = tally;
    block_barrier();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (thread < half) {
            of_thread[thread].items += of_thread[thread + half].items;
            of_thread[thread].total += of_thread[thread + half].total;
            of_thread[thread].bad_items += of_thread[thread + half].bad_items;
            of_thread[thread].bad_bits += of_thread[thread + half].bad_bits;
        }
        block_barrier();
    }
    return of_thread[0];
}

// Add up the block's tallies, report them, and tell each thread the sum. Every thread of the block must come here.
DEVICE Tally report_tally(const Tally &tally, u64 rows) {
    const Tally whole = tally_of_block(tally);
    if (thread_index() != 0) return whole;
    const u64 row = rows + block_index() * 32;
    report_word(row, whole.items);
    report_word(row + 8, whole.total);
    report_word(row + 16, whole.bad_items);
    report_word(row + 24, whole.bad_bits);
    return whole;
}
