// How Python hands over the parameters of entry points, on all devices: arrays as addresses,
// structures as tuples.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <tuple>
#include <type_traits>

#include "kernels.h"

namespace netdiffus {

// What comes from Python for a parameter of type T, and T of it.
template <class T>
struct From {
  using type = T;
  static T take(T given) { return given; }
};
template <class T>
struct From<T*> {
  using type = uintptr_t;
  static T* take(uintptr_t address) { return reinterpret_cast<T*>(address); }
};
template <>
struct From<Target> {
  using type = int;
  static Target take(int target) { return static_cast<Target>(target); }
};

template <class T, class... Parts>
struct FromTuple {
  using type = std::tuple<typename From<Parts>::type...>;
  static T take(const type& given) {
    return std::apply([](const auto&... part) { return T{From<Parts>::take(part)...}; }, given);
  }
};
template <>
struct From<Draw> : FromTuple<Draw, uint64_t, const int64_t*, uint32_t> {};
template <>
struct From<Planes> : FromTuple<Planes, int64_t, int64_t, int64_t, int64_t, bool> {};
template <>
struct From<Coefficients>
    : FromTuple<Coefficients, double, double, double, double, double, double> {};
template <>
struct From<Linear> : FromTuple<Linear, const float*, const float*, const float*, const float*,
                                int64_t, int64_t, float, bool> {};

template <class T>
using Given = typename From<std::decay_t<T>>::type;
template <class T>
std::decay_t<T> take(const Given<T>& given) {
  return From<std::decay_t<T>>::take(given);
}

// Binds the entry points that take device pointers.
void add_cuda(pybind11::module_& module);

}  // namespace netdiffus
