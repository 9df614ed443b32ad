// The weights of a resize by area along one axis, made once and then read by every line.
#pragma once

#include <cstdint>
#include <vector>

#include "formulas.h"

namespace netdiffus {

// One output: head of input first, body of each input between, tail of input last. Where first is
// last the output is that input. The shares sum to 1.
struct Window {
  int64_t first, last;
  double head, body, tail;
};

// Output o of m covers [o n, (o + 1) n), where input t covers [t m, (t + 1) m).
inline Window shrunk_window(int64_t n, int64_t m, int64_t o) {
  const int64_t begin = o * n, end = begin + n;
  const int64_t first = begin / m, last = (end - 1) / m;
  const double whole = static_cast<double>(n);
  return {first, last, static_cast<double>((first + 1) * m - begin) / whole,
          static_cast<double>(m) / whole, static_cast<double>(end - last * m) / whole};
}

// In OpenCV's arithmetic: rounding decides which neighbour it takes.
inline Window enlarged_window(int64_t n, int64_t m, int64_t o) {
  const double grow = static_cast<double>(m) / static_cast<double>(n);
  const double left = std::floor(static_cast<double>(o) * (1 / grow));
  float share = static_cast<float>(static_cast<double>(o + 1) - (left + 1) * grow);
  share = share <= 0 ? 0 : share - std::floor(share);
  const int64_t t = static_cast<int64_t>(left);
  const int64_t next = share > 0 && t + 1 < n ? t + 1 : t;
  return {t, next, 1.0 - share, 0, static_cast<double>(share)};
}

inline std::vector<Window> windows(int64_t n, int64_t m) {
  std::vector<Window> all;
  all.reserve(m);
  for (int64_t o = 0; o < m; ++o)
    all.push_back(m <= n ? shrunk_window(n, m, o) : enlarged_window(n, m, o));
  return all;
}

}  // namespace netdiffus
