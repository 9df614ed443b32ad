// A linear map of many rows with what stands before and behind it: the norm of the rows, GELU, and
// what is added. Compiled with contraction to fused multiply-add, which doubles its speed; each
// output is one sum over the inputs in their order, so a row does not depend on the others.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/lanes.h"
#include "cpu/loops.h"
#include "cpu/transpose.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

constexpr int64_t kPanel = 16;         // outputs that are summed at a time
constexpr int64_t kTile = 6;           // rows likewise: with AVX2 the sums fill twelve registers
constexpr int64_t kBlock = 8 * kTile;  // rows that stay in the first cache beside a panel

typedef float Half __attribute__((vector_size(kPanel / 2 * sizeof(float))));

// e^(-z^2) by its exponent, and erfc's other factor by Abramowitz and Stegun (1964), 7.1.26: erf to
// 1.5e-7.
NETDIFFUS_FN float error_function(float z) {
  const float size = std::fabs(z), t = 1 / (1 + 0.3275911f * size);
  const float series =
      t * (0.254829592f +
           t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  return std::copysign(1 - series * exponential(-size * size), z);
}

NETDIFFUS_FN float gelu(float v) { return 0.5f * v * (1 + error_function(0.707106781f * v)); }

// Rows (rows, inputs) to (rows, inputs): less their mean, over their deviation, scaled and moved.
NETDIFFUS_FN void normalise_body(const Linear* map, const float* x, int64_t rows, float* out) {
  const int64_t inputs = map->inputs;
  for (int64_t r = 0; r < rows; ++r, x += inputs, out += inputs) {
    const float mean = total(x, inputs) / static_cast<float>(inputs);
#pragma GCC ivdep
    for (int64_t j = 0; j < inputs; ++j) out[j] = (x[j] - mean) * (x[j] - mean);
    const float variance = total(out, inputs) / static_cast<float>(inputs);
    const float scale = 1 / std::sqrt(variance + map->epsilon);
#pragma GCC ivdep
    for (int64_t j = 0; j < inputs; ++j)
      out[j] = (x[j] - mean) * scale * map->norm_scale[j] + map->norm_shift[j];
  }
}

// sums (kTile, kPanel) = rows of x times a panel (inputs, kPanel); row r is at x[r].
NETDIFFUS_FN void multiply(const float* const* x, const float* panel, int64_t inputs, float* sums) {
  Half low[kTile] = {}, high[kTile] = {}, left, right;
  for (int64_t j = 0; j < inputs; ++j) {
    std::memcpy(&left, panel + j * kPanel, sizeof(Half));
    std::memcpy(&right, panel + j * kPanel + kPanel / 2, sizeof(Half));
#pragma GCC unroll 6
    for (int64_t r = 0; r < kTile; ++r) {
      low[r] += left * x[r][j];
      high[r] += right * x[r][j];
    }
  }
  for (int64_t r = 0; r < kTile; ++r) {
    std::memcpy(sums + r * kPanel, &low[r], sizeof(Half));
    std::memcpy(sums + r * kPanel + kPanel / 2, &high[r], sizeof(Half));
  }
}

// out = [gelu](sums + bias) [+ added] of a row, for `count` outputs of a panel.
NETDIFFUS_FN void finish_row(const float* sums, const float* bias, bool has_gelu,
                             const float* added, int64_t count, float* out) {
  float value[kPanel];
  for (int64_t c = 0; c < kPanel; ++c) value[c] = sums[c] + bias[c];
  if (has_gelu)
#pragma GCC ivdep
    for (int64_t c = 0; c < kPanel; ++c) value[c] = gelu(value[c]);
  if (added)
    for (int64_t c = 0; c < count; ++c) value[c] += added[c];
  for (int64_t c = 0; c < count; ++c) out[c] = value[c];
}

// The same for a tile of rows, `step` apart.
NETDIFFUS_FN void finish(const float* sums, const float* bias, bool has_gelu, const float* added,
                         int64_t rows, int64_t count, int64_t step, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* more = added ? added + r * step : nullptr;
    if (count == kPanel)  // a number that the compiler knows
      finish_row(sums + r * kPanel, bias, has_gelu, more, kPanel, out + r * step);
    else
      finish_row(sums + r * kPanel, bias, has_gelu, more, count, out + r * step);
  }
}

// A block of rows, already normalised, by all panels.
NETDIFFUS_FN void block_body(const Linear* map, const float* panels, const float* x,
                             const float* added, int64_t rows, float* out) {
  const int64_t inputs = map->inputs, outputs = map->outputs;
  for (int64_t first = 0; first < outputs; first += kPanel, panels += (inputs + 1) * kPanel)
    for (int64_t top = 0; top < rows; top += kTile) {
      const float* row[kTile];
      for (int64_t r = 0; r < kTile; ++r) row[r] = x + std::min(top + r, rows - 1) * inputs;
      float sums[kTile * kPanel];
      multiply(row, panels, inputs, sums);
      const int64_t corner = top * outputs + first;
      finish(sums, panels + inputs * kPanel, map->gelu, added ? added + corner : nullptr,
             std::min(kTile, rows - top), std::min(kPanel, outputs - first), outputs, out + corner);
    }
}

// For every kPanel outputs their weights, (inputs, kPanel), then their biases; 0 behind the last.
NETDIFFUS_FN void panels_body(const Linear* map, float* panels) {
  const int64_t inputs = map->inputs, step = (inputs + 1) * kPanel;
  for (int64_t first = 0; first < map->outputs; first += kSquare) {
    const int64_t rows = std::min(kSquare, map->outputs - first);
    float* panel = panels + first / kPanel * step + first % kPanel;
    for (int64_t j = 0; j < inputs; j += kSquare) {
      const float* corner = map->weight + first * inputs + j;
      const int64_t columns = std::min(kSquare, inputs - j);
      if (rows == kSquare && columns == kSquare)
        transpose(corner, inputs, panel + j * kPanel, kPanel);
      else
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < columns; ++c)
            panel[(j + c) * kPanel + r] = corner[r * inputs + c];
    }
    if (map->bias) std::copy_n(map->bias + first, rows, panel + inputs * kPanel);
  }
}

std::vector<float> panels_of(const Linear& map) {
  const int64_t count = (map.outputs + kPanel - 1) / kPanel;
  std::vector<float> panels(count * (map.inputs + 1) * kPanel);
  best<panels_body>(&map, panels.data());
  return panels;
}

}  // namespace

void linear(const Linear& map, const float* x, const float* added, int64_t rows, float* out,
            int threads) {
  const std::vector<float> panels = panels_of(map);
  threads = useful_threads((rows + kBlock - 1) / kBlock, rows * map.outputs, threads);
  for_ranges(rows, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<float> normal(map.norm_scale ? kBlock * map.inputs : 0);
    for (int64_t top = begin; top < end; top += kBlock) {
      const int64_t count = std::min(kBlock, end - top);
      const float* block = x + top * map.inputs;
      if (map.norm_scale) {
        best<normalise_body>(&map, block, count, normal.data());
        block = normal.data();
      }
      best<block_body>(&map, panels.data(), block, added ? added + top * map.outputs : nullptr,
                       count, out + top * map.outputs);
    }
  });
}

}  // namespace netdiffus
