// Module netdiffus._C. Arrays come as addresses, so that one build serves every torch version;
// netdiffus/ops checks and allocates them.
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "cpu/loops.h"
#include "kernels.h"

namespace py = pybind11;
using namespace netdiffus;

namespace {

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

void gasf_image_py(uintptr_t x, int64_t batch, int64_t n, int64_t size, double gamma,
                   uintptr_t image, bool is_double, int threads) {
  py::gil_scoped_release release;
  if (is_double)
    gasf_image(at<const double>(x), batch, n, size, gamma, at<double>(image), threads);
  else
    gasf_image(at<const float>(x), batch, n, size, gamma, at<float>(image), threads);
}

void normal_py(uint64_t seed, uintptr_t index, int64_t batch, uint32_t step, int64_t count,
               uintptr_t noise, bool is_double, int threads) {
  py::gil_scoped_release release;
  if (is_double)
    normal(seed, at<const int64_t>(index), batch, step, count, at<double>(noise), threads);
  else
    normal(seed, at<const int64_t>(index), batch, step, count, at<float>(noise), threads);
}

#ifdef NETDIFFUS_CUDA
void gasf_image_cuda_py(uintptr_t x, int64_t batch, int64_t n, int64_t size, double gamma,
                        uintptr_t image, bool is_double, uintptr_t stream) {
  const int code = is_double ? gasf_image_cuda(at<const double>(x), batch, n, size, gamma,
                                               at<double>(image), at<void>(stream))
                             : gasf_image_cuda(at<const float>(x), batch, n, size, gamma,
                                               at<float>(image), at<void>(stream));
  if (code) throw std::runtime_error(std::string("gasf_image on CUDA: ") + cuda_error(code));
}
#endif

const char* isa() {
#ifdef NETDIFFUS_HAS_CLONES
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
#endif
  return "baseline";
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.def("gasf_image", &gasf_image_py, py::arg("x"), py::arg("batch"), py::arg("n"),
             py::arg("size"), py::arg("gamma"), py::arg("image"), py::arg("double"),
             py::arg("threads"));
  module.def("normal", &normal_py, py::arg("seed"), py::arg("index"), py::arg("batch"),
             py::arg("step"), py::arg("count"), py::arg("noise"), py::arg("double"),
             py::arg("threads"));
#ifdef NETDIFFUS_CUDA
  module.def("gasf_image_cuda", &gasf_image_cuda_py, py::arg("x"), py::arg("batch"), py::arg("n"),
             py::arg("size"), py::arg("gamma"), py::arg("image"), py::arg("double"),
             py::arg("stream"));
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
  module.attr("isa") = isa();
}
