// The CUDA entry points. A dtype comes by torch's name; no header of CUDA is needed.
#include "bindings.h"

#include <stdexcept>
#include <string>

struct __half;
struct __nv_bfloat16;

namespace netdiffus {
namespace {

// Binds an entry point for float and both halves; Python says first which, by torch's name.
template <class... F, class... H, class... B>
void add(pybind11::module_& module, const std::string& name, int (*single)(F...), int (*half)(H...),
         int (*brain)(B...)) {
  module.def(name.c_str(), [=](const std::string& dtype, Given<F>... given) {
    int code;
    if (dtype == "torch.float32")
      code = single(take<F>(given)...);
    else if (dtype == "torch.float16")
      code = half(take<H>(given)...);
    else if (dtype == "torch.bfloat16")
      code = brain(take<B>(given)...);
    else
      throw std::invalid_argument(name + " has no kernel for " + dtype);
    if (code) throw std::runtime_error(name + ": " + cuda_error(code));
  });
}

}  // namespace

#define NETDIFFUS_ADD(op) \
  add(module, #op "_cuda", op##_cuda<float>, op##_cuda<__half>, op##_cuda<__nv_bfloat16>)

void add_cuda(pybind11::module_& module) {
  NETDIFFUS_ADD(gasf);
  NETDIFFUS_ADD(gasf_image);
  NETDIFFUS_ADD(gasf_decode);
  NETDIFFUS_ADD(normal);
  NETDIFFUS_ADD(q_sample);
  NETDIFFUS_ADD(denoise_step);
  NETDIFFUS_ADD(cached_attention);
  NETDIFFUS_ADD(draw_tokens);
}

}  // namespace netdiffus
