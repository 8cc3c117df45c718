#include "measure.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#ifdef PRUDENT_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

#include <algorithm>
#include <chrono>
#include <cmath>

namespace prudent::bench {

namespace {

using Clock = std::chrono::steady_clock;

void await(const at::Device& device) {
#ifdef PRUDENT_CUDA
  if (device.is_cuda()) c10::cuda::device_synchronize();
#endif
}

double seconds_of(const std::function<void()>& body, const at::Device& device, int64_t calls) {
  await(device);
  const Clock::time_point start = Clock::now();
  for (int64_t call = 0; call < calls; ++call) body();
  await(device);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

double seconds_per_call(const std::function<void()>& body, const at::Device& device, double least_seconds) {
  int64_t calls = 1;
  double seconds = seconds_of(body, device, calls);
  while (seconds < least_seconds) {
    const double wanted = 1.2 * static_cast<double>(calls) * least_seconds / std::max(seconds, 1e-7);
    calls = std::max(calls + 1, static_cast<int64_t>(std::ceil(std::min(wanted, 100.0 * static_cast<double>(calls)))));
    seconds = seconds_of(body, device, calls);
  }
  return seconds / static_cast<double>(calls);
}

double copy_seconds(double bytes, const at::Device& device, double least_seconds) {
  const int64_t count = std::max<int64_t>(1, static_cast<int64_t>(bytes / 2 / sizeof(float)));
  const at::Tensor from = at::ones({count}, at::TensorOptions().device(device)), to = at::empty_like(from);
  to.copy_(from);  // the first touch of the pages is not the copy's
  return seconds_per_call([&] { to.copy_(from); }, device, least_seconds);
}

}  // namespace prudent::bench
