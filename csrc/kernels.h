// Every native entry point. Arrays are dense and row-major; the caller checks and allocates.
#pragma once

#include <cstdint>

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

// qkv (batch, 3, heads, width), of the point at `place` -> out (batch, heads, width): its query's
// mean of the values up to there, weighed by the exponentials of its products with the keys over
// sqrt(width). Its key and value are written into keys and values (batch, heads, length, width)
// first.
template <class T>
void cached_attention(const T* qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                      int64_t place, T* keys, T* values, T* out, int threads);

// logits (batch, size), uniforms (batch) in [0, 1) -> tokens (batch): the first whose cumulative
// softmax is larger than the uniform number. A row without a softmax, or with a number that is not
// in [0, 1), gives -1.
template <class T>
void draw_tokens(const T* logits, const double* uniforms, int64_t batch, int64_t size,
                 int64_t* tokens, int threads);

// out (batch, count): uniform numbers of the draws from `draw.step` on.
void uniforms(Draw draw, int64_t batch, int64_t count, double* out, int threads);

// The same, spread evenly over the ranks of a family; families, ranks (batch).
void spread_uniforms(Draw draw, const int64_t* family, const int64_t* rank, int64_t batch,
                     int64_t count, double* out, int threads);

// A linear map of rows: [gelu](norm(x) weight' + bias) [+ added]. What may be missing is null: the
// bias, the scale and shift of the norm (then there is none), what is added.
struct Linear {
  const float *weight, *bias, *norm_scale, *norm_shift;  // weight (outputs, inputs)
  int64_t inputs, outputs;
  float epsilon;  // of the norm
  bool gelu;
};

// x (rows, inputs), added (rows, outputs) -> out (rows, outputs).
void linear(const Linear& map, const float* x, const float* added, int64_t rows, float* out,
            int threads);

// The same on device pointers, with T float, __half or __nv_bfloat16: they queue on the stream and
// return a cudaError_t. gasf_decode takes m of at most 1024, cached_attention a place below 512.
template <class T>
int gasf_cuda(const T* x, int64_t batch, int64_t n, T* field, void* stream);
template <class T>
int gasf_image_cuda(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                    void* stream);
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
int cached_attention_cuda(const T* qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                          int64_t place, T* keys, T* values, T* out, void* stream);
template <class T>
int draw_tokens_cuda(const T* logits, const double* uniforms, int64_t batch, int64_t size,
                     int64_t* tokens, void* stream);

// What that cudaError_t means.
const char* cuda_error(int code);

}  // namespace netdiffus
