// Enough of CUDA to run a kernel's source on the host: one operating-system thread per CUDA thread,
// so that the sanitizers see its races and stray accesses. Blocks run one after the other.
#pragma once

#include <barrier>
#include <thread>
#include <vector>

struct Index {
  unsigned x, y;
};
inline thread_local Index threadIdx, blockIdx;
inline Index gridDim;
inline std::barrier<>* block_barrier;

#define __global__
#define __shared__ static
#ifdef DROP_BARRIERS  // a broken kernel, to show that the check can fail
#define __syncthreads()
#else
#define __syncthreads() block_barrier->arrive_and_wait()
#endif

template <class Body>
void launch(unsigned blocks, Index block, const Body& body) {
  std::barrier barrier(block.x * block.y);
  block_barrier = &barrier;
  gridDim = {blocks, 1};
  std::vector<std::thread> threads;
  for (unsigned k = 0; k < block.x * block.y; ++k)
    threads.emplace_back([=, &barrier, &body] {
      threadIdx = {k % block.x, k / block.x};
      for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {b, 0};
        body();
        barrier.arrive_and_wait();
      }
    });
  for (auto& thread : threads) thread.join();
}
