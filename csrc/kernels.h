// Every native entry point. Arrays are dense and row-major; the caller checks and allocates.
#pragma once

#include <cstdint>
#include <vector>

namespace netdiffus {

// Whose noise: Philox key, trace numbers (batch), step.
struct Draw {
  uint64_t seed;
  const int64_t* index;
  uint32_t step;
};

// The images of a batch of traces: planes (channels, or 1) of rows x columns each. Symmetric noise
// needs rows == columns: eps_ij = w_ij for i < j and eps_ii = sqrt(2) w_ii, of the white draw w.
struct Planes {
  int64_t batch, planes, rows, columns;
  bool symmetric;
};

// What the network learns to give.
enum class Target { eps, v, x0 };

// x0 = clip(a xt + b out, -1, 1); x_next = c xt + d x0 + e x0_prev + sigma noise. Where e or sigma
// is 0, x0_prev or index is not read.
struct Coefficients {
  double a, b, c, d, e, sigma;
};

// x (batch, n) in [-1, 1] -> field (batch, n, n): cosines of angle sums.
template <class T>
void gasf(const T* x, int64_t batch, int64_t n, T* field, int threads);

// x (batch, n) in [0, 1] -> image (batch, m, m) in [0, 1]: GASF, resized by area, to the power
// gamma.
template <class T>
void gasf_image(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                int threads);

// image (batch, h, w) -> resized (batch, h2, w2): means over areas, as OpenCV's INTER_AREA.
template <class T>
void area_resize(const T* image, int64_t batch, int64_t h, int64_t w, int64_t h2, int64_t w2,
                 T* resized, int threads);

// Standard normal noise, by Philox(counter=(element / 4, step, index)).
template <class T>
void normal(Draw draw, Planes shape, T* noise, int threads);

// signal, sigma (batch) -> xt = signal x0 + sigma eps, and goal: eps, or signal eps - sigma x0 for
// v; for x0 it is not written.
template <class T>
void q_sample(const T* x0, const T* signal, const T* sigma, Draw draw, Planes shape, Target target,
              T* xt, T* goal, int threads);

// One reverse step. x_next may be xt, and x0 x0_prev.
template <class T>
void denoise_step(Coefficients k, const T* xt, const T* out, const T* x0_prev, Draw draw,
                  Planes shape, T* x_next, T* x0, int threads);

// image (batch, m, m) in [0, 1] -> x (batch, m), the series of the nearest GASF image, and residual
// (batch), the root mean square distance to that. A distance up to `exact` ends the search.
template <class T>
void gasf_decode(const T* image, int64_t batch, int64_t m, double gamma, int iterations,
                 double exact, double* x, double* residual, int threads);

// s (batch, length, width) -> out: rows of mean 0 and variance 1, times 1 + scale, plus shift
// (batch, width); then, with taps (5, width), plus bias (width) and the rows near, by their taps.
template <class T>
void modulate(const T* s, const T* scale, const T* shift, const T* taps, const T* bias,
              int64_t batch, int64_t length, int64_t width, T* out, int threads);

// From out's gradient g, those of s, scale, shift and, for each trace on its own, taps and bias
// (batch, 6, width), which come in as zeros, scale's and shift's too.
template <class T>
void modulate_backward(const T* s, const T* scale, const T* shift, const T* taps, const T* g,
                       int64_t batch, int64_t length, int64_t width, T* gs, T* gscale, T* gshift,
                       T* gtaps, int threads);

// What is known of points before the network looks: counted (batch, points, levels), border, edge,
// slope and curve (batch, points, channels), variance (batch), spans (levels, 3), cosines (levels,
// 16). The levels of all channels stand in a row, `sizes` of them to each.
template <class T>
struct LevelInput {
  const T *counted, *border, *edge, *variance, *slope, *curve, *spans, *cosines;
  int64_t batch, points;
};

// chances (batch, points, levels), logarithms, and features (batch, points, channels + levels + 16
// channels): border, four times the roots of the chances, sums of cosines by chance.
template <class T>
void level_chances(const LevelInput<T>& in, const std::vector<int64_t>& sizes, T* chances,
                   T* features, int threads);

// chances, told (batch, points, levels) -> means (3, batch, points, channels) of cosine, sine and
// square of the likeliest value of each level, given edge and variance.
template <class T>
void level_means(const T* chances, const T* told, const T* edge, const T* variance, const T* spans,
                 int64_t batch, int64_t points, const std::vector<int64_t>& sizes, double gamma,
                 T* means, int threads);

// own (batch, points, channels), which levels are right -> lost, minus the logarithm of their
// chance; and from its gradient g that of told.
template <class T>
void level_loss(const T* chances, const T* told, const int64_t* own, int64_t batch, int64_t points,
                const std::vector<int64_t>& sizes, T* lost, int threads);
template <class T>
void level_loss_backward(const T* chances, const T* told, const int64_t* own, const T* g,
                         int64_t batch, int64_t points, const std::vector<int64_t>& sizes, T* found,
                         int threads);

// apart (batch, size), noise (batch), group (batch), variances (groups, size), vectors (groups,
// size, size), eigenvectors as columns -> found (4, batch, size): with S the covariance of the
// group and K the inverse of S + noise, K apart and the diagonals of K, S K and S.
template <class T>
void precision(const T* apart, const T* noise, const int64_t* group, const T* variances,
               const T* vectors, int64_t batch, int64_t size, T* found, int threads);

// qkv (batch, length, 3, heads, width) -> out (batch, length, heads, width): each query's mean of
// the values, weighed by the exponentials of its products with the keys over sqrt(width).
template <class T>
void attention(const T* qkv, int64_t batch, int64_t length, int64_t heads, int64_t width, T* out,
               int threads);

// The same on device pointers, but for attention, with T float, __half or __nv_bfloat16: they queue
// on the stream and return a cudaError_t. gasf_decode takes m of at most 1024, precision a size of
// at most 1024.
template <class T>
int gasf_cuda(const T* x, int64_t batch, int64_t n, T* field, void* stream);
template <class T>
int gasf_image_cuda(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                    void* stream);
template <class T>
int area_resize_cuda(const T* image, int64_t batch, int64_t h, int64_t w, int64_t h2, int64_t w2,
                     T* resized, void* stream);
template <class T>
int gasf_decode_cuda(const T* image, int64_t batch, int64_t m, double gamma, int iterations,
                     double exact, double* x, double* residual, void* stream);
template <class T>
int normal_cuda(Draw draw, Planes shape, T* noise, void* stream);
template <class T>
int q_sample_cuda(const T* x0, const T* signal, const T* sigma, Draw draw, Planes shape,
                  Target target, T* xt, T* goal, void* stream);
template <class T>
int denoise_step_cuda(Coefficients k, const T* xt, const T* out, const T* x0_prev, Draw draw,
                      Planes shape, T* x_next, T* x0, void* stream);
template <class T>
int modulate_cuda(const T* s, const T* scale, const T* shift, const T* taps, const T* bias,
                  int64_t batch, int64_t length, int64_t width, T* out, void* stream);

// Here gradients of scale, shift (batch, strips, width), taps and bias (batch, strips, 6, width)
// come for each strip of 32 rows on its own, and need not come in as zeros.
template <class T>
int modulate_backward_cuda(const T* s, const T* scale, const T* shift, const T* taps, const T* g,
                           int64_t batch, int64_t length, int64_t width, T* gs, float* gscale,
                           float* gshift, float* gtaps, void* stream);

// These launch a kernel for each channel. An own level of another channel gives NaN.
template <class T>
int level_chances_cuda(const LevelInput<T>& in, const std::vector<int64_t>& sizes, T* chances,
                       T* features, void* stream);
template <class T>
int level_means_cuda(const T* chances, const T* told, const T* edge, const T* variance,
                     const T* spans, int64_t batch, int64_t points,
                     const std::vector<int64_t>& sizes, double gamma, T* means, void* stream);
template <class T>
int level_loss_cuda(const T* chances, const T* told, const int64_t* own, int64_t batch,
                    int64_t points, const std::vector<int64_t>& sizes, T* lost, void* stream);
template <class T>
int level_loss_backward_cuda(const T* chances, const T* told, const int64_t* own, const T* g,
                             int64_t batch, int64_t points, const std::vector<int64_t>& sizes,
                             T* found, void* stream);

// A group that is none of `groups` gives NaN.
template <class T>
int precision_cuda(const T* apart, const T* noise, const int64_t* group, const T* variances,
                   const T* vectors, int64_t groups, int64_t batch, int64_t size, T* found,
                   void* stream);

// What that cudaError_t means.
const char* cuda_error(int code);

}  // namespace netdiffus
