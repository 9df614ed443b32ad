// Module netdiffus._C. Arrays come as addresses, so that one build serves every torch version;
// netdiffus/ops checks and allocates them.
#include "bindings.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu/loops.h"
#include "kernels.h"

namespace py = pybind11;
using namespace netdiffus;

namespace {

// Calls with a null pointer of the numbers' type, which names it.
template <class Call>
void by_type(bool is_double, const Call& call) {
  py::gil_scoped_release release;
  if (is_double)
    call(static_cast<double*>(nullptr));
  else
    call(static_cast<float*>(nullptr));
}

void gasf_py(uintptr_t x, int64_t batch, int64_t n, uintptr_t field, bool is_double, int threads) {
  by_type(is_double, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    gasf(at<const T>(x), batch, n, at<T>(field), threads);
  });
}

void gasf_image_py(uintptr_t x, int64_t batch, int64_t n, int64_t size, double gamma,
                   uintptr_t image, bool is_double, int threads) {
  by_type(is_double, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    gasf_image(at<const T>(x), batch, n, size, gamma, at<T>(image), threads);
  });
}

void normal_py(Draws draw, Shape shape, uintptr_t noise, bool is_double, int threads) {
  by_type(is_double, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    normal(draw_of(draw), as<Planes>(shape), at<T>(noise), threads);
  });
}

void q_sample_py(uintptr_t x0, uintptr_t signal, uintptr_t sigma, Draws draw, Shape shape,
                 int target, uintptr_t xt, uintptr_t goal, bool is_double, int threads) {
  by_type(is_double, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    q_sample(at<const T>(x0), at<const T>(signal), at<const T>(sigma), draw_of(draw),
             as<Planes>(shape), static_cast<Target>(target), at<T>(xt), at<T>(goal), threads);
  });
}

void denoise_step_py(Factors factors, uintptr_t xt, uintptr_t out, uintptr_t x0_prev, Draws draw,
                     Shape shape, uintptr_t x_next, uintptr_t x0, bool is_double, int threads) {
  by_type(is_double, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    denoise_step(as<Coefficients>(factors), at<const T>(xt), at<const T>(out), at<const T>(x0_prev),
                 draw_of(draw), as<Planes>(shape), at<T>(x_next), at<T>(x0), threads);
  });
}

void gasf_decode_py(uintptr_t image, int64_t batch, int64_t m, double gamma, int iterations,
                    double exact, uintptr_t x, uintptr_t residual, bool is_double, int threads) {
  by_type(is_double, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    gasf_decode(at<const T>(image), batch, m, gamma, iterations, exact, at<double>(x),
                at<double>(residual), threads);
  });
}

void cached_attention_py(uintptr_t qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                         int64_t place, uintptr_t keys, uintptr_t values, uintptr_t out,
                         bool is_double, int threads) {
  by_type(is_double, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    cached_attention(at<const T>(qkv), batch, heads, length, width, place, at<T>(keys),
                     at<T>(values), at<T>(out), threads);
  });
}

void draw_tokens_py(uintptr_t logits, uintptr_t uniforms, int64_t batch, int64_t size,
                    uintptr_t tokens, bool is_double, int threads) {
  by_type(is_double, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    draw_tokens(at<const T>(logits), at<const double>(uniforms), batch, size, at<int64_t>(tokens),
                threads);
  });
}

using Map = std::tuple<uintptr_t, uintptr_t, uintptr_t, uintptr_t, int64_t, int64_t, float, bool>;

Linear linear_of(const Map& t) {
  const auto [weight, bias, scale, shift, inputs, outputs, epsilon, gelu] = t;
  return {at<const float>(weight),
          at<const float>(bias),
          at<const float>(scale),
          at<const float>(shift),
          inputs,
          outputs,
          epsilon,
          gelu};
}

void linear_py(Map map, uintptr_t x, uintptr_t added, int64_t rows, uintptr_t out, int threads) {
  py::gil_scoped_release release;
  linear(linear_of(map), at<const float>(x), at<const float>(added), rows, at<float>(out), threads);
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
  module.def("gasf", &gasf_py);
  module.def("gasf_image", &gasf_image_py);
  module.def("normal", &normal_py);
  module.def("q_sample", &q_sample_py);
  module.def("denoise_step", &denoise_step_py);
  module.def("gasf_decode", &gasf_decode_py);
  module.def("cached_attention", &cached_attention_py);
  module.def("draw_tokens", &draw_tokens_py);
  module.def("linear", &linear_py);
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
