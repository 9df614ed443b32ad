// The CUDA launchers, for ctypes: the kernels are included and run on the host. A dtype is 0 for
// float, 1 for half, 2 for bfloat16.
#include <type_traits>

#include "kernels.h"

using namespace netdiffus;

namespace {

template <class Call>
int by_dtype(int dtype, const Call& call) {
  if (dtype == 0) return call(static_cast<float*>(nullptr));
  if (dtype == 1) return call(static_cast<__half*>(nullptr));
  return call(static_cast<__nv_bfloat16*>(nullptr));
}

}  // namespace

#define AS(T, array) static_cast<T*>(array)
#define WITH(dtype, call)                         \
  by_dtype(dtype, [&](auto* t) {                  \
    using T = std::remove_pointer_t<decltype(t)>; \
    return call;                                  \
  })

extern "C" {

void shim_order(int order) { shim::order = order; }

int gasf(int dtype, void* x, int64_t batch, int64_t n, void* field) {
  return WITH(dtype, gasf_cuda(AS(const T, x), batch, n, AS(T, field), nullptr));
}

int gasf_image(int dtype, void* x, int64_t batch, int64_t n, int64_t m, double gamma, void* image) {
  return WITH(dtype, gasf_image_cuda(AS(const T, x), batch, n, m, gamma, AS(T, image), nullptr));
}

int gasf_decode(int dtype, void* image, int64_t batch, int64_t m, double gamma, int iterations,
                double exact, double* x, double* residual) {
  return WITH(dtype, gasf_decode_cuda(AS(const T, image), batch, m, gamma, iterations, exact, x,
                                      residual, nullptr));
}

int normal(int dtype, Draw* draw, Planes* shape, void* noise) {
  return WITH(dtype, normal_cuda(*draw, *shape, AS(T, noise), nullptr));
}

int q_sample(int dtype, void* x0, void* signal, void* sigma, Draw* draw, Planes* shape, int target,
             void* xt, void* goal) {
  return WITH(dtype,
              q_sample_cuda(AS(const T, x0), AS(const T, signal), AS(const T, sigma), *draw, *shape,
                            static_cast<Target>(target), AS(T, xt), AS(T, goal), nullptr));
}

int denoise_step(int dtype, Coefficients* k, void* xt, void* out, void* x0_prev, Draw* draw,
                 Planes* shape, void* x_next, void* x0) {
  return WITH(dtype, denoise_step_cuda(*k, AS(const T, xt), AS(const T, out), AS(const T, x0_prev),
                                       *draw, *shape, AS(T, x_next), AS(T, x0), nullptr));
}

int cached_attention(int dtype, void* qkv, int64_t batch, int64_t heads, int64_t length,
                     int64_t width, int64_t place, void* keys, void* values, void* out) {
  return WITH(dtype, cached_attention_cuda(AS(const T, qkv), batch, heads, length, width, place,
                                           AS(T, keys), AS(T, values), AS(T, out), nullptr));
}

int draw_tokens(int dtype, void* logits, double* uniforms, int64_t batch, int64_t size,
                int64_t* tokens) {
  return WITH(dtype, draw_tokens_cuda(AS(const T, logits), uniforms, batch, size, tokens, nullptr));
}

}  // extern "C"
