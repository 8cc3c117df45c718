#include "models/parameter_source.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <filesystem>
#include <numbers>
#include <string_view>

#include "core/device.h"
#include "core/error.h"
#include "core/io.h"
#include "core/philox.h"

namespace prudent::models {
namespace {

namespace fs = std::filesystem;

uint64_t hash_name(std::string_view name) {  // FNV-1a, 64 bits
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

// Two normals from each pair of uniforms (Box-Muller), four numbers from one Philox block.
void fill_normal(float* out, int64_t count, double std, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < count; i += 4) {
    const Philox4 bits = philox4x32(seed, stream, static_cast<uint64_t>(i));
    for (int pair = 0; pair < 2; ++pair) {
      const double radius = std * std::sqrt(-2.0 * std::log(static_cast<double>(uniform_open(bits.v[2 * pair]))));
      const double angle = 2.0 * std::numbers::pi * static_cast<double>(uniform_open(bits.v[2 * pair + 1]));
      if (i + 2 * pair < count) out[i + 2 * pair] = static_cast<float>(radius * std::cos(angle));
      if (i + 2 * pair + 1 < count) out[i + 2 * pair + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

void fill_uniform(float* out, int64_t count, double bound, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < count; ++i) {
    const Philox4 bits = philox4x32(seed, stream, static_cast<uint64_t>(i / 4));
    out[i] = static_cast<float>(bound * (2.0 * static_cast<double>(uniform_open(bits.v[i % 4])) - 1.0));
  }
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

// At most ten names, then how many more.
std::string name_list(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 10; ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.size() > 10 ? text + " and " + std::to_string(names.size() - 10) + " more" : text;
}

const char* base_prefix(Architecture architecture) { return architecture == Architecture::Gpt2 ? "transformer." : "model."; }

// If `text` is <prefix><digits><suffix>
bool numbered_name(std::string_view text, std::string_view prefix, std::string_view suffix) {
  if (!text.starts_with(prefix) || !text.ends_with(suffix) || text.size() <= prefix.size() + suffix.size()) return false;
  const std::string_view digits = text.substr(prefix.size(), text.size() - prefix.size() - suffix.size());
  return digits.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

at::Tensor RandomSource::get(const ParameterRequest& request) {
  at::Tensor tensor = at::empty(request.shape, at::kFloat);
  float* out = tensor.mutable_data_ptr<float>();
  const uint64_t stream = hash_name(request.name);
  switch (request.init) {
    case Init::Zero:
      tensor.fill_(0.0);
      break;
    case Init::One:
      tensor.fill_(1.0);
      break;
    case Init::Normal:
      fill_normal(out, tensor.numel(), normal_std_, seed_, stream);
      break;
    case Init::ResidualNormal:  // GPT-2: the residual stream sums 2 * layers of these
      fill_normal(out, tensor.numel(), normal_std_ / std::sqrt(2.0 * static_cast<double>(layers_)), seed_, stream);
      break;
    case Init::Head:
      fill_normal(out, tensor.numel(), 0.02, seed_, stream);
      break;
    case Init::ValueHead:  // torch.nn.Linear's default: uniform within 1 / sqrt(inputs), weight and bias alike
      fill_uniform(out, tensor.numel(), 1.0 / std::sqrt(static_cast<double>(hidden_)), seed_, stream);
      break;
  }
  return tensor.to(at::TensorOptions().dtype(request.dtype).device(device_));
}

FolderSource::FolderSource(const std::string& folder, const ModelConfig& config, const LoadOptions& options, const Job& job)
    : folder_(folder),
      architecture_(config.architecture),
      tied_(config.tie_word_embeddings),
      options_(options),
      new_heads_(config, options.seed, options.device),
      job_(job) {
  const fs::path root(folder);
  std::error_code ignored;
  const bool safe = fs::exists(root / "model.safetensors", ignored) || fs::exists(root / "model.safetensors.index.json", ignored);
  const bool pickled =
      fs::exists(root / "pytorch_model.bin", ignored) || fs::exists(root / "pytorch_model.bin.index.json", ignored);
  PRUDENT_CHECK(safe || !pickled, "E_UNSUPPORTED", folder, "safetensors weights",
                "pytorch_model.bin only: scripts/convert-weights.py writes safetensors from it");
  files_ = SafetensorsFolder::open(folder);
}

std::string FolderSource::find(const std::string& name) const {
  const std::string_view prefix = base_prefix(architecture_);
  for (const char* outer : {"", "pretrained_model."}) {
    if (files_.contains(outer + name)) return outer + name;
    if (name.starts_with(prefix)) {
      if (const std::string bare = outer + name.substr(prefix.size()); files_.contains(bare)) return bare;
    }
  }
  return {};
}

at::Tensor FolderSource::get(const ParameterRequest& request) {
  job_.poll();
  std::string file_name = find(request.name);
  const bool embedding = request.name.ends_with("embed_tokens.weight") || request.name.ends_with("wte.weight");
  if (file_name.empty() && embedding && tied_) file_name = find("lm_head.weight");  // some writers keep this one of the pair
  if (file_name.empty()) {
    if (request.init == Init::Head && options_.allow_new_head) return new_heads_.get(request);
    missing_.push_back(request.name);
    return at::empty(request.shape, request.dtype);
  }
  used_.insert(file_name);
  const auto shape = files_.shape(file_name);
  PRUDENT_CHECK(shape == request.shape, "E_SHAPE", folder_ + ": " + file_name, shape_text(request.shape) + " by config.json",
                shape_text(shape));
  const at::Tensor tensor = files_.tensor(file_name);
  PRUDENT_CHECK(tensor.is_floating_point(), "E_DTYPE", folder_ + ": " + file_name, "floating-point weights",
                dtype_name(tensor.scalar_type()));
  // A classifier reads the rows of its tokens; a language model's LM head reads all of them.
  if (embedding && options_.task == Task::SequenceClassification) {
    map_page_by_page(tensor.const_data_ptr(), static_cast<int64_t>(tensor.nbytes()));
  }
  at::Tensor wanted = tensor.to(at::TensorOptions().dtype(request.dtype).device(options_.device));
  // Of a tensor that was converted only the copy is needed; one small tensor that was not keeps the whole file mapped.
  if (!wanted.is_alias_of(tensor)) files_.drop_pages(file_name);
  return wanted;
}

bool FolderSource::ignorable(const std::string& file_name) const {
  std::string_view name = file_name;
  if (name.starts_with("pretrained_model.")) name.remove_prefix(std::string_view("pretrained_model.").size());
  // Heads that this task has no use for.
  for (const char* head : {"lm_head.weight", "score.weight", "v_head.summary.weight", "v_head.summary.bias"}) {
    if (name == head) return true;
  }
  // Buffers that older versions of transformers saved.
  const std::string_view prefix = base_prefix(architecture_);
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  if (architecture_ == Architecture::Gpt2)
    return numbered_name(name, "h.", ".attn.bias") || numbered_name(name, "h.", ".attn.masked_bias");
  return name == "rotary_emb.inv_freq" || numbered_name(name, "layers.", ".self_attn.rotary_emb.inv_freq");
}

void FolderSource::finish() const {
  std::vector<std::string> unexpected;
  for (const auto& name : files_.names()) {
    if (!used_.contains(name) && !ignorable(name)) unexpected.push_back(name);
  }
  if (missing_.empty() && unexpected.empty()) return;
  std::string received;
  if (!missing_.empty()) received = "missing: " + name_list(missing_);
  if (!unexpected.empty()) received += (received.empty() ? "unexpected: " : "; unexpected: ") + name_list(unexpected);
  fail("E_MISSING_TENSOR", folder_, std::string("the tensors of a ") + architecture_name(architecture_) + " model", received);
}

CloneSource::CloneSource(const Model& model) : parameters_(model.parameters()) {}

at::Tensor CloneSource::get(const ParameterRequest& request) {
  for (const auto& [name, tensor] : parameters_) {
    if (name == request.name) return tensor.detach().clone();
  }
  fail("E_INTERNAL", request.name, "a parameter of the cloned model", "none");
}

bool CloneSource::has(const std::string& name) const {
  for (const auto& entry : parameters_) {
    if (entry.first == name) return true;
  }
  return false;
}

}  // namespace prudent::models
