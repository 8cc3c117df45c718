#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "core/device.h"
#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"

namespace prudent {
namespace {

namespace fs = std::filesystem;

const char* format_dtype(const std::string& name, at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "F32";
    case at::kBFloat16:
      return "BF16";
    case at::kHalf:
      return "F16";
    case at::kDouble:
      return "F64";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kShort:
      return "I16";
    case at::kChar:
      return "I8";
    case at::kByte:
      return "U8";
    case at::kBool:
      return "BOOL";
    default:
      fail("E_DTYPE", name, "a dtype that safetensors holds", dtype_name(type));
  }
}

std::string header_text(const NamedTensors& tensors, const Metadata& metadata) {
  Json header{Json::Object{}};
  if (!metadata.empty()) {
    Json::Object object;
    for (const auto& [key, value] : metadata) object.emplace_back(key, value);
    header.set("__metadata__", std::move(object));
  }
  std::set<std::string> seen;
  Json::Object entries;
  int64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    PRUDENT_CHECK(seen.insert(name).second && name != "__metadata__", "E_INTERNAL", name, "every name once", "a second one");
    Json::Array shape;
    for (const int64_t size : tensor.sizes()) shape.emplace_back(size);
    const int64_t bytes = static_cast<int64_t>(tensor.nbytes());
    entries.emplace_back(name, Json::Object{{"dtype", format_dtype(name, tensor.scalar_type())},
                                            {"shape", std::move(shape)},
                                            {"data_offsets", Json::Array{Json(at), Json(at + bytes)}}});
    at += bytes;
  }
  std::string text = header.dump();
  const std::string members = Json(std::move(entries)).dump();
  if (members.size() > 2) {
    text.pop_back();
    if (text.size() > 1) text += ",";
    text.append(members, 1);
  }
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begin aligned
  return text;
}

// Wide elements first, so that every tensor is aligned to its element size.
NamedTensors aligned_order(const NamedTensors& tensors) {
  NamedTensors order = tensors;
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.element_size() > b.second.element_size(); });
  return order;
}

void write_contents(AtomicFile& file, const NamedTensors& tensors, const Metadata& metadata, const Job& job) {
  const NamedTensors order = aligned_order(tensors);
  const std::string header = header_text(order, metadata);
  const auto header_bytes = static_cast<uint64_t>(header.size());
  file.write(&header_bytes, 8);
  file.write(header.data(), static_cast<int64_t>(header.size()));
  for (const auto& [name, tensor] : order) {
    job.poll();
    const at::Tensor data = tensor.detach().to(at::kCPU).contiguous();
    file.write(data.data_ptr(), static_cast<int64_t>(data.nbytes()));
  }
  file.finish();
}

std::vector<NamedTensors> divide(const NamedTensors& tensors, int64_t limit) {
  std::vector<NamedTensors> shards(1);
  int64_t bytes = 0;
  for (const auto& entry : tensors) {
    const auto size = static_cast<int64_t>(entry.second.nbytes());
    if (!shards.back().empty() && bytes + size > limit) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(entry);
    bytes += size;
  }
  return shards;
}

std::string numbered(size_t value) {
  std::string digits = std::to_string(value);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

// transformers' names; with a mark where an earlier set still holds one of them.
std::vector<std::string> shard_names(const fs::path& folder, size_t count) {
  for (int attempt = 0;; ++attempt) {
    const std::string mark = attempt == 0 ? "" : "-v" + std::to_string(attempt + 1);
    std::vector<std::string> names;
    bool free = true;
    for (size_t i = 1; i <= count; ++i) {
      names.push_back("model" + mark + "-" + numbered(i) + "-of-" + numbered(count) + ".safetensors");
      free = free && !fs::exists(folder / names.back());
    }
    if (free) return names;
  }
}

bool is_shard(const std::string& name) {
  return name.rfind("model-", 0) == 0 && name.find("-of-") != std::string::npos && name.ends_with(".safetensors");
}

void remove_shards(const fs::path& folder, const std::vector<std::string>& keep) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (is_shard(name) && std::find(keep.begin(), keep.end(), name) == keep.end()) fs::remove(entry.path(), ignored);
  }
}

}  // namespace

void write_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata, const Job& job) {
  AtomicFile file(path);
  write_contents(file, tensors, metadata, job);
  file.commit();
  sync_folder(fs::path(path).parent_path().string());
}

void write_safetensors_folder(const std::string& folder, const NamedTensors& tensors, int64_t max_shard_bytes, const Job& job) {
  PRUDENT_CHECK(max_shard_bytes > 0, "E_RANGE", "maxShardBytes", "> 0", std::to_string(max_shard_bytes));
  const Metadata metadata{{"format", "pt"}};
  const fs::path root(folder);
  const fs::path single = root / "model.safetensors";
  const fs::path index = root / "model.safetensors.index.json";
  std::error_code ignored;
  const std::vector<NamedTensors> shards = divide(tensors, max_shard_bytes);
  if (shards.size() == 1) {
    // Readers take the single file when there is one: its rename is the commit.
    write_safetensors(single.string(), tensors, metadata, job);
    fs::remove(index, ignored);
    remove_shards(root, {});
    return;
  }
  const std::vector<std::string> names = shard_names(root, shards.size());
  Json::Object map;
  int64_t total = 0;
  std::vector<std::string> written;
  try {
    for (size_t i = 0; i < shards.size(); ++i) {
      AtomicFile file((root / names[i]).string());
      write_contents(file, shards[i], metadata, job);
      file.commit();
      written.push_back(names[i]);
      for (const auto& [name, tensor] : shards[i]) {
        map.emplace_back(name, names[i]);
        total += static_cast<int64_t>(tensor.nbytes());
      }
    }
    sync_folder(folder);
    Json json;
    json.set("metadata", Json::Object{{"total_size", Json(total)}});
    json.set("weight_map", std::move(map));
    // The commit: this rename, or the removal of a single file that readers would prefer.
    write_text_file(index.string(), json.dump(2) + "\n");
  } catch (...) {
    for (const auto& name : written) fs::remove(root / name, ignored);
    throw;
  }
  fs::remove(single, ignored);
  remove_shards(root, names);
  sync_folder(folder);
}

}  // namespace prudent
