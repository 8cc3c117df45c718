// The optimiser's state as a safetensors file: read back it continues bit by bit where it was written.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <charconv>
#include <filesystem>

#include "core/error.h"
#include "core/safetensors.h"
#include "training/optimizer.h"

namespace prudent::training {
namespace {

constexpr const char* kFormat = "prudent-trainer-1";

int64_t parse_step(const SafetensorsFile& file) {
  const auto format = file.metadata().find("format");
  PRUDENT_CHECK(format != file.metadata().end() && format->second == kFormat, "E_CORRUPT_FILE", file.path(),
                std::string("a trainer state (format ") + kFormat + ")",
                format == file.metadata().end() ? "no format" : format->second);
  const auto entry = file.metadata().find("step");
  const std::string text = entry == file.metadata().end() ? "" : entry->second;
  int64_t step = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  PRUDENT_CHECK(error == std::errc() && end == text.data() + text.size() && step >= 0, "E_CORRUPT_FILE", file.path(),
                "a step count in the metadata", '"' + text + '"');
  return step;
}

std::string describe(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

at::Tensor checked_tensor(const SafetensorsFile& file, const std::string& name, const at::Tensor& like) {
  PRUDENT_CHECK(file.contains(name), "E_MISSING_TENSOR", file.path(), "tensor " + name, "a state of other parameters");
  const at::Tensor tensor = file.tensor(name);
  PRUDENT_CHECK(tensor.sizes() == like.sizes(), "E_SHAPE", file.path() + ": " + name, describe(like.sizes()),
                describe(tensor.sizes()));
  PRUDENT_CHECK(tensor.scalar_type() == like.scalar_type(), "E_DTYPE", file.path() + ": " + name, toString(like.scalar_type()),
                toString(tensor.scalar_type()));
  return tensor;
}

}  // namespace

models::NamedTensors Optimizer::state_tensors(const models::NamedTensors& extra) const {
  models::NamedTensors tensors;
  for (const Slot& slot : slots_) {
    if (!slot.owned) continue;
    tensors.emplace_back(slot.name + ".moment1", slot.state.moment1);
    tensors.emplace_back(slot.name + ".moment2", slot.state.moment2);
    if (slot.state.master.defined()) tensors.emplace_back(slot.name + ".master", slot.state.master);
  }
  for (const auto& [name, tensor] : extra) tensors.emplace_back(name, tensor.detach());
  return tensors;
}

void Optimizer::save(const std::string& file, const models::NamedTensors& extra) const {
  if (is_sharded()) return save_shards(file, extra);
  write_safetensors(file, state_tensors(extra), {{"format", kFormat}, {"step", std::to_string(step_)}});
}

// One tensor after the other comes to the rank that writes; the others need room for one of them. What has come lies in a mapped
// file until it is written, so that no rank ever holds the whole state in memory.
void Optimizer::save_shards(const std::string& file, const models::NamedTensors& extra) const {
  const c10::NoGradGuard no_grad;
  const bool writes = !file.empty();
  int64_t numbers = 0;
  for (const Slot& slot : slots_) numbers += 3 * slot.state.parameter.numel();
  const std::string folder = writes ? std::filesystem::absolute(file).parent_path().string() : "";
  OptimizerMemory gathered(folder, numbers, 3 * static_cast<int64_t>(slots_.size()), at::kCPU);
  models::NamedTensors tensors;
  const auto gather = [&](const Slot& slot, const char* suffix, const at::Tensor& own) {
    at::Tensor tensor = writes ? gathered.zeros_like(slot.state.parameter) : at::empty(slot.state.parameter.sizes(), at::kFloat);
    if (slot.owned) tensor.copy_(own);
    options_.group->start_broadcast(tensor, slot.owner)->wait();
    if (slot.owned) memory_.release(own, 0, own.numel());
    if (!writes) return;
    gathered.release(tensor, 0, tensor.numel());
    tensors.emplace_back(slot.name + suffix, std::move(tensor));
  };
  for (const Slot& slot : slots_) {
    gather(slot, ".moment1", slot.state.moment1);
    gather(slot, ".moment2", slot.state.moment2);
    if (slot.parameter.scalar_type() != at::kFloat) gather(slot, ".master", slot.state.master);
  }
  if (!writes) return;
  for (const auto& [name, tensor] : extra) tensors.emplace_back(name, tensor.detach());
  write_safetensors(file, tensors, {{"format", kFormat}, {"step", std::to_string(step_)}});
}

void Optimizer::load(const std::string& file, const models::NamedTensors& extra) {
  const c10::NoGradGuard no_grad;
  const auto source = SafetensorsFile::open(file);
  const int64_t step = parse_step(*source);
  const models::NamedTensors targets = state_tensors(extra);
  size_t whole = extra.size();  // those of other ranks' shards too
  for (const Slot& slot : slots_) whole += slot.parameter.scalar_type() == at::kFloat ? 2 : 3;
  PRUDENT_CHECK(source->names().size() == whole, "E_SHAPE", file, std::to_string(whole) + " tensors",
                std::to_string(source->names().size()) + " (a state of other parameters)");
  // Everything is checked before the first write, so that a refused file changes nothing.
  std::vector<at::Tensor> values;
  values.reserve(targets.size());
  for (const auto& [name, target] : targets) values.push_back(checked_tensor(*source, name, target));
  for (size_t i = 0; i < targets.size(); ++i) {
    at::Tensor target = targets[i].second;
    target.copy_(values[i]);
  }
  step_ = step;
  drop_gradients();
}

}  // namespace prudent::training
