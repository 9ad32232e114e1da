// The hardware: the only place for loads, stores, SM ids, barriers, atomics and inline PTX.
//
// Everything else in the .cu files is plain C++, so that the tests can build it with the host's compiler against
// another set of these functions. No header is included, because a station need not have a CUDA toolkit. Addresses and
// kernel parameters are 64-bit integers, because CuPy passes every Python integer as one.
#ifndef GPUCERT_DEVICE
#define GPUCERT_DEVICE

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;

struct Pair {
    u64 first, second;
};

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
#define DEVICE __device__ __forceinline__
#define SHARED __shared__ __align__(32)

DEVICE u32 thread_index() { return threadIdx.x; }
DEVICE u64 block_index() { return blockIdx.x; }
DEVICE u64 block_count() { return gridDim.x; }
DEVICE void block_barrier() { __syncthreads(); }

DEVICE u32 sm_id() {
    u32 id;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(id));
    return id;
}

// Where among the resident warps of its SM a warp is: the sub-partition is this modulo 4, on every chip so far.
DEVICE u32 warp_slot() {
    u32 slot;
    asm volatile("mov.u32 %0, %%warpid;" : "=r"(slot));
    return slot;
}

// The SM's own count of its cycles, and the timer of the whole card in nanoseconds, which moves in steps.
DEVICE u64 cycle_counter() {
    u64 cycles;
    asm volatile("mov.u64 %0, %%clock64;" : "=l"(cycles)::"memory");
    return cycles;
}

DEVICE u64 global_timer() {
    u64 nanoseconds;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds)::"memory");
    return nanoseconds;
}

// Tested memory. `.cs` asks to leave L2 first; that is a hint, and no test relies on it. Volatile, because a load whose
// value the compiler thinks it knows is no load. Never `.nc`: the verifying kernel also writes.
DEVICE Pair load_pair(u64 address) {
    Pair pair;
    asm volatile("ld.global.cs.v2.u64 {%0, %1}, [%2];" : "=l"(pair.first), "=l"(pair.second) : "l"(address));
    return pair;
}

DEVICE void store_pair(u64 address, Pair pair) {
    asm volatile("st.global.cs.v2.u64 [%0], {%1, %2};" ::"l"(address), "l"(pair.first), "l"(pair.second) : "memory");
}

// Loads and stores that L2 keeps like any other, for plain traffic: what is loaded in order to push the rest out of L2
// must not be the first to leave it.
DEVICE Pair load_plain(u64 address) {
    Pair pair;
    asm volatile("ld.global.v2.u64 {%0, %1}, [%2];" : "=l"(pair.first), "=l"(pair.second) : "l"(address));
    return pair;
}

DEVICE void store_plain(u64 address, Pair pair) {
    asm volatile("st.global.v2.u64 [%0], {%1, %2};" ::"l"(address), "l"(pair.first), "l"(pair.second) : "memory");
}

DEVICE u64 load_word(u64 address) {
    u64 word;
    asm volatile("ld.volatile.global.u64 %0, [%1];" : "=l"(word) : "l"(address) : "memory");
    return word;
}

DEVICE void store_word(u64 address, u64 word) {
    asm volatile("st.volatile.global.u64 [%0], %1;" ::"l"(address), "l"(word) : "memory");
}

// A store of four bytes, smaller than what DRAM writes at once.
DEVICE void store_half(u64 address, u32 half) {
    asm volatile("st.volatile.global.u32 [%0], %1;" ::"l"(address), "r"(half) : "memory");
}

// What goes to the host: pinned memory, because counters in the memory under test could be wrong themselves.
DEVICE void report_word(u64 address, u64 word) {
    asm volatile("st.volatile.global.u64 [%0], %1;" ::"l"(address), "l"(word) : "memory");
}

// Counters in device memory, because atomics on host memory need the help of the bus.
DEVICE u64 draw_ticket(u64 address) { return atomicAdd((u64 *)address, 1ull); }
DEVICE void add_to_counter(u64 address, u64 value) { atomicAdd((u64 *)address, value); }

DEVICE u64 read_counter(u64 address) {
    u64 value;
    asm volatile("ld.volatile.global.u64 %0, [%1];" : "=l"(value) : "l"(address) : "memory");
    return value;
}

// The shared memory that a launch asked for beyond what the kernel itself declares.
DEVICE u64 *spare_shared() {
    extern __shared__ __align__(32) u64 spare[];
    return spare;
}

DEVICE u64 spare_shared_bytes() {
    u32 size;
    asm volatile("mov.u32 %0, %%dynamic_smem_size;" : "=r"(size));
    return size;
}

DEVICE u64 load_shared(const u64 *word) { return *(const volatile u64 *)word; }
DEVICE void store_shared(u64 *word, u64 value) { *(volatile u64 *)word = value; }

DEVICE void add_to(u32 *word, u32 value) { atomicAdd(word, value); }
DEVICE void xor_to(u32 *word, u32 value) { atomicXor(word, value); }

// A sum by compare and swap, repeated until nobody came between.
DEVICE void swap_add_to(u32 *word, u32 value) {
    u32 seen = *(volatile u32 *)word, before;
    do {
        before = seen;
        seen = atomicCAS(word, before, before + value);
    } while (seen != before);
}

// Values of other lanes of the warp; all of its lanes take part.
DEVICE u32 lane_across(u32 value, u32 mask) { return __shfl_xor_sync(~0u, value, mask); }
DEVICE u32 lane_from(u32 value, u32 lane) { return __shfl_sync(~0u, value, lane); }
DEVICE u32 votes(u32 yes) { return __ballot_sync(~0u, yes); }

// The value itself, through a register of its own.
DEVICE u32 keep(u32 value) {
    u32 kept;
    asm volatile("mov.b32 %0, %1;" : "=r"(kept) : "r"(value));
    return kept;
}

// Integer arithmetic that C++ has no operator for.
DEVICE u32 multiply_high(u32 a, u32 b) { return __umulhi(a, b); }
DEVICE u32 ones(u32 word) { return __popc(word); }
DEVICE u32 ones(u64 word) { return __popcll(word); }

// IEEE arithmetic in PTX, because CuPy compiles with -ftz=true and the compiler may contract a·b + c.
DEVICE float multiply(float a, float b) {
    float c;
    asm volatile("mul.rn.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}

DEVICE float subtract(float a, float b) {
    float c;
    asm volatile("sub.rn.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}

DEVICE float multiply_add(float a, float b, float c) {
    float d;
    asm volatile("fma.rn.f32 %0, %1, %2, %3;" : "=f"(d) : "f"(a), "f"(b), "f"(c));
    return d;
}

DEVICE double multiply(double a, double b) {
    double c;
    asm volatile("mul.rn.f64 %0, %1, %2;" : "=d"(c) : "d"(a), "d"(b));
    return c;
}

DEVICE double subtract(double a, double b) {
    double c;
    asm volatile("sub.rn.f64 %0, %1, %2;" : "=d"(c) : "d"(a), "d"(b));
    return c;
}

DEVICE double multiply_add(double a, double b, double c) {
    double d;
    asm volatile("fma.rn.f64 %0, %1, %2, %3;" : "=d"(d) : "d"(a), "d"(b), "d"(c));
    return d;
}

DEVICE u32 bits(float value) { return __float_as_uint(value); }
DEVICE u64 bits(double value) { return (u64)__double_as_longlong(value); }
DEVICE float single_of(u32 word) { return __uint_as_float(word); }
DEVICE double double_of(u64 word) { return __longlong_as_double((long long)word); }

// The special function unit; `.ftz` is the bare instruction without code around it.
DEVICE float reciprocal_root(float x) {
    float y;
    asm volatile("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float power_of_two(float x) {
    float y;
    asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float logarithm(float x) {
    float y;
    asm volatile("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float sine(float x) {
    float y;
    asm volatile("sin.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// FP16 and BF16 as bits, because types of their own need a header.
struct Half {
    u16 bits;
};
struct Brain {
    u16 bits;
};

// One tensor-core product of a warp in shared memory: sum (16 × 16, by rows) += left (by rows) · right (by columns).
// wmma rather than mma, because it hides the layout of fragments and so serves every architecture that has the type.
// Where it has not, the caller was told so, and the kernel traps.
#define WRITE_2(x) "=r"(x[0]), "=r"(x[1])
#define WRITE_4(x) WRITE_2(x), "=r"(x[2]), "=r"(x[3])
#define WRITE_8(x) WRITE_4(x), "=r"(x[4]), "=r"(x[5]), "=r"(x[6]), "=r"(x[7])
#define READ_2(x) "r"(x[0]), "r"(x[1])
#define READ_4(x) READ_2(x), "r"(x[2]), "r"(x[3])
#define READ_8(x) READ_4(x), "r"(x[4]), "r"(x[5]), "r"(x[6]), "r"(x[7])
#define SUMS(c, x) c(x[0]), c(x[1]), c(x[2]), c(x[3]), c(x[4]), c(x[5]), c(x[6]), c(x[7])
#define LOAD_SUMS(type, c, x, from)                                                                                \
    asm volatile("wmma.load.c.sync.aligned.row." type " {%0, %1, %2, %3, %4, %5, %6, %7}, [%8], 16;"               \
                 : SUMS("=" c, x)                                                                                  \
                 : "l"(from)                                                                                       \
                 : "memory")
#define STORE_SUMS(type, c, x, to)                                                                                 \
    asm volatile("wmma.store.d.sync.aligned.row." type " [%8], {%0, %1, %2, %3, %4, %5, %6, %7}, 16;" ::SUMS(c, x), \
                 "l"(to)                                                                                           \
                 : "memory")
#define LOAD_2(which, type, x, from) \
    asm volatile("wmma.load." which "." type " {%0, %1}, [%2], 16;" : WRITE_2(x) : "l"(from) : "memory")
#define LOAD_4(which, type, x, from) \
    asm volatile("wmma.load." which "." type " {%0, %1, %2, %3}, [%4], 16;" : WRITE_4(x) : "l"(from) : "memory")
#define LOAD_8(which, type, x, from)                                                                 \
    asm volatile("wmma.load." which "." type " {%0, %1, %2, %3, %4, %5, %6, %7}, [%8], 16;"          \
                 : WRITE_8(x)                                                                        \
                 : "l"(from)                                                                         \
                 : "memory")
#define LEFT "a.sync.aligned.row"
#define RIGHT "b.sync.aligned.col"

DEVICE void tensor_multiply_add(const Half *left, const Half *right, float *sum) {
#if __CUDA_ARCH__ >= 700
    u32 a[8], b[8];
    float c[8];
    __syncwarp();
    LOAD_8(LEFT, "m16n16k16.f16", a, left);
    LOAD_8(RIGHT, "m16n16k16.f16", b, right);
    LOAD_SUMS("m16n16k16.f32", "f", c, sum);
    asm volatile(
        "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, "
        "{%8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19, %20, %21, %22, %23}, "
        "{%0, %1, %2, %3, %4, %5, %6, %7};"
        : SUMS("+f", c)
        : READ_8(a), READ_8(b));
    STORE_SUMS("m16n16k16.f32", "f", c, sum);
    __syncwarp();
#else
    __trap();
#endif
}

DEVICE void tensor_multiply_add(const Brain *left, const Brain *right, float *sum) {
#if __CUDA_ARCH__ >= 800
    u32 a[4], b[4];
    float c[8];
    __syncwarp();
    LOAD_4(LEFT, "m16n16k16.bf16", a, left);
    LOAD_4(RIGHT, "m16n16k16.bf16", b, right);
    LOAD_SUMS("m16n16k16.f32", "f", c, sum);
    asm volatile(
        "wmma.mma.sync.aligned.row.col.m16n16k16.f32.bf16.bf16.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, "
        "{%8, %9, %10, %11}, {%12, %13, %14, %15}, {%0, %1, %2, %3, %4, %5, %6, %7};"
        : SUMS("+f", c)
        : READ_4(a), READ_4(b));
    STORE_SUMS("m16n16k16.f32", "f", c, sum);
    __syncwarp();
#else
    __trap();
#endif
}

// TF32 takes the upper 19 bits of a single; products here have no others.
DEVICE void tensor_multiply_add(const float *left, const float *right, float *sum) {
#if __CUDA_ARCH__ >= 800
    u32 a[4], b[4];
    float c[8];
    __syncwarp();
    LOAD_SUMS("m16n16k8.f32", "f", c, sum);
#pragma unroll
    for (int k = 0; k < 16; k += 8) {
        LOAD_4(LEFT, "m16n16k8.tf32", a, left + k);
        LOAD_4(RIGHT, "m16n16k8.tf32", b, right + k);
        asm volatile(
            "wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, "
            "{%8, %9, %10, %11}, {%12, %13, %14, %15}, {%0, %1, %2, %3, %4, %5, %6, %7};"
            : SUMS("+f", c)
            : READ_4(a), READ_4(b));
    }
    STORE_SUMS("m16n16k8.f32", "f", c, sum);
    __syncwarp();
#else
    __trap();
#endif
}

DEVICE void tensor_multiply_add(const signed char *left, const signed char *right, int *sum) {
#if __CUDA_ARCH__ >= 720
    u32 a[2], b[2];
    int c[8];
    __syncwarp();
    LOAD_2(LEFT, "m16n16k16.s8", a, left);
    LOAD_2(RIGHT, "m16n16k16.s8", b, right);
    LOAD_SUMS("m16n16k16.s32", "r", c, sum);
    asm volatile(
        "wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32 {%0, %1, %2, %3, %4, %5, %6, %7}, "
        "{%8, %9}, {%10, %11}, {%0, %1, %2, %3, %4, %5, %6, %7};"
        : SUMS("+r", c)
        : READ_2(a), READ_2(b));
    STORE_SUMS("m16n16k16.s32", "r", c, sum);
    __syncwarp();
#else
    __trap();
#endif
}

// In pieces of 8 × 8 × 4, the only shape of FP64.
DEVICE void tensor_multiply_add(const double *left, const double *right, double *sum) {
#if __CUDA_ARCH__ >= 800
    __syncwarp();
#pragma unroll 1
    for (int piece = 0; piece < 4; ++piece) {
        const int row = piece / 2 * 8, column = piece % 2 * 8;
        double a, b, c[2], *at = sum + row * 16 + column;
        asm volatile("wmma.load.c.sync.aligned.row.m8n8k4.f64 {%0, %1}, [%2], 16;"
                     : "=d"(c[0]), "=d"(c[1])
                     : "l"(at)
                     : "memory");
#pragma unroll
        for (int k = 0; k < 16; k += 4) {
            asm volatile("wmma.load.a.sync.aligned.row.m8n8k4.f64 {%0}, [%1], 16;"
                         : "=d"(a)
                         : "l"(left + row * 16 + k)
                         : "memory");
            asm volatile("wmma.load.b.sync.aligned.col.m8n8k4.f64 {%0}, [%1], 16;"
                         : "=d"(b)
                         : "l"(right + column * 16 + k)
                         : "memory");
            asm volatile("wmma.mma.sync.aligned.row.col.m8n8k4.rn.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                         : "+d"(c[0]), "+d"(c[1])
                         : "d"(a), "d"(b));
        }
        asm volatile("wmma.store.d.sync.aligned.row.m8n8k4.f64 [%2], {%0, %1}, 16;" ::"d"(c[0]), "d"(c[1]), "l"(at)
                     : "memory");
    }
    __syncwarp();
#else
    __trap();
#endif
}

#endif  // GPUCERT_DEVICE
