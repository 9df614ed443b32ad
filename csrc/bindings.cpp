// Module netdiffus._C. Arrays come as addresses, so that one build serves every torch version;
// netdiffus/ops checks and allocates them.
#include "bindings.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/loops.h"
#include "kernels.h"

namespace py = pybind11;
using namespace netdiffus;

namespace {

// Binds an entry point for float and for double; Python says first whether it is double.
template <class... F, class... D>
void add(py::module_& module, const char* name, void (*single)(F...), void (*twice)(D...)) {
  module.def(name, [=](bool is_double, Given<F>... given) {
    py::gil_scoped_release release;
    if (is_double)
      twice(take<D>(given)...);
    else
      single(take<F>(given)...);
  });
}

// The levels this processor has, lowest first.
std::vector<std::string> isas() {
  const std::vector<std::string> names = {"baseline", "x86-64-v3", "x86-64-v4"};
  return {names.begin(), names.begin() + static_cast<int>(highest_isa()) + 1};
}

void set_isa_py(const std::string& name) {
  const std::vector<std::string> known = isas();
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end()) {
    std::string message = "instruction set (NETDIFFUS_ISA): this processor has";
    for (const std::string& level : known) message += " " + level;
    throw std::invalid_argument(message + "; found '" + name + "'");
  }
  set_isa(static_cast<Isa>(found - known.begin()));
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  add(module, "gasf", gasf<float>, gasf<double>);
  add(module, "gasf_image", gasf_image<float>, gasf_image<double>);
  add(module, "normal", normal<float>, normal<double>);
  add(module, "q_sample", q_sample<float>, q_sample<double>);
  add(module, "denoise_step", denoise_step<float>, denoise_step<double>);
  add(module, "gasf_decode", gasf_decode<float>, gasf_decode<double>);
  add(module, "cached_attention", cached_attention<float>, cached_attention<double>);
  add(module, "draw_tokens", draw_tokens<float>, draw_tokens<double>);
  add(module, "linear", linear, linear);        // of float alone
  add(module, "uniforms", uniforms, uniforms);  // of double alone, as is the next
  add(module, "spread_uniforms", spread_uniforms, spread_uniforms);
#ifdef NETDIFFUS_CUDA
  add_cuda(module);
  module.attr("cuda_built") = true;
  module.attr("cuda_architectures") = NETDIFFUS_CUDA;
#else
  module.attr("cuda_built") = false;
  module.attr("cuda_architectures") = "";
#endif
#ifdef _OPENMP
  module.attr("openmp") = true;
#else
  module.attr("openmp") = false;
#endif
  module.attr("compiler") = __VERSION__;
  module.def("isa", [] { return isas()[static_cast<int>(isa())]; });
  module.def("isas", &isas);
  module.def("set_isa", &set_isa_py);
}
