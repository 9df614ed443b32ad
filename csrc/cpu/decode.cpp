// The series whose GASF image is nearest, by Gauss-Newton steps of O(m^2) each.
//
// An angle theta is held as x = cos(theta) and s = sin(theta). With u = s^2, v = x^2 and w = x s
// the normal matrix S + diag(S 1), S_ij = sin(theta_i + theta_j)^2 = (s_i x_j + x_i s_j)^2, is a
// diagonal plus u v' + v u' + 2 w w', so a 3 x 3 system solves it (Woodbury).
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

using Doubles = std::vector<double>;

// Everything one thread needs beside its input and output.
struct Scratch {
  explicit Scratch(int64_t m)
      : target(m * m), x(m), s(m), next_x(m), next_s(m), pull(m), by_x(m), by_s(m), square(m) {}
  Doubles target;                      // image without gamma, symmetric, less 1/2
  Doubles x, s, next_x, next_s, pull;  // pull: the right-hand side, sum_j error_ij sin(...)
  Doubles by_x, by_s, square;          // sums over rows
};

double without_gamma(double p, double gamma) {
  if (gamma == 1) return p;
  if (gamma == 0.5) return p * p;
  if (gamma == 0.25) return p * p * (p * p);
  return std::pow(p, 1 / gamma);
}

// A NaN stays one: both comparisons are false.
NETDIFFUS_FN double within_0_1(double p) {
  const double low = p < 0 ? 0 : p;
  return low > 1 ? 1 : low;
}

template <class T>
void take_image(const T* image, int64_t m, double gamma, Scratch& k) {
  double* p = k.target.data();
  for (int64_t at = 0; at < m * m; ++at) p[at] = within_0_1(static_cast<double>(image[at]));
  for (int64_t i = 0; i < m; ++i) {
    const double diagonal = without_gamma(p[i * m + i], gamma);
    k.x[i] = std::sqrt(diagonal);
    k.s[i] = std::sqrt(1 - diagonal);
    p[i * m + i] = diagonal - 0.5;
    for (int64_t j = 0; j < i; ++j) {
      const double mean = 0.5 * (p[i * m + j] + p[j * m + i]);
      p[i * m + j] = p[j * m + i] = without_gamma(mean, gamma) - 0.5;
    }
  }
}

// Squared errors of (x, s) summed over rows, and the right-hand side there. Sums run down the
// columns, so that they vectorise and still add in one order on every processor.
NETDIFFUS_FN void sweep(int64_t m, const double* target, const double* x, const double* s,
                        double* by_x, double* by_s, double* square, double* pull) {
  for (int64_t j = 0; j < m; ++j) by_x[j] = by_s[j] = square[j] = 0;
  for (int64_t i = 0; i < m; ++i) {
    const double* row = target + i * m;
    const double xi = x[i], si = s[i], half_x = 0.5 * xi, half_s = 0.5 * si;
#pragma GCC ivdep
    for (int64_t j = 0; j < m; ++j) {
      const double error = row[j] - (half_x * x[j] - half_s * s[j]);
      by_x[j] += error * xi;
      by_s[j] += error * si;
      square[j] += error * error;
    }
  }
#pragma GCC ivdep
  for (int64_t j = 0; j < m; ++j) pull[j] = 2 * (s[j] * by_x[j] + x[j] * by_s[j]);
}

// Solves a q = b with partial pivoting; leaves q in b.
void solve_3(double (&a)[3][3], double (&b)[3]) {
  for (int c = 0; c < 3; ++c) {
    int pivot = c;
    for (int r = c + 1; r < 3; ++r)
      if (std::abs(a[r][c]) > std::abs(a[pivot][c])) pivot = r;
    std::swap(a[c], a[pivot]);
    std::swap(b[c], b[pivot]);
    for (int r = c + 1; r < 3; ++r) {
      const double factor = a[r][c] / a[c][c];
      for (int k = c; k < 3; ++k) a[r][k] -= factor * a[c][k];
      b[r] -= factor * b[c];
    }
  }
  for (int c = 2; c >= 0; --c) {
    for (int k = c + 1; k < 3; ++k) b[c] -= a[c][k] * b[k];
    b[c] /= a[c][c];
  }
}

// The diagonal diag(S 1), its inverse's products with (u, v, w), and from them the step.
void solve(int64_t m, const double* x, const double* s, const double* pull, double* diagonal,
           double* step) {
  double u = 0, v = 0, w = 0;
  for (int64_t i = 0; i < m; ++i) u += s[i] * s[i], v += x[i] * x[i], w += x[i] * s[i];
  double a[3][3] = {}, b[3] = {};
  for (int64_t i = 0; i < m; ++i) {
    const double f[3] = {s[i] * s[i], x[i] * x[i], x[i] * s[i]};
    diagonal[i] = f[0] * v + f[1] * u + 2 * f[2] * w + 1e-9;  // an all-dark image: then stay
    for (int r = 0; r < 3; ++r) {
      const double share = f[r] / diagonal[i];
      a[r][0] += share * f[1], a[r][1] += share * f[0], a[r][2] += 2 * share * f[2];
      b[r] += share * pull[i];
    }
  }
  for (int r = 0; r < 3; ++r) a[r][r] += 1;
  solve_3(a, b);  // b: (u, v, w)' step
  for (int64_t i = 0; i < m; ++i) {
    const double rest = s[i] * s[i] * b[1] + x[i] * x[i] * b[0] + 2 * x[i] * s[i] * b[2];
    step[i] = (pull[i] - rest) / diagonal[i];
  }
}

// theta less a step of at most 0.5, kept in [0, pi/2]. Taylor series: exact to rounding there.
NETDIFFUS_FN void turn(int64_t m, const double* x, const double* s, const double* step,
                       double* next_x, double* next_s) {
#pragma GCC ivdep
  for (int64_t i = 0; i < m; ++i) {
    const double low = step[i] < -0.5 ? -0.5 : step[i], a = low > 0.5 ? 0.5 : low, z = a * a;
    const double sine =
        a - a * z *
                (1 / 6. -
                 z * (1 / 120. -
                      z * (1 / 5040. - z * (1 / 362880. - z * (1 / 39916800. - z / 6227020800.)))));
    const double cosine =
        1 - z * (0.5 - z * (1 / 24. -
                            z * (1 / 720. -
                                 z * (1 / 40320. - z * (1 / 3628800. - z * (1 / 479001600. -
                                                                            z / 87178291200.))))));
    const double turned_x = x[i] * cosine + s[i] * sine, turned_s = s[i] * cosine - x[i] * sine;
    next_x[i] = turned_s < 0 ? 1 : turned_x < 0 ? 0 : turned_x;
    next_s[i] = turned_x < 0 ? 1 : turned_s < 0 ? 0 : turned_s;
  }
}

// Leaves x in the scratch and returns the residual.
double nearest(int64_t m, int iterations, double exact, Scratch& k) {
  const auto residual_of = [&](const Doubles& x, const Doubles& s) {
    best<sweep>(m, k.target.data(), x.data(), s.data(), k.by_x.data(), k.by_s.data(),
                k.square.data(), k.pull.data());
    const double sum = std::accumulate(k.square.begin(), k.square.end(), 0.0);
    return std::sqrt(sum / static_cast<double>(m * m));
  };
  double residual = residual_of(k.x, k.s);
  for (int step = 0; step < iterations && residual > exact; ++step) {
    solve(m, k.x.data(), k.s.data(), k.pull.data(), k.by_x.data(), k.by_s.data());
    best<turn>(m, k.x.data(), k.s.data(), k.by_s.data(), k.next_x.data(), k.next_s.data());
    const double next = residual_of(k.next_x, k.next_s);
    if (!(next < residual)) break;
    residual = next;
    k.x.swap(k.next_x);
    k.s.swap(k.next_s);
  }
  return residual;
}

}  // namespace

template <class T>
void gasf_decode(const T* image, int64_t batch, int64_t m, double gamma, int iterations,
                 double exact, double* x, double* residual, int threads) {
  threads = useful_threads(batch, batch * m * m, threads);
  for_ranges(batch, threads, [&](int, int64_t begin, int64_t end) {
    Scratch scratch(m);
    for (int64_t b = begin; b < end; ++b) {
      take_image(image + b * m * m, m, gamma, scratch);
      residual[b] = nearest(m, iterations, exact, scratch);
      if (std::isnan(residual[b]))
        std::fill_n(x + b * m, m, std::numeric_limits<double>::quiet_NaN());
      else
        std::copy_n(scratch.x.data(), m, x + b * m);
    }
  });
}

template void gasf_decode(const float*, int64_t, int64_t, double, int, double, double*, double*,
                          int);
template void gasf_decode(const double*, int64_t, int64_t, double, int, double, double*, double*,
                          int);

}  // namespace netdiffus
