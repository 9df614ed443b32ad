// Launches an update over a batch of images, with noise of the asked kind.
#pragma once

#include "cuda/launch.h"
#include "cuda/noise.cuh"

namespace netdiffus {

template <class T, class Update>
int with_noise(Draw draw, Planes shape, bool aligned, Update update, void* stream) {
  const int64_t count = shape.planes * shape.rows * shape.columns;
  if (!shape.symmetric) {
    const bool whole = aligned && (count % kGroup<T> == 0 || shape.batch == 1);
    const int64_t blocks = shape.batch * pieces(count, kGroup<T> * kThreads);
    return launch(each_kernel<T, true, Update>, blocks, stream, draw, count, whole, update);
  }
  const int m = static_cast<int>(shape.rows), planes = static_cast<int>(shape.planes);
  const int64_t across = pieces(m, kTile), pairs = across * (across + 1) / 2;
  const bool whole = aligned && m % kGroup<T> == 0;
  return launch(mirrored_kernel<T, Update>, shape.batch * planes * pairs, stream, draw, planes, m,
                whole, update);
}

template <class T, class Update>
int without_noise(int64_t count, bool aligned, Update update, void* stream) {
  return launch(each_kernel<T, false, Update>, pieces(count, kGroup<T> * kThreads), stream, Draw{},
                count, aligned, update);
}

}  // namespace netdiffus
