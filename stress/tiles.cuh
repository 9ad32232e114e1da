// How a persistent grid walks memory: tiles of 64 KiB, blocks rotated by `rotation` from one pass to the next, so that a
// word is verified by another SM than the one that wrote it.
#include "device.cuh"

#define TILE_PAIRS 4096ull
#define IN_FLIGHT 4

// Pairs [first, end) of tile number `tile`.
struct Tile {
    u64 first, end;
};

DEVICE Tile tile_of(u64 tile, u64 pairs) {
    const u64 first = tile * TILE_PAIRS, end = first + TILE_PAIRS;
    return {first, end < pairs ? end : pairs};
}

DEVICE u64 first_tile(u64 rotation) { return (block_index() + rotation) % block_count(); }

DEVICE u64 tiles_in(u64 pairs) { return (pairs + TILE_PAIRS - 1) / TILE_PAIRS; }

// The pair that comes at this place of a sweep: a descending one begins with the last.
DEVICE u64 turned(u64 number, u64 pairs, u64 descending) { return descending ? pairs - 1 - number : number; }

// Calls `several(pair)` for groups of IN_FLIGHT pairs at a distance of THREADS, `one(pair)` for what is left over.
template <class Several, class One>
DEVICE void walk(u64 pairs, u64 rotation, Several several, One one) {
    for (u64 number = first_tile(rotation); number < tiles_in(pairs); number += block_count()) {
        const Tile tile = tile_of(number, pairs);
        u64 pair = tile.first + thread_index();
        for (; pair + (IN_FLIGHT - 1) * THREADS < tile.end; pair += IN_FLIGHT * THREADS) several(pair);
        for (; pair < tile.end; pair += THREADS) one(pair);
    }
}
