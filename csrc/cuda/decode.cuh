// The body of the kernel that finds the series whose GASF image is nearest to an image.
#pragma once

#include "cuda/warp.cuh"

namespace netdiffus {

constexpr int kDecodeSize = 1024;  // the largest image side: its vectors stay in shared memory

struct DecodeShared {
  float x[kDecodeSize], s[kDecodeSize];  // cos(theta), sin(theta)
  float pull[kDecodeSize];               // half the slope of the squared error, at theta
  float mirror[kLanes][kLanes + 1], columns[kWarps][kLanes], partial[kWarps][9];
};

NETDIFFUS_FN float unit(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

// p^undo for undo = 1 / gamma; 4 and 2 undo the square roots of contrast().
NETDIFFUS_FN float without_gamma(float p, float undo) {
  if (undo == 1) return p;
  if (undo == 4) return p * p * (p * p);
  if (undo == 2) return p * p;
  return power(p, undo);
}

// Each value's sum over the block, in every thread, always added in the same order.
template <int K>
__device__ inline void block_sum(float (&values)[K], float (*partial)[9]) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const float sum = warp_sum(values[k]);
    if (threadIdx.x % kLanes == 0) partial[threadIdx.x / kLanes][k] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < K; ++k) {
    values[k] = 0;
    for (int warp = 0; warp < kWarps; ++warp) values[k] += partial[warp][k];
  }
  __syncthreads();
}

// The root mean square distance between the image and the GASF image of theta; fills `pull`. Tiles
// come in pairs, as the image is made symmetric: (i, j) with (j, i).
template <class T>
__device__ inline float distance(const T* image, int m, float undo, DecodeShared& k) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  float squares[1] = {0};
  for (int i = threadIdx.x; i < m; i += kThreads) k.pull[i] = 0;
  for (int top = 0; top < m; top += kLanes) {
    for (int left = top; left < m; left += kLanes) {
      const int j = left + lane;
      for (int row = warp; row < kLanes; row += kWarps)
        if (left + row < m && top + lane < m)
          k.mirror[row][lane] = wide(image[(left + row) * m + top + lane]);
      __syncthreads();
      float column = 0;
#pragma unroll 1
      for (int row = warp; row < kLanes; row += kWarps) {
        const int i = top + row;
        float force = 0;
        if (i < m && j < m) {
          const float pixel = unit(wide(image[i * m + j])), twin = unit(k.mirror[lane][row]);
          const float wanted = without_gamma(0.5f * (pixel + twin), undo);
          const float error = wanted - (0.5f + 0.5f * (k.x[i] * k.x[j] - k.s[i] * k.s[j]));
          force = 2 * error * (k.s[i] * k.x[j] + k.x[i] * k.s[j]);
          squares[0] += (top == left ? 1 : 2) * (error * error);
          column += force;
        }
        force = warp_sum(force);
        if (lane == 0 && i < m) k.pull[i] += force;
      }
      k.columns[warp][lane] = column;
      __syncthreads();
      if (warp == 0 && top != left && j < m)
        for (int other = 0; other < kWarps; ++other) k.pull[j] += k.columns[other][lane];
    }
  }
  block_sum(squares, k.partial);
  return std::sqrt(squares[0] / (static_cast<float>(m) * static_cast<float>(m)));
}

// theta - step, where 0 and pi/2 end it: (x, s) turned by at most half a radian.
NETDIFFUS_FN void turn(float step, float& x, float& s) {
  step = step < -0.5f ? -0.5f : step > 0.5f ? 0.5f : step;
  const float z = step * step;
  const float sine = step * (1 + z * (-1 / 6.f + z * (1 / 120.f - z / 5040.f)));
  const float cosine = 1 + z * (-0.5f + z * (1 / 24.f + z * (-1 / 720.f + z / 40320.f)));
  const float across = x * cosine + s * sine, up = s * cosine - x * sine;
  const float length = std::sqrt(across * across + up * up);  // rounding moves it from 1
  x = up < 0 ? 1 : across < 0 ? 0 : across / length;
  s = up < 0 ? 0 : across < 0 ? 1 : up / length;
}

// A Gauss-Newton step. Its matrix is S + diag(S 1) with S_ij = sin(theta_i + theta_j)^2, which is
// u v' + v u' + 2 w w' for u = s^2, v = x^2, w = s x: Woodbury's identity solves it in O(m).
__device__ inline void gauss_newton(int m, DecodeShared& k) {
  float sums[3] = {0, 0, 0};  // of u, v, w
#pragma unroll 1
  for (int i = threadIdx.x; i < m; i += kThreads) {
    sums[0] += k.s[i] * k.s[i];
    sums[1] += k.x[i] * k.x[i];
    sums[2] += k.s[i] * k.x[i];
  }
  block_sum(sums, k.partial);
  // An all-dark image fixes nothing; then 1e-9 lets theta stay.
  const auto inverse = [&](float u, float v, float w) {
    return 1 / ((u * sums[1] + v * sums[0]) + (2 * w * sums[2] + 1e-9f));
  };
  float dots[9] = {};  // uu, uv, uw, vv, vw, ww, and u, v, w with the pull
#pragma unroll 1
  for (int i = threadIdx.x; i < m; i += kThreads) {
    const float u = k.s[i] * k.s[i], v = k.x[i] * k.x[i], w = k.s[i] * k.x[i];
    const float r = inverse(u, v, w), pull = k.pull[i];
    dots[0] += u * u * r;
    dots[1] += u * v * r;
    dots[2] += u * w * r;
    dots[3] += v * v * r;
    dots[4] += v * w * r;
    dots[5] += w * w * r;
    dots[6] += u * pull * r;
    dots[7] += v * pull * r;
    dots[8] += w * pull * r;
  }
  block_sum(dots, k.partial);
  // The three unknowns that couple all thetas, by Cramer's rule: the determinant is in [-4, 0].
  const float a = dots[0], b = 1 + dots[1], c = dots[2], d = dots[3], e = dots[4];
  const float f = 0.5f + dots[5];
  const float df = d * f - e * e, cf = c * e - b * f, be = b * e - c * d;
  const float af = a * f - c * c, bc = b * c - a * e, ad = a * d - b * b;
  const float determinant = a * df + (b * cf + c * be);
  const float yu = (df * dots[6] + cf * dots[7] + be * dots[8]) / determinant;
  const float yv = (cf * dots[6] + af * dots[7] + bc * dots[8]) / determinant;
  const float yw = (be * dots[6] + bc * dots[7] + ad * dots[8]) / determinant;
#pragma unroll 1
  for (int i = threadIdx.x; i < m; i += kThreads) {
    const float u = k.s[i] * k.s[i], v = k.x[i] * k.x[i], w = k.s[i] * k.x[i];
    const float rest = k.pull[i] - (u * yu + v * yv + w * yw);
    turn(rest * inverse(u, v, w), k.x[i], k.s[i]);
  }
  __syncthreads();
}

// A block decodes an image.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    gasf_decode_kernel(const T* image, int m, float undo, int iterations, float exact, double* x,
                       double* residual) {
  __shared__ DecodeShared shared;
  image += int64_t{blockIdx.x} * (m * m);
  x += int64_t{blockIdx.x} * m;
  for (int i = threadIdx.x; i < m; i += kThreads) {
    const float seen = without_gamma(unit(wide(image[i * m + i])), undo);
    shared.x[i] = std::sqrt(seen);
    shared.s[i] = std::sqrt(1 - seen);
  }
  __syncthreads();
  float best = distance(image, m, undo, shared);
  for (int i = threadIdx.x; i < m; i += kThreads) x[i] = shared.x[i] + (best - best);  // or NaN
  for (int k = 0; k < iterations && best > exact; ++k) {
    gauss_newton(m, shared);
    const float found = distance(image, m, undo, shared);
    if (!(found < best)) break;
    best = found;
    for (int i = threadIdx.x; i < m; i += kThreads) x[i] = shared.x[i];
  }
  if (threadIdx.x == 0) residual[blockIdx.x] = best;
}

}  // namespace netdiffus
