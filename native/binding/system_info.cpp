#include "binding/system_info.h"

#include <ATen/Version.h>
#ifdef PRUDENT_CUDA
#include <cuda_runtime.h>
#endif

#include <string>

#include "binding/arguments.h"
#include "binding/error_info.h"
#include "binding/executor.h"
#include "core/cpu.h"
#include "core/determinism.h"

namespace prudent::binding {
namespace {

// The version of the libtorch that is loaded, from its own description of itself.
std::string loaded_libtorch() {
  const std::string config = at::show_config();
  const std::string key = "TORCH_VERSION=";
  const size_t start = config.find(key);
  if (start == std::string::npos) return "unknown";
  return config.substr(start + key.size(), config.find_first_of(", \n", start) - start - key.size());
}

#ifdef PRUDENT_CUDA
Napi::Object cuda_info(Napi::Env env) {
  Napi::Array devices = Napi::Array::New(env);
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) count = 0;  // no driver
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    Napi::Object device = Napi::Object::New(env);
    device.Set("index", index);
    device.Set("name", properties.name);
    device.Set("memoryBytes", static_cast<double>(properties.totalGlobalMem));
    device.Set("capability", std::to_string(properties.major) + "." + std::to_string(properties.minor));
    devices.Set(devices.Length(), device);
  }
  Napi::Object cuda = Napi::Object::New(env);
  cuda.Set("built", true);
  cuda.Set("devices", devices);
  return cuda;
}
#else
Napi::Object cuda_info(Napi::Env env) {
  Napi::Object cuda = Napi::Object::New(env);
  cuda.Set("built", false);
  cuda.Set("devices", Napi::Array::New(env));
  return cuda;
}
#endif

}  // namespace

Napi::Value system_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CpuInfo& found = cpu_info();
  Napi::Object cpu = Napi::Object::New(env);
  cpu.Set("capability", capability_name(found.capability));
  cpu.Set("bf16", found.bf16);
  cpu.Set("model", found.model);
  cpu.Set("cores", found.cores);

  const ExecutorShape shape = Executor::cpu()->shape();
  Napi::Object threads = Napi::Object::New(env);
  threads.Set("lanes", shape.lanes);
  threads.Set("threadsPerLane", shape.threads_per_lane);

  Napi::Object distributed = Napi::Object::New(env);
  distributed.Set("gloo", true);  // every libtorch for Linux holds it
  distributed.Set("nccl", false);

  Napi::Object result = Napi::Object::New(env);
  result.Set("prudent", PRUDENT_VERSION);
  result.Set("libtorch", loaded_libtorch());
  result.Set("libtorchBuilt", PRUDENT_LIBTORCH_VERSION);
  result.Set("napi", NAPI_VERSION);
  result.Set("cpu", cpu);
  result.Set("threads", threads);
  result.Set("cuda", cuda_info(env));
  result.Set("deterministic", deterministic());
  result.Set("distributed", distributed);
  return result;
}

Napi::Value configure_executor(const Napi::CallbackInfo& info) {
  return thrown(info.Env(), [&] {
    Options options(info[0], "options");
    const auto lanes = static_cast<int>(options.integer("lanes", std::nullopt, 1, 1024));
    const auto threads = static_cast<int>(options.integer("threadsPerLane", std::nullopt, 1, 1024));
    const bool exact = options.flag("deterministic", deterministic());
    options.finish();
    Executor::cpu()->configure({lanes, threads});
    set_deterministic(exact);
    return info.Env().Undefined();
  });
}

}  // namespace prudent::binding
