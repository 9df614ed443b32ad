#include "cuda/draw_tokens.cuh"
#include "cuda/launch.h"

namespace netdiffus {

template <class T>
int draw_tokens_cuda(const T* logits, const double* uniforms, int64_t batch, int64_t size,
                     int64_t* tokens, void* stream) {
  return launch(draw_tokens_kernel<T>, pieces(batch, kWarps), stream, logits, uniforms, batch,
                static_cast<int>(size), grain_of(size), tokens);
}

#define NETDIFFUS_FOR(T) \
  template int draw_tokens_cuda(const T*, const double*, int64_t, int64_t, int64_t*, void*);
NETDIFFUS_EACH_TYPE
#undef NETDIFFUS_FOR

}  // namespace netdiffus
