// Launches. Every block does one piece of one image.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/group.cuh"

// A host compiler that stands in for nvcc has its own way to say this.
#ifndef NETDIFFUS_LAUNCH
#define NETDIFFUS_LAUNCH(kernel, blocks, threads, stream) kernel<<<blocks, threads, 0, stream>>>
#endif

// NETDIFFUS_FOR of each type that kernels are compiled for.
#define NETDIFFUS_EACH_TYPE NETDIFFUS_FOR(float) NETDIFFUS_FOR(__half) NETDIFFUS_FOR(__nv_bfloat16)

namespace netdiffus {

inline int64_t pieces(int64_t count, int64_t length) { return (count + length - 1) / length; }

// Whether every array starts where a 128-bit access may; null stands for an array not there.
template <class... T>
bool aligned(const T*... arrays) {
  return ((reinterpret_cast<uintptr_t>(arrays) % 16 == 0) && ...);
}

template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, void* stream, Arguments... arguments) {
  if (blocks == 0) return cudaSuccess;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  NETDIFFUS_LAUNCH(kernel, static_cast<unsigned>(blocks), kThreads,
                   static_cast<cudaStream_t>(stream))(arguments...);
  return cudaGetLastError();
}

}  // namespace netdiffus
