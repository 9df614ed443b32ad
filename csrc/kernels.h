// Every native entry point. Arrays are dense and row-major; the caller checks and allocates.
#pragma once

#include <cstdint>

namespace netdiffus {

// x (batch, n) in [0, 1] -> image (batch, m, m) in [0, 1]: GASF, resized by area, to the power
// gamma.
template <class T>
void gasf_image(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                int threads);

// index (batch) -> noise (batch, count): standard normal by Philox(counter=(element, step, index)).
template <class T>
void normal(uint64_t seed, const int64_t* index, int64_t batch, uint32_t step, int64_t count,
            T* noise, int threads);

// As gasf_image, on device pointers; queues on the stream and returns a cudaError_t.
template <class T>
int gasf_image_cuda(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                    void* stream);

// What that cudaError_t means.
const char* cuda_error(int code);

}  // namespace netdiffus
