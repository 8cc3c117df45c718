#include "kernels/adamw/adamw.h"

#include <ATen/ops/from_blob.h>

#include <cmath>

#include "core/transfer.h"
#include "kernels/adamw/adamw_kernel.h"
#include "kernels/common/run_kernel.h"

namespace prudent::kernels {

namespace {

// Names are put together on failure only: this runs for every parameter of every step.
std::string name_of(size_t index, const char* field) { return "parameters[" + std::to_string(index) + "]." + field; }

bool is_kernel_dtype(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
}

void check_like(const at::Tensor& tensor, size_t index, const char* field, const at::Tensor& parameter) {
  PRUDENT_CHECK(tensor.defined() && tensor.sizes() == parameter.sizes(), "E_SHAPE", name_of(index, field),
                "shape " + shape_text(parameter.sizes()), describe(tensor));
  PRUDENT_CHECK(tensor.device() == parameter.device(), "E_DEVICE", name_of(index, field), "the parameter's device",
                describe(tensor));
}

void check_state(const at::Tensor& state, size_t index, const char* field, const at::Tensor& parameter) {
  check_like(state, index, field, parameter);
  PRUDENT_CHECK(state.scalar_type() == at::kFloat, "E_DTYPE", name_of(index, field), "float32", describe(state));
  PRUDENT_CHECK(state.is_contiguous(), "E_SHAPE", name_of(index, field), "a contiguous tensor", describe(state));
}

void check_entry(const AdamwParameter& entry, size_t index) {
  PRUDENT_CHECK(entry.parameter.defined() && entry.parameter.is_contiguous(), "E_SHAPE", name_of(index, "parameter"),
                "a contiguous tensor", describe(entry.parameter));
  PRUDENT_CHECK(is_kernel_dtype(entry.parameter), "E_DTYPE", name_of(index, "parameter"), "float32 or bfloat16",
                describe(entry.parameter));
  check_like(entry.gradient, index, "gradient", entry.parameter);
  PRUDENT_CHECK(is_kernel_dtype(entry.gradient), "E_DTYPE", name_of(index, "gradient"), "float32 or bfloat16",
                describe(entry.gradient));
  check_state(entry.moment1, index, "moment1", entry.parameter);
  check_state(entry.moment2, index, "moment2", entry.parameter);
  if (entry.master.defined()) check_state(entry.master, index, "master", entry.parameter);
}

bool is_aligned(const at::Tensor& tensor) {
  return !tensor.defined() || reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 16 == 0;
}

void run(const std::vector<AdamwParameter>& parameters, const AdamwOptions& options) {
  std::vector<at::Tensor> gradients;  // contiguous copies live until the kernel is done
  std::vector<AdamwEntry> entries;
  gradients.reserve(parameters.size());
  entries.reserve(parameters.size());
  int64_t chunks = 0;
  for (const AdamwParameter& entry : parameters) {
    if (entry.parameter.numel() == 0) continue;
    gradients.push_back(entry.gradient.contiguous());
    entries.push_back({.parameter = entry.parameter.mutable_data_ptr(),
                       .gradient = gradients.back().const_data_ptr(),
                       .moment1 = entry.moment1.mutable_data_ptr<float>(),
                       .moment2 = entry.moment2.mutable_data_ptr<float>(),
                       .master = entry.master.defined() ? entry.master.mutable_data_ptr<float>() : nullptr,
                       .count = entry.parameter.numel(),
                       .first_chunk = chunks,
                       .weight_decay = static_cast<float>(entry.weight_decay),
                       .parameter_bf16 = entry.parameter.scalar_type() == at::kBFloat16,
                       .gradient_bf16 = entry.gradient.scalar_type() == at::kBFloat16,
                       .packs = is_aligned(entry.parameter) && is_aligned(gradients.back()) && is_aligned(entry.moment1) &&
                                is_aligned(entry.moment2) && is_aligned(entry.master)});
    chunks += (entry.parameter.numel() + kAdamwChunk - 1) / kAdamwChunk;
  }
  if (entries.empty()) return;
  const auto bytes = static_cast<int64_t>(entries.size() * sizeof(AdamwEntry));
  const at::Tensor device_entries =
      to_device(at::from_blob(entries.data(), {bytes}, at::kByte), parameters.front().parameter.device());
  const double step = static_cast<double>(options.step);
  const AdamwArgs args{.entries = static_cast<const AdamwEntry*>(device_entries.const_data_ptr()),
                       .entry_count = static_cast<int64_t>(entries.size()),
                       .chunk_count = chunks,
                       .lr = static_cast<float>(options.lr),
                       .beta1 = static_cast<float>(options.beta1),
                       .beta2 = static_cast<float>(options.beta2),
                       .eps = static_cast<float>(options.eps),
                       .gradient_scale = static_cast<float>(options.gradient_scale),
                       .gradient_weight1 = static_cast<float>(1.0 - options.beta1),
                       .gradient_weight2 = static_cast<float>(1.0 - options.beta2),
                       .step_size = static_cast<float>(options.lr / (1.0 - std::pow(options.beta1, step))),
                       .root_correction = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, step)))};
  PRUDENT_RUN_KERNEL(adamw_run, args, parameters.front().parameter);
  // As an ATen operation in place would: autograd and whoever else keeps something that was made of the old values can tell.
  for (const AdamwParameter& entry : parameters) entry.parameter.unsafeGetTensorImpl()->bump_version();
}

}  // namespace

void adamw(const std::vector<AdamwParameter>& parameters, const AdamwOptions& options) {
  PRUDENT_CHECK(options.step >= 1, "E_RANGE", "step", "1 or more", std::to_string(options.step));
  for (size_t i = 0; i < parameters.size(); ++i) {
    check_entry(parameters[i], i);
    check_device(parameters[i].parameter, "parameters");
    PRUDENT_CHECK(parameters[i].parameter.device() == parameters[0].parameter.device(), "E_DEVICE", name_of(i, "parameter"),
                  "all parameters on one device", describe(parameters[i].parameter));
  }
  run(parameters, options);
}

}  // namespace prudent::kernels
