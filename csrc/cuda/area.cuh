// The weights of resizing by area, as integers: no rounding moves an edge, and a constant stays.
#pragma once

#include "cuda/group.cuh"

namespace netdiffus {

// How n inputs make m outputs. inverse / 2^shift is 1 / (m / n) as doubles round it.
struct Scale {
  int64_t n, m;
  uint64_t inverse;
  int shift;
};

inline Scale scale_of(int64_t n, int64_t m) {
  int exponent;
  const double inverse = 1 / (static_cast<double>(m) / static_cast<double>(n));
  const double mantissa = std::frexp(inverse, &exponent);
  return {n, m, static_cast<uint64_t>(std::ldexp(mantissa, 53)), 53 - exponent};
}

// Inputs [first, last], whose weights are head, body for each between them, and tail, over n.
struct Window {
  int first, last;
  float head, body, tail;
};

// floor(o * inverse) as doubles round the product: where it falls on an input's edge, OpenCV's
// choice of the neighbour hangs on that rounding, and a GPU's doubles are slow.
NETDIFFUS_FN int64_t rounded_left(const Scale& scale, int64_t o) {
  unsigned __int128 product =
      static_cast<unsigned __int128>(scale.inverse) * static_cast<uint64_t>(o);
  int excess = 0;  // bits past the 53 of a double
  while (product >> excess >> 53) ++excess;
  if (excess) {
    const unsigned __int128 one = 1, odd = product >> excess & 1;
    product += (one << (excess - 1)) - 1 + odd;  // half to even
    product = product >> excess << excess;
  }
  return static_cast<int64_t>(product >> scale.shift);
}

NETDIFFUS_FN Window shrunk_window(const Scale& scale, int64_t o) {
  const int64_t n = scale.n, m = scale.m, begin = o * n, end = begin + n;
  const int64_t first = begin / m, last = (end - 1) / m;
  const int64_t head = first == last ? n : (first + 1) * m - begin;
  return {static_cast<int>(first), static_cast<int>(last), static_cast<float>(head),
          static_cast<float>(m), static_cast<float>(end - last * m)};
}

NETDIFFUS_FN Window enlarged_window(const Scale& scale, int64_t o) {
  const int64_t n = scale.n, left = rounded_left(scale, o);
  const int64_t tail = (o + 1) * n - (left + 1) * scale.m;
  const int first = static_cast<int>(left);
  const bool two = tail > 0 && tail < n && first + 1 < n;
  return {first, two ? first + 1 : first, static_cast<float>(two ? n - tail : n), 0,
          static_cast<float>(tail)};
}

NETDIFFUS_FN Window window(const Scale& scale, int64_t o) {
  return scale.m <= scale.n ? shrunk_window(scale, o) : enlarged_window(scale, o);
}

// A sum that keeps what each addition rounds away (Kahan, 1965).
struct Sum {
  float value = 0, lost = 0;
  NETDIFFUS_FN void add(float v) {
    const float kept = v - lost, next = value + kept;
    lost = (next - value) - kept;
    value = next;
  }
};

// n times the mean over a window of at(t).
template <class Values>
NETDIFFUS_FN float weighted(const Window& w, const Values& at) {
  if (w.first == w.last) return w.head * at(w.first);
  Sum body, total;
  for (int t = w.first + 1; t < w.last; ++t) body.add(at(t));
  total.add(w.head * at(w.first));
  total.add(w.body * body.value);
  total.add(w.tail * at(w.last));
  return total.value;
}

}  // namespace netdiffus
