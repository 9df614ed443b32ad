#include "cuda/launch.h"
#include "cuda/levels.cuh"

namespace netdiffus {
namespace {

// Calls queue(Channel, blocks) for each channel.
template <class Queue>
int for_channels(int64_t batch, int64_t points, const std::vector<int64_t>& sizes,
                 const Queue& queue) {
  Channel at{batch * points, static_cast<int>(points), static_cast<int>(sizes.size())};
  for (int64_t size : sizes) at.levels += static_cast<int>(size);
  for (int64_t size : sizes) {
    at.count = static_cast<int>(size);
    if (const int code = queue(at, pieces(at.rows, kWarps))) return code;
    at.begin += at.count;
    ++at.number;
  }
  return cudaSuccess;
}

}  // namespace

template <class T>
int level_chances_cuda(const LevelInput<T>& in, const std::vector<int64_t>& sizes, T* chances,
                       T* features, void* stream) {
  return for_channels(in.batch, in.points, sizes, [&](Channel at, int64_t blocks) {
    return launch(level_chances_kernel<T>, blocks, stream, in, at, chances, features);
  });
}

template <class T>
int level_means_cuda(const T* chances, const T* told, const T* edge, const T* variance,
                     const T* spans, int64_t batch, int64_t points,
                     const std::vector<int64_t>& sizes, double gamma, T* means, void* stream) {
  const float exponent = static_cast<float>(1 / gamma);
  return for_channels(batch, points, sizes, [&](Channel at, int64_t blocks) {
    return launch(level_means_kernel<T>, blocks, stream, chances, told, edge, variance, spans, at,
                  exponent, means);
  });
}

template <class T>
int level_loss_cuda(const T* chances, const T* told, const int64_t* own, int64_t batch,
                    int64_t points, const std::vector<int64_t>& sizes, T* lost, void* stream) {
  return for_channels(batch, points, sizes, [&](Channel at, int64_t blocks) {
    return launch(level_loss_kernel<T>, blocks, stream, chances, told, own, at, lost);
  });
}

template <class T>
int level_loss_backward_cuda(const T* chances, const T* told, const int64_t* own, const T* g,
                             int64_t batch, int64_t points, const std::vector<int64_t>& sizes,
                             T* found, void* stream) {
  return for_channels(batch, points, sizes, [&](Channel at, int64_t blocks) {
    return launch(level_loss_backward_kernel<T>, blocks, stream, chances, told, own, g, at, found);
  });
}

#define NETDIFFUS_FOR(T)                                                                       \
  template int level_chances_cuda(const LevelInput<T>&, const std::vector<int64_t>&, T*, T*,   \
                                  void*);                                                      \
  template int level_means_cuda(const T*, const T*, const T*, const T*, const T*, int64_t,     \
                                int64_t, const std::vector<int64_t>&, double, T*, void*);      \
  template int level_loss_cuda(const T*, const T*, const int64_t*, int64_t, int64_t,           \
                               const std::vector<int64_t>&, T*, void*);                        \
  template int level_loss_backward_cuda(const T*, const T*, const int64_t*, const T*, int64_t, \
                                        int64_t, const std::vector<int64_t>&, T*, void*);
NETDIFFUS_FOR(float)
NETDIFFUS_FOR(__half)
NETDIFFUS_FOR(__nv_bfloat16)
#undef NETDIFFUS_FOR

}  // namespace netdiffus
