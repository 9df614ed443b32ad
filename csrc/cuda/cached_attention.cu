#include "cuda/cached_attention.cuh"
#include "cuda/launch.h"

namespace netdiffus {

template <class T>
int cached_attention_cuda(const T* qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                          int64_t place, T* keys, T* values, T* out, void* stream) {
  if (place >= kLongestCache) return cudaErrorInvalidValue;
  const Cache<T> cache{keys,
                       values,
                       length,
                       static_cast<int>(heads),
                       static_cast<int>(width),
                       static_cast<int>(place)};
  return launch(cached_attention_kernel<T>, pieces(batch * heads, kWarps), stream, qkv, cache,
                batch * heads, out);
}

#define NETDIFFUS_FOR(T)                                                                        \
  template int cached_attention_cuda(const T*, int64_t, int64_t, int64_t, int64_t, int64_t, T*, \
                                     T*, T*, void*);
NETDIFFUS_EACH_TYPE
#undef NETDIFFUS_FOR

}  // namespace netdiffus
