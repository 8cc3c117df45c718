// The one worker template: arguments -> job on a strand -> promise.
#pragma once

#include <napi.h>

#include <memory>
#include <type_traits>
#include <utility>

#include "binding/environment.h"
#include "core/job.h"

namespace prudent::binding {

// compute(const Job&) -> R runs on a lane; convert(Napi::Env, R&) -> Napi::Value on the environment's thread. Neither may hold
// JavaScript values. A void compute resolves to undefined and takes no convert.
template <typename Compute, typename Convert_ = std::nullptr_t>
Napi::Value submit(Napi::Env env, const CallTarget& target, const Napi::Value& call, Compute compute,
                   Convert_ convert = nullptr) {
  using Result = std::invoke_result_t<Compute&, const Job&>;
  auto shared = std::make_shared<Compute>(std::move(compute));  // std::function copies, the inputs must not be
  Work work = [shared, convert = std::move(convert)](const Job& job) -> Convert {
    if constexpr (std::is_void_v<Result>) {
      (*shared)(job);
      return [](Napi::Env settled) { return settled.Undefined(); };
    } else {
      auto result = std::make_shared<Result>((*shared)(job));
      return [result, convert](Napi::Env settled) -> Napi::Value { return convert(settled, *result); };
    }
  };
  shared.reset();
  return Environment::of(env).start(target, call, std::move(work));
}

// Strand of a handle whose data live on `device`: on CUDA it has a thread and a stream of its own.
inline std::shared_ptr<Strand> make_strand(at::Device device) {
  if (device.is_cpu()) return std::make_shared<Strand>(Executor::cpu());
  return std::make_shared<Strand>(std::make_shared<Executor>(ExecutorShape{1, 1}), device);
}

// A call that belongs to no handle has a strand to itself.
inline CallTarget free_target(at::Device device = at::kCPU) { return {make_strand(device), nullptr}; }

}  // namespace prudent::binding
