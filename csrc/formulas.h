// Per-element maths, the same source for host and device.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define NETDIFFUS_FN __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define NETDIFFUS_FN inline __attribute__((always_inline))
#else
#define NETDIFFUS_FN inline
#endif

namespace netdiffus {

// 1 - sqrt(1 - x^2) without cancellation.
template <class T>
NETDIFFUS_FN T flat(T x) {
  return x * x / (1 + std::sqrt((1 - x) * (1 + x)));
}

// (cos(phi_i + phi_j) + 1) / 2 from x = cos(phi) and d = 1 - sin(phi); no term is below 0.
template <class T>
NETDIFFUS_FN T gasf_pixel(T xi, T di, T xj, T dj) {
  return T(0.5) * (xi * xj + ((di + dj) - di * dj));
}

struct Philox {
  uint32_t word[4];
};

// Philox4x32-10 (Salmon et al., SC 2011).
NETDIFFUS_FN Philox philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                           uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

NETDIFFUS_FN float bits_as_float(uint32_t bits) {
  union {
    uint32_t from;
    float to;
  } pun = {bits};
  return pun.to;
}

NETDIFFUS_FN uint32_t float_as_bits(float value) {
  union {
    float from;
    uint32_t to;
  } pun = {value};
  return pun.to;
}

// The logarithm's ingredients: u = 2^exponent k with k in [sqrt(1/2), sqrt(2)) and artanh =
// artanh((k - 1) / (k + 1)) by its series, so ln u = exponent ln 2 + 2 artanh.
struct Log {
  float exponent, artanh;
};

// For normal u > 0, artanh to about 1.5 ulp. No branch and no call, so that loops vectorise.
NETDIFFUS_FN Log log_parts(float u) {
  const uint32_t shifted = float_as_bits(u) - 0x3F3504F3;  // sqrt(1/2)
  const int32_t exponent = static_cast<int32_t>(shifted) >> 23;
  const float k = bits_as_float((shifted & 0x007FFFFF) + 0x3F3504F3);
  const float s = (k - 1) / (k + 1), z = s * s;
  const float series = z * (1 / 3.f + z * (1 / 5.f + z * (1 / 7.f + z * (1 / 9.f))));
  return {static_cast<float>(exponent), s + s * series};
}

// 2^y for y <= 0; below 2^-126 it is 0. Relative error about 1e-7. No branch and no call.
NETDIFFUS_FN float exp2_below(float y) {
  const float bounded = y > -126 ? y : -126.f;
  const int32_t whole = static_cast<int32_t>(bounded - 0.5f);  // to the nearest, as y <= 0
  const float a = 0.693147181f * (bounded - static_cast<float>(whole));
  const float exp_a =
      1 +
      a * (1 + a * (1 / 2.f + a * (1 / 6.f + a * (1 / 24.f + a * (1 / 120.f +
                                                                  a * (1 / 720.f + a / 5040.f))))));
  const float result = exp_a * bits_as_float(static_cast<uint32_t>(whole + 127) << 23);
  return static_cast<float>(y > -126) * result;  // a branch costs tenfold
}

// v^gamma for v in [0, 1] and gamma > 0. Relative error about 1e-7 (1 + |log2 v^gamma|). NaN stays.
NETDIFFUS_FN float power(float v, float gamma) {
  const Log parts = log_parts(v * 0x1p24f);  // scaled, as the parts hold for normal numbers only
  const float y = gamma * ((parts.exponent - 24) + 2.88539008f * parts.artanh);  // 2 / ln 2
  return static_cast<float>(v > 0) * exp2_below(y) + (v - v);
}

// e^v for v <= 0, 0 where that is below 2^-126. Relative error about 1e-7 (1 + |v|). NaN stays.
NETDIFFUS_FN float exponential(float v) {
  const float result = exp2_below(1.44269504f * v);
  return v == v ? result : v;
}

NETDIFFUS_FN double exponential(double v) { return std::exp(v); }

NETDIFFUS_FN double power(double v, double gamma) { return std::pow(v, gamma); }

// v^gamma, with square roots for 1/4, which the NetDiffus paper uses, and 1/2.
template <class T>
NETDIFFUS_FN T contrast(T v, T gamma) {
  if (gamma == 1) return v;
  if (gamma == T(0.25)) return std::sqrt(std::sqrt(v));
  if (gamma == T(0.5)) return std::sqrt(v);
  return power(v, gamma);
}

// For a softmax of `size` parts of its largest, each in [0, 1]: half the next power of 2. To add it
// and to take it off again leaves a multiple of it by 2^-52, and such sums are exact up to twice
// it: any order of adding gives the same.
NETDIFFUS_FN double grain_of(int64_t size) {
  double grain = 0.5;
  while (2 * grain < static_cast<double>(size)) grain *= 2;
  return grain;
}

NETDIFFUS_FN double to_grains(double part, double grain) { return (part + grain) - grain; }

struct Pair {
  float first, second;
};

// (cos, sin)(2 pi u) for u in [0, 1]: exact reduction to an eighth of a turn, then Taylor.
NETDIFFUS_FN Pair cos_sin_turns(float u) {
  const int32_t quarter = static_cast<int32_t>(4 * u + 0.5f);
  const float a = 6.28318531f * (u - 0.25f * static_cast<float>(quarter)), z = a * a;
  const float sine = a + a * z * (-1 / 6.f + z * (1 / 120.f + z * (-1 / 5040.f + z / 362880.f)));
  const float cosine =
      1 + z * (-0.5f + z * (1 / 24.f + z * (-1 / 720.f + z * (1 / 40320.f - z / 3628800.f))));
  const bool odd = quarter & 1;
  const uint32_t flip_cosine = static_cast<uint32_t>((quarter + 1) & 2) << 30;
  const uint32_t flip_sine = static_cast<uint32_t>(quarter & 2) << 30;
  return {bits_as_float(float_as_bits(odd ? sine : cosine) ^ flip_cosine),
          bits_as_float(float_as_bits(odd ? cosine : sine) ^ flip_sine)};
}

// Two independent standard normals from two random words (Box and Muller, 1958).
NETDIFFUS_FN Pair box_muller(uint32_t bits_1, uint32_t bits_2) {
  const float u1 = (static_cast<float>(bits_1) + 0.5f) * 0x1p-32f;
  const float u2 = static_cast<float>(bits_2) * 0x1p-32f;
  const Log parts = log_parts(u1);
  const float log = 0.693147181f * parts.exponent + 2 * parts.artanh;
  const float radius = std::sqrt(-2 * log);
  const Pair turn = cos_sin_turns(u2);
  return {radius * turn.first, radius * turn.second};
}

}  // namespace netdiffus
