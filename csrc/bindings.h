// What the bindings of all devices share: how Python hands over arrays and what describes them.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <tuple>

#include "kernels.h"

namespace netdiffus {

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

using Draws = std::tuple<uint64_t, uintptr_t, uint32_t>;
using Shape = std::tuple<int64_t, int64_t, int64_t, int64_t, bool>;
using Factors = std::tuple<double, double, double, double, double, double>;

inline Draw draw_of(const Draws& t) {
  return {std::get<0>(t), at<const int64_t>(std::get<1>(t)), std::get<2>(t)};
}

template <class To, class... From>
To as(const std::tuple<From...>& t) {
  return std::apply([](From... parts) { return To{parts...}; }, t);
}

// Binds the entry points that take device pointers.
void add_cuda(pybind11::module_& module);

}  // namespace netdiffus
