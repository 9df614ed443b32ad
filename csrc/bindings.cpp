// Module netdiffus._C. Arrays come as addresses, so that one build serves every torch version;
// netdiffus/ops checks and allocates them.
#include "bindings.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/loops.h"
#include "kernels.h"

namespace py = pybind11;
using namespace netdiffus;

namespace {

void gasf_image_py(uintptr_t x, int64_t batch, int64_t n, int64_t size, double gamma,
                   uintptr_t image, bool is_double, int threads) {
  py::gil_scoped_release release;
  if (is_double)
    gasf_image(at<const double>(x), batch, n, size, gamma, at<double>(image), threads);
  else
    gasf_image(at<const float>(x), batch, n, size, gamma, at<float>(image), threads);
}

void gasf_py(uintptr_t x, int64_t batch, int64_t n, uintptr_t field, bool is_double, int threads) {
  py::gil_scoped_release release;
  if (is_double)
    gasf(at<const double>(x), batch, n, at<double>(field), threads);
  else
    gasf(at<const float>(x), batch, n, at<float>(field), threads);
}

void normal_py(Draws draw, Shape shape, uintptr_t noise, bool is_double, int threads) {
  py::gil_scoped_release release;
  if (is_double)
    normal(draw_of(draw), as<Planes>(shape), at<double>(noise), threads);
  else
    normal(draw_of(draw), as<Planes>(shape), at<float>(noise), threads);
}

template <class T>
void q_sample_as(uintptr_t x0, uintptr_t signal, uintptr_t sigma, const Draws& draw,
                 const Shape& shape, int target, uintptr_t xt, uintptr_t goal, int threads) {
  q_sample(at<const T>(x0), at<const T>(signal), at<const T>(sigma), draw_of(draw),
           as<Planes>(shape), static_cast<Target>(target), at<T>(xt), at<T>(goal), threads);
}

void q_sample_py(uintptr_t x0, uintptr_t signal, uintptr_t sigma, Draws draw, Shape shape,
                 int target, uintptr_t xt, uintptr_t goal, bool is_double, int threads) {
  py::gil_scoped_release release;
  (is_double ? q_sample_as<double> : q_sample_as<float>)(x0, signal, sigma, draw, shape, target, xt,
                                                         goal, threads);
}

template <class T>
void denoise_step_as(const Factors& f, uintptr_t xt, uintptr_t out, uintptr_t x0_prev,
                     const Draws& draw, const Shape& shape, uintptr_t x_next, uintptr_t x0,
                     int threads) {
  denoise_step(as<Coefficients>(f), at<const T>(xt), at<const T>(out), at<const T>(x0_prev),
               draw_of(draw), as<Planes>(shape), at<T>(x_next), at<T>(x0), threads);
}

void denoise_step_py(Factors factors, uintptr_t xt, uintptr_t out, uintptr_t x0_prev, Draws draw,
                     Shape shape, uintptr_t x_next, uintptr_t x0, bool is_double, int threads) {
  py::gil_scoped_release release;
  (is_double ? denoise_step_as<double> : denoise_step_as<float>)(factors, xt, out, x0_prev, draw,
                                                                 shape, x_next, x0, threads);
}

void gasf_decode_py(uintptr_t image, int64_t batch, int64_t m, double gamma, int iterations,
                    double exact, uintptr_t x, uintptr_t residual, bool is_double, int threads) {
  py::gil_scoped_release release;
  if (is_double)
    gasf_decode(at<const double>(image), batch, m, gamma, iterations, exact, at<double>(x),
                at<double>(residual), threads);
  else
    gasf_decode(at<const float>(image), batch, m, gamma, iterations, exact, at<double>(x),
                at<double>(residual), threads);
}

template <class T>
void cached_attention_as(uintptr_t qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                         int64_t place, uintptr_t keys, uintptr_t values, uintptr_t out,
                         int threads) {
  cached_attention(at<const T>(qkv), batch, heads, length, width, place, at<T>(keys), at<T>(values),
                   at<T>(out), threads);
}

void cached_attention_py(uintptr_t qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                         int64_t place, uintptr_t keys, uintptr_t values, uintptr_t out,
                         bool is_double, int threads) {
  py::gil_scoped_release release;
  (is_double ? cached_attention_as<double> : cached_attention_as<float>)(qkv, batch, heads, length,
                                                                         width, place, keys, values,
                                                                         out, threads);
}

void draw_tokens_py(uintptr_t logits, uintptr_t uniforms, int64_t batch, int64_t size,
                    uintptr_t tokens, bool is_double, int threads) {
  py::gil_scoped_release release;
  const double* u = at<const double>(uniforms);
  if (is_double)
    draw_tokens(at<const double>(logits), u, batch, size, at<int64_t>(tokens), threads);
  else
    draw_tokens(at<const float>(logits), u, batch, size, at<int64_t>(tokens), threads);
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
  module.def("gasf", &gasf_py, py::arg("x"), py::arg("batch"), py::arg("n"), py::arg("field"),
             py::arg("double"), py::arg("threads"));
  module.def("gasf_image", &gasf_image_py, py::arg("x"), py::arg("batch"), py::arg("n"),
             py::arg("size"), py::arg("gamma"), py::arg("image"), py::arg("double"),
             py::arg("threads"));
  module.def("normal", &normal_py, py::arg("draw"), py::arg("shape"), py::arg("noise"),
             py::arg("double"), py::arg("threads"));
  module.def("q_sample", &q_sample_py, py::arg("x0"), py::arg("signal"), py::arg("sigma"),
             py::arg("draw"), py::arg("shape"), py::arg("target"), py::arg("xt"), py::arg("goal"),
             py::arg("double"), py::arg("threads"));
  module.def("denoise_step", &denoise_step_py, py::arg("factors"), py::arg("xt"), py::arg("out"),
             py::arg("x0_prev"), py::arg("draw"), py::arg("shape"), py::arg("x_next"),
             py::arg("x0"), py::arg("double"), py::arg("threads"));
  module.def("gasf_decode", &gasf_decode_py, py::arg("image"), py::arg("batch"), py::arg("m"),
             py::arg("gamma"), py::arg("iterations"), py::arg("exact"), py::arg("x"),
             py::arg("residual"), py::arg("double"), py::arg("threads"));
  module.def("cached_attention", &cached_attention_py, py::arg("qkv"), py::arg("batch"),
             py::arg("heads"), py::arg("length"), py::arg("width"), py::arg("place"),
             py::arg("keys"), py::arg("values"), py::arg("out"), py::arg("double"),
             py::arg("threads"));
  module.def("draw_tokens", &draw_tokens_py, py::arg("logits"), py::arg("uniforms"),
             py::arg("batch"), py::arg("size"), py::arg("tokens"), py::arg("double"),
             py::arg("threads"));
  module.def("linear", &linear_py, py::arg("map"), py::arg("x"), py::arg("added"), py::arg("rows"),
             py::arg("out"), py::arg("threads"));
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
  module.def("set_isa", &set_isa_py, py::arg("name"));
}
