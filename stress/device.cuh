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

// The one counter in device memory, because atomics on host memory need the help of the bus.
DEVICE u64 draw_ticket(u64 address) { return atomicAdd((u64 *)address, 1ull); }

DEVICE u64 tickets_drawn(u64 address) {
    u64 drawn;
    asm volatile("ld.volatile.global.u64 %0, [%1];" : "=l"(drawn) : "l"(address) : "memory");
    return drawn;
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

// One tensor-core product of a warp, in shared memory: sum (16 × 16, FP32, by rows) += left (FP16, by rows) · right
// (FP16, by columns). wmma rather than mma, because it hides the layout of fragments and so serves Volta too.
DEVICE void tensor_multiply_add(const u16 *left, const u16 *right, float *sum) {
#if __CUDA_ARCH__ >= 700
    u32 a[8], b[8];
    float c[8];
    __syncwarp();
    asm volatile("wmma.load.a.sync.aligned.row.m16n16k16.f16 {%0, %1, %2, %3, %4, %5, %6, %7}, [%8], 16;"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]), "=r"(a[4]), "=r"(a[5]), "=r"(a[6]), "=r"(a[7])
                 : "l"(left)
                 : "memory");
    asm volatile("wmma.load.b.sync.aligned.col.m16n16k16.f16 {%0, %1, %2, %3, %4, %5, %6, %7}, [%8], 16;"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3]), "=r"(b[4]), "=r"(b[5]), "=r"(b[6]), "=r"(b[7])
                 : "l"(right)
                 : "memory");
    asm volatile("wmma.load.c.sync.aligned.row.m16n16k16.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, [%8], 16;"
                 : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3]), "=f"(c[4]), "=f"(c[5]), "=f"(c[6]), "=f"(c[7])
                 : "l"(sum)
                 : "memory");
    asm volatile(
        "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, "
        "{%8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19, %20, %21, %22, %23}, "
        "{%0, %1, %2, %3, %4, %5, %6, %7};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]), "r"(a[6]), "r"(a[7]), "r"(b[0]),
          "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(b[4]), "r"(b[5]), "r"(b[6]), "r"(b[7]));
    asm volatile("wmma.store.d.sync.aligned.row.m16n16k16.f32 [%8], {%0, %1, %2, %3, %4, %5, %6, %7}, 16;" ::"f"(c[0]),
                 "f"(c[1]), "f"(c[2]), "f"(c[3]), "f"(c[4]), "f"(c[5]), "f"(c[6]), "f"(c[7]), "l"(sum)
                 : "memory");
    __syncwarp();
#else
    __trap();  // because there is no tensor core before Volta, and the caller was told so
#endif
}

#endif  // GPUCERT_DEVICE
