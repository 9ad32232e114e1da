// The functions of stress/device.cuh for the host's compiler: fibers for threads, a barrier for a barrier, and faults.
//
// Put in place of the real file, so that every kernel runs as ordinary C++. Blocks run one after another; each thread of
// a block is a fiber that runs until its next barrier before the next thread does. That is one order among those that a
// card may take, always the same, and the one in which a missing barrier reads what is not there yet.
#include <ucontext.h>

#include <bit>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;

struct Pair {
    u64 first, second;
};

#define KERNEL static void
#define DEVICE static inline
#define SHARED alignas(32)

namespace host {

struct Fault {
    u64 keep = ~0ull, set = 0;  // a word is (word & keep) | set on its way
    bool drops_stores = false;
};

inline std::map<u64, Fault> faults;  // by address of the word
inline u64 wrong_sm = ~0ull;         // the SM whose arithmetic is wrong, in bit 3 of every product
inline u64 sm_count = 1;
inline u64 blocks_in_grid = 1;

// Time passes with work and with looking at it, the same on every run; no SM knows the count of another.
inline double now_ns = 0, timer_step_ns = 1000;
inline double clock_mhz = 1500, slow_mhz = 0;
inline u64 slow_sm = ~0ull;
constexpr double LOOK_NS = 20, PRODUCT_NS = 0.5;
constexpr u64 APART = 1ull << 40;  // cycles between the counts of two SMs

inline u32 thread = 0;
inline u64 block = 0;

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool done = true;
};

inline std::vector<Fiber> fibers(THREADS);
inline ucontext_t scheduler;
inline void (*run_current)() = nullptr;

inline void meet() { swapcontext(&fibers[thread].context, &scheduler); }

inline void begin_fiber() {
    run_current();
    fibers[thread].done = true;
}

inline void start_fiber(Fiber &fiber) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, begin_fiber, 0);
    fiber.done = false;
}

inline void run_block() {
    for (Fiber &fiber : fibers) start_fiber(fiber);
    for (bool busy = true; busy;) {
        busy = false;
        for (thread = 0; thread < THREADS; ++thread) {
            if (fibers[thread].done) continue;
            swapcontext(&scheduler, &fibers[thread].context);
            busy = true;
        }
    }
}

inline u64 faulty(u64 address, u64 word) {
    const auto fault = faults.find(address);
    return fault == faults.end() ? word : (word & fault->second.keep) | fault->second.set;
}

inline bool drops(u64 address) {
    const auto fault = faults.find(address);
    return fault != faults.end() && fault->second.drops_stores;
}

inline bool wrong() { return block % sm_count == wrong_sm; }

template <class Number, class Word>
Number disturbed(Number right) {
    return wrong() ? std::bit_cast<Number>(std::bit_cast<Word>(right) ^ Word(8)) : right;
}

template <auto kernel, class... Arguments, std::size_t... Index>
void run_thread(void (*)(Arguments...), const u64 *arguments, std::index_sequence<Index...>) {
    kernel(static_cast<Arguments>(arguments[Index])...);
}

template <auto kernel, class... Arguments>
void run_grid(void (*type)(Arguments...), u64 blocks, const u64 *given) {
    static const u64 *arguments;
    arguments = given;
    blocks_in_grid = blocks;
    run_current = [] {
        run_thread<kernel>(static_cast<void (*)(Arguments...)>(kernel), arguments, std::index_sequence_for<Arguments...>{});
    };
    for (block = 0; block < blocks; ++block) run_block();
}

template <auto kernel>
void launch(u64 blocks, const u64 *arguments) {
    run_grid<kernel>(kernel, blocks, arguments);
}

}  // namespace host

extern "C" void plant_fault(u64 address, u64 keep, u64 set, u64 drops_stores) {
    host::faults[address] = {keep, set, drops_stores != 0};
}

extern "C" void repair() {
    host::faults.clear();
    host::wrong_sm = host::slow_sm = ~0ull;
    host::clock_mhz = 1500, host::timer_step_ns = 1000;
}

extern "C" void set_clock(u64 mhz, u64 step_ns, u64 slow_sm, u64 slow_mhz) {
    host::clock_mhz = double(mhz), host::timer_step_ns = double(step_ns);
    host::slow_sm = slow_sm, host::slow_mhz = double(slow_mhz);
}

extern "C" void set_sms(u64 count, u64 wrong) {
    host::sm_count = count;
    host::wrong_sm = wrong;
}

DEVICE u32 thread_index() { return host::thread; }
DEVICE u64 block_index() { return host::block; }
DEVICE u64 block_count() { return host::blocks_in_grid; }
DEVICE void block_barrier() { host::meet(); }
DEVICE u32 sm_id() { return u32(host::block % host::sm_count); }
DEVICE u32 warp_slot() { return u32(host::thread / 32); }
DEVICE u64 cycle_counter() {
    host::now_ns += host::LOOK_NS;
    const double mhz = sm_id() == host::slow_sm ? host::slow_mhz : host::clock_mhz;
    return sm_id() * host::APART + u64(host::now_ns * mhz / 1000);
}
DEVICE u64 global_timer() {
    host::now_ns += host::LOOK_NS;
    return host::timer_step_ns ? u64(std::floor(host::now_ns / host::timer_step_ns) * host::timer_step_ns) : 42;
}

DEVICE u64 load_word(u64 address) { return host::faulty(address, *reinterpret_cast<volatile u64 *>(address)); }
DEVICE void store_word(u64 address, u64 word) {
    if (!host::drops(address)) *reinterpret_cast<volatile u64 *>(address) = word;
}
DEVICE void store_half(u64 address, u32 half) {
    const u64 word = address & ~7ull, shift = (address & 4) * 8;
    const u64 kept = *reinterpret_cast<volatile u64 *>(word) & ~(0xFFFFFFFFull << shift);
    store_word(word, kept | u64(half) << shift);
}
DEVICE Pair load_pair(u64 address) { return {load_word(address), load_word(address + 8)}; }
DEVICE void store_pair(u64 address, Pair pair) {
    store_word(address, pair.first);
    store_word(address + 8, pair.second);
}
DEVICE Pair load_plain(u64 address) { return load_pair(address); }
DEVICE void store_plain(u64 address, Pair pair) { store_pair(address, pair); }
DEVICE void report_word(u64 address, u64 word) { *reinterpret_cast<volatile u64 *>(address) = word; }
DEVICE u64 draw_ticket(u64 address) { return (*reinterpret_cast<u64 *>(address))++; }
DEVICE void add_to_counter(u64 address, u64 value) { *reinterpret_cast<u64 *>(address) += host::disturbed<u64, u64>(value); }
DEVICE u64 read_counter(u64 address) { return *reinterpret_cast<u64 *>(address); }

DEVICE u64 *spare_shared() {
    alignas(32) static u64 spare[3 * THREADS];
    return spare;
}
DEVICE u64 spare_shared_bytes() { return 3 * THREADS * 8; }
DEVICE u64 load_shared(const u64 *word) { return host::disturbed<u64, u64>(*word); }
DEVICE void store_shared(u64 *word, u64 value) { *word = value; }
DEVICE void add_to(u32 *word, u32 value) { *word += host::disturbed<u32, u32>(value); }
DEVICE void xor_to(u32 *word, u32 value) { *word ^= host::disturbed<u32, u32>(value); }
DEVICE void swap_add_to(u32 *word, u32 value) { *word += value; }
DEVICE u32 keep(u32 value) { return host::disturbed<u32, u32>(value); }

// What every thread of the block says, once all of them have said it.
DEVICE u32 *said(u32 value) {
    static u32 values[THREADS];
    values[host::thread] = value;
    host::meet();
    return values;
}
DEVICE u32 lane_from(u32 value, u32 lane) {
    const u32 heard = said(value)[(host::thread & ~31u) + lane];
    host::meet();
    return host::disturbed<u32, u32>(heard);
}
DEVICE u32 lane_across(u32 value, u32 mask) { return lane_from(value, (host::thread & 31u) ^ mask); }
DEVICE u32 votes(u32 yes) {
    const u32 *values = said(yes) + (host::thread & ~31u);
    u32 ballot = 0;
    for (u32 lane = 0; lane < 32; ++lane) ballot |= values[lane] << lane;
    host::meet();
    return ballot;
}

DEVICE u32 multiply_high(u32 a, u32 b) { return host::disturbed<u32, u32>(u32((u64(a) * b) >> 32)); }
DEVICE u32 ones(u32 word) { return u32(std::popcount(word)); }
DEVICE u32 ones(u64 word) { return u32(std::popcount(word)); }

DEVICE float multiply(float a, float b) { return host::disturbed<float, u32>(a * b); }
DEVICE float subtract(float a, float b) { return a - b; }
DEVICE float multiply_add(float a, float b, float c) {
    host::now_ns += host::PRODUCT_NS;
    return host::disturbed<float, u32>(std::fma(a, b, c));
}
DEVICE double multiply(double a, double b) { return host::disturbed<double, u64>(a * b); }
DEVICE double subtract(double a, double b) { return a - b; }
DEVICE double multiply_add(double a, double b, double c) { return host::disturbed<double, u64>(std::fma(a, b, c)); }

DEVICE u32 bits(float value) { return std::bit_cast<u32>(value); }
DEVICE u64 bits(double value) { return std::bit_cast<u64>(value); }
DEVICE float single_of(u32 word) { return std::bit_cast<float>(word); }
DEVICE double double_of(u64 word) { return std::bit_cast<double>(word); }

// Stand-ins: the true values, rounded to single. A card's own are approximate, and compared among its SMs.
DEVICE float reciprocal_root(float x) { return float(1.0 / std::sqrt(double(x))); }
DEVICE float power_of_two(float x) { return float(std::exp2(double(x))); }
DEVICE float logarithm(float x) { return float(std::log2(double(x))); }
DEVICE float sine(float x) { return float(std::sin(double(x))); }

struct Half {
    u16 bits;
};
struct Brain {
    u16 bits;
};

DEVICE float value_of(Half half) {
    const float size = std::ldexp(1.0f + (half.bits & 0x3FF) / 1024.0f, int(half.bits >> 10 & 0x1F) - 15);
    return half.bits >> 15 ? -size : size;
}
DEVICE float value_of(Brain brain) { return single_of(u32(brain.bits) << 16); }
DEVICE float value_of(float number) { return number; }
DEVICE double value_of(double number) { return number; }
DEVICE int value_of(signed char number) { return number; }

DEVICE int multiply(int a, int b) { return host::disturbed<int, u32>(a * b); }

template <class Number, class Sum>
DEVICE void tensor_multiply_add(const Number *left, const Number *right, Sum *sum) {
    host::meet();
    if (host::thread % 32 == 0)
        for (int row = 0; row < 16; ++row)
            for (int column = 0; column < 16; ++column)
                for (int k = 0; k < 16; ++k)
                    sum[row * 16 + column] += multiply(value_of(left[row * 16 + k]), value_of(right[column * 16 + k]));
    host::meet();
}
