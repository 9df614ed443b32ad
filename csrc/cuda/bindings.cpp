// The CUDA entry points. A dtype comes by torch's name; no header of CUDA is needed.
#include "bindings.h"

#include <stdexcept>
#include <string>

struct __half;
struct __nv_bfloat16;

namespace netdiffus {
namespace {

// Calls queue(T*) for the dtype's T; it returns a cudaError_t.
template <class Queue>
void launch(const char* op, const std::string& dtype, const Queue& queue) {
  int code;
  if (dtype == "torch.float32")
    code = queue(static_cast<float*>(nullptr));
  else if (dtype == "torch.float16")
    code = queue(static_cast<__half*>(nullptr));
  else if (dtype == "torch.bfloat16")
    code = queue(static_cast<__nv_bfloat16*>(nullptr));
  else
    throw std::invalid_argument(std::string(op) + " on CUDA has no kernel for " + dtype);
  if (code) throw std::runtime_error(std::string(op) + " on CUDA: " + cuda_error(code));
}

void gasf_py(uintptr_t x, int64_t batch, int64_t n, uintptr_t field, const std::string& dtype,
             uintptr_t stream) {
  launch("gasf", dtype, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return gasf_cuda(at<const T>(x), batch, n, at<T>(field), at<void>(stream));
  });
}

void gasf_image_py(uintptr_t x, int64_t batch, int64_t n, int64_t size, double gamma,
                   uintptr_t image, const std::string& dtype, uintptr_t stream) {
  launch("gasf_image", dtype, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return gasf_image_cuda(at<const T>(x), batch, n, size, gamma, at<T>(image), at<void>(stream));
  });
}

void gasf_decode_py(uintptr_t image, int64_t batch, int64_t m, double gamma, int iterations,
                    double exact, uintptr_t x, uintptr_t residual, const std::string& dtype,
                    uintptr_t stream) {
  launch("gasf_decode", dtype, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return gasf_decode_cuda(at<const T>(image), batch, m, gamma, iterations, exact, at<double>(x),
                            at<double>(residual), at<void>(stream));
  });
}

void normal_py(const Draws& draw, const Shape& shape, uintptr_t noise, const std::string& dtype,
               uintptr_t stream) {
  launch("normal", dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return normal_cuda(draw_of(draw), as<Planes>(shape), at<T>(noise), at<void>(stream));
  });
}

void q_sample_py(uintptr_t x0, uintptr_t signal, uintptr_t sigma, const Draws& draw,
                 const Shape& shape, int target, uintptr_t xt, uintptr_t goal,
                 const std::string& dtype, uintptr_t stream) {
  launch("q_sample", dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return q_sample_cuda(at<const T>(x0), at<const T>(signal), at<const T>(sigma), draw_of(draw),
                         as<Planes>(shape), static_cast<Target>(target), at<T>(xt), at<T>(goal),
                         at<void>(stream));
  });
}

void denoise_step_py(const Factors& factors, uintptr_t xt, uintptr_t out, uintptr_t x0_prev,
                     const Draws& draw, const Shape& shape, uintptr_t x_next, uintptr_t x0,
                     const std::string& dtype, uintptr_t stream) {
  launch("denoise_step", dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return denoise_step_cuda(as<Coefficients>(factors), at<const T>(xt), at<const T>(out),
                             at<const T>(x0_prev), draw_of(draw), as<Planes>(shape), at<T>(x_next),
                             at<T>(x0), at<void>(stream));
  });
}

void cached_attention_py(uintptr_t qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                         int64_t place, uintptr_t keys, uintptr_t values, uintptr_t out,
                         const std::string& dtype, uintptr_t stream) {
  launch("cached_attention", dtype, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return cached_attention_cuda(at<const T>(qkv), batch, heads, length, width, place, at<T>(keys),
                                 at<T>(values), at<T>(out), at<void>(stream));
  });
}

void draw_tokens_py(uintptr_t logits, uintptr_t uniforms, int64_t batch, int64_t size,
                    uintptr_t tokens, const std::string& dtype, uintptr_t stream) {
  launch("draw_tokens", dtype, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    return draw_tokens_cuda(at<const T>(logits), at<const double>(uniforms), batch, size,
                            at<int64_t>(tokens), at<void>(stream));
  });
}

}  // namespace

void add_cuda(pybind11::module_& module) {
  module.def("gasf_cuda", &gasf_py);
  module.def("gasf_image_cuda", &gasf_image_py);
  module.def("gasf_decode_cuda", &gasf_decode_py);
  module.def("normal_cuda", &normal_py);
  module.def("q_sample_cuda", &q_sample_py);
  module.def("denoise_step_cuda", &denoise_step_py);
  module.def("cached_attention_cuda", &cached_attention_py);
  module.def("draw_tokens_cuda", &draw_tokens_py);
}

}  // namespace netdiffus
