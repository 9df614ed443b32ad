// Enough of CUDA for a host compiler to take the kernels and their launches as they are. Blocks run
// one after the other. Their threads are fibers, resumed in an order that shim_order() sets, so
// that a missing barrier changes results; or, with SHIM_THREADS, threads of the operating system,
// for the sanitizers to watch.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#ifdef SHIM_THREADS
#include <barrier>
#include <memory>
#include <thread>
#endif

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static
#define NETDIFFUS_LAUNCH(kernel, blocks, threads, stream) shim::with(kernel, blocks, threads)

using cudaStream_t = void*;
using cudaError_t = int;
enum { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
inline int cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(int) { return "an error on the host"; }

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct __half {
  uint16_t bits;
};
struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __half2float(__half v) {
  _Float16 value;
  memcpy(&value, &v, sizeof v);
  return value;
}

inline __half __float2half_rn(float v) {
  const _Float16 value = static_cast<_Float16>(v);
  __half half;
  memcpy(&half, &value, sizeof half);
  return half;
}

inline float __bfloat162float(__nv_bfloat16 v) {
  const uint32_t bits = uint32_t{v.bits} << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline __nv_bfloat16 __float2bfloat16_rn(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  if (v != v) return {0x7FFF};
  return {static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

namespace shim {

struct Index {
  unsigned x;
};

constexpr int kWarp = 32;

// What the lanes of a warp show each other: two sets, as some lanes may already be one shuffle on.
struct Exchange {
  uint64_t value[2][kWarp];
};

// While one lives, ThreadSanitizer sees neither what this thread reads and writes, nor that it
// waits: a shuffle orders no memory.
#ifdef __SANITIZE_THREAD__
extern "C" {
void AnnotateIgnoreSyncBegin(const char*, int);
void AnnotateIgnoreSyncEnd(const char*, int);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
struct Unseen {
  Unseen() {
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
  }
};
#else
struct Unseen {
  Unseen() {}
};
#endif

#ifdef SHIM_THREADS

inline thread_local Index thread, block;
inline thread_local int shuffles;
inline std::barrier<>* block_barrier;
inline std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;
inline std::vector<Exchange> exchanges;

inline void wait_for_block(int) { block_barrier->arrive_and_wait(); }
inline void wait_for_warp(int) { warp_barriers[thread.x / kWarp]->arrive_and_wait(); }
inline int next_shuffle() { return shuffles++ & 1; }

template <class Body>
void run(unsigned blocks, unsigned threads, const Body& body) {
  std::barrier all(threads);
  block_barrier = &all;
  warp_barriers.clear();
  for (unsigned w = 0; w < threads / kWarp; ++w)
    warp_barriers.push_back(std::make_unique<std::barrier<>>(kWarp));
  exchanges.assign(threads / kWarp, {});
  std::vector<std::thread> running;
  for (unsigned k = 0; k < threads; ++k)
    running.emplace_back([=, &all, &body] {
      thread = {k};
      for (unsigned b = 0; b < blocks; ++b) {
        block = {b};
        body();
        all.arrive_and_wait();
      }
    });
  for (auto& one : running) one.join();
}

#else

enum class State { ready, at_block, at_warp, done };

struct Fiber {
  State state;
  int line;  // of the barrier it waits at
  int shuffles;
  bool started;
  jmp_buf resume;
  ucontext_t context;
  std::vector<char> stack;
};

inline Index thread, block;
inline std::vector<Fiber> fibers;
inline std::vector<Exchange> exchanges;
inline std::function<void()> body;
inline jmp_buf scheduler;
inline int order;  // 0: ascending, 1: descending, else a seed

inline void fail(const char* what, int line) {
  fprintf(stderr, "cuda shim: %s, line %d\n", what, line);
  abort();
}

// _setjmp and _longjmp switch without the system call that swapcontext makes.
inline void enter() {
  body();
  fibers[thread.x].state = State::done;
  _longjmp(scheduler, 1);
}

inline void resume(unsigned k) {
  thread = {k};
  Fiber& fiber = fibers[k];
  if (_setjmp(scheduler)) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  getcontext(&fiber.context);
  fiber.stack.resize(64 << 10);
  fiber.context.uc_stack.ss_sp = fiber.stack.data();
  fiber.context.uc_stack.ss_size = fiber.stack.size();
  makecontext(&fiber.context, enter, 0);
  setcontext(&fiber.context);
}

inline void wait(State state, int line) {
  Fiber& fiber = fibers[thread.x];
  fiber.state = state;
  fiber.line = line;
  if (!_setjmp(fiber.resume)) _longjmp(scheduler, 1);
}

inline void wait_for_block(int line) { wait(State::at_block, line); }
inline void wait_for_warp(int line) { wait(State::at_warp, line); }
inline int next_shuffle() { return fibers[thread.x].shuffles++ & 1; }

// Lets fibers [first, first + count) pass if they all wait at one place.
inline bool release(size_t first, size_t count, State state) {
  for (size_t k = first; k < first + count; ++k)
    if (fibers[k].state != state || fibers[k].line != fibers[first].line) return false;
  for (size_t k = first; k < first + count; ++k) fibers[k].state = State::ready;
  return true;
}

inline void run_block(const std::vector<unsigned>& turn) {
  for (Fiber& fiber : fibers) fiber.state = State::ready, fiber.started = false;
  for (;;) {
    for (unsigned k : turn)
      if (fibers[k].state == State::ready) resume(k);
    bool released = false;
    for (size_t w = 0; w < fibers.size(); w += kWarp) released |= release(w, kWarp, State::at_warp);
    if (released || release(0, fibers.size(), State::at_block)) continue;
    for (const Fiber& fiber : fibers)
      if (fiber.state != State::done) fail("not all threads come to this barrier", fiber.line);
    return;
  }
}

template <class Body>
void run(unsigned blocks, unsigned threads, const Body& each) {
  fibers.resize(threads);
  exchanges.assign(threads / kWarp, {});
  body = each;
  std::vector<unsigned> turn(threads);
  std::iota(turn.begin(), turn.end(), 0);
  if (order == 1) std::reverse(turn.begin(), turn.end());
  if (order > 1) std::shuffle(turn.begin(), turn.end(), std::mt19937(order));
  for (unsigned b = 0; b < blocks; ++b) {
    block = {b};
    run_block(turn);
  }
}

#endif

template <class T>
T shuffle(T v, int from, int line) {
  const Unseen unseen;
  auto& shown = exchanges[thread.x / kWarp].value[next_shuffle()];
  memcpy(&shown[thread.x % kWarp], &v, sizeof v);
  wait_for_warp(line);
  memcpy(&v, &shown[from], sizeof v);
  return v;
}

// The lane so many places down, or this one where there is none.
inline int below(int by) {
  const int lane = thread.x % kWarp;
  return lane < by ? lane : lane - by;
}

template <class... Parameters>
auto with(void (*kernel)(Parameters...), unsigned blocks, unsigned threads) {
  return [=](auto... arguments) { run(blocks, threads, [=] { kernel(arguments...); }); };
}

}  // namespace shim

#define threadIdx shim::thread
#define blockIdx shim::block
#define __syncthreads() shim::wait_for_block(__LINE__)
#define __shfl_sync(all, v, from) shim::shuffle(v, from, __LINE__)
#define __shfl_up_sync(all, v, by) shim::shuffle(v, shim::below(by), __LINE__)
#define __shfl_xor_sync(all, v, mask) \
  shim::shuffle(v, (shim::thread.x % shim::kWarp) ^ (mask), __LINE__)
