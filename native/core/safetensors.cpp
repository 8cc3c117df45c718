#include "core/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/json.h"

namespace prudent {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader

struct DtypeEntry {
  const char* name;
  int64_t bytes;
  std::optional<at::ScalarType> type;  // none: known to the format, not to us
};
constexpr DtypeEntry kDtypes[] = {
    {"F32", 4, at::kFloat}, {"BF16", 2, at::kBFloat16}, {"F16", 2, at::kHalf},  {"F64", 8, at::kDouble},
    {"I64", 8, at::kLong},  {"I32", 4, at::kInt},       {"I16", 2, at::kShort}, {"I8", 1, at::kChar},
    {"U8", 1, at::kByte},   {"BOOL", 1, at::kBool},     {"U16", 2, {}},         {"U32", 4, {}},
    {"U64", 8, {}},         {"F8_E5M2", 1, {}},         {"F8_E4M3", 1, {}},     {"F8_E8M0", 1, {}},
};

const DtypeEntry* find_dtype(const std::string& name) {
  const auto* entry = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeEntry& e) { return name == e.name; });
  return entry == std::end(kDtypes) ? nullptr : entry;
}

// A non-negative integer, or none.
std::optional<int64_t> natural(const Json& value) {
  if (!value.is_int() || value.as_int("") < 0) return std::nullopt;
  return value.as_int("");
}

}  // namespace

void SafetensorsFile::corrupt(const std::string& expected, const std::string& received) const {
  fail("E_CORRUPT_FILE", path(), expected, received);
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  std::shared_ptr<SafetensorsFile> result(new SafetensorsFile());
  result->file_ = MappedFile::open(path);
  result->parse_header();
  result->check_layout();
  return result;
}

void SafetensorsFile::parse_header() {
  if (file_->size() < 8) corrupt("a header length of 8 bytes", "a file of " + std::to_string(file_->size()) + " bytes");
  constexpr std::string_view kPointer = "version https://git-lfs";
  if (std::string_view(reinterpret_cast<const char*>(file_->data()), static_cast<size_t>(file_->size())).starts_with(kPointer)) {
    corrupt("weights", "a Git LFS pointer to them (git lfs pull fetches the file)");
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file_->data(), 8);
  if (header_bytes > static_cast<uint64_t>(kMaxHeaderBytes)) {
    corrupt("a header of at most " + std::to_string(kMaxHeaderBytes) + " bytes", std::to_string(header_bytes));
  }
  data_offset_ = 8 + static_cast<int64_t>(header_bytes);
  if (data_offset_ > file_->size()) {
    corrupt("a header of " + std::to_string(header_bytes) + " bytes", "a file of " + std::to_string(file_->size()) + " bytes");
  }
  const std::string_view text(reinterpret_cast<const char*>(file_->data()) + 8, header_bytes);
  if (text.empty() || text.front() != '{') corrupt("a header that starts with '{'", "another byte at byte 8");
  const Json header = parse_json(text, path());
  for (const auto& [name, value] : header.as_object(path())) {
    if (name == "__metadata__") {
      if (!value.is_object()) corrupt("__metadata__ as an object", value.type_name());
      for (const auto& [key, item] : value.as_object(path())) {
        if (!item.is_string()) corrupt("strings in __metadata__", std::string(item.type_name()) + " under \"" + key + "\"");
        metadata_[key] = item.as_string(path());
      }
      continue;
    }
    const Json* dtype = value.find("dtype");
    const Json* shape = value.find("shape");
    const Json* offsets = value.find("data_offsets");
    if (!value.is_object() || value.as_object("").size() != 3 || dtype == nullptr || shape == nullptr || offsets == nullptr) {
      corrupt("{dtype, shape, data_offsets} for tensor \"" + name + "\"",
              value.is_object() ? "other members" : value.type_name());
    }
    if (!dtype->is_string() || find_dtype(dtype->as_string("")) == nullptr) {
      corrupt("a known dtype for tensor \"" + name + "\"", dtype->is_string() ? dtype->as_string("") : dtype->type_name());
    }
    Entry entry;
    entry.dtype = dtype->as_string("");
    if (!shape->is_array()) corrupt("an array as shape of tensor \"" + name + "\"", shape->type_name());
    for (const Json& size : shape->as_array("")) {
      const auto parsed = natural(size);
      if (!parsed) corrupt("natural numbers as shape of tensor \"" + name + "\"", size.dump());
      entry.shape.push_back(*parsed);
    }
    const bool pair = offsets->is_array() && offsets->as_array("").size() == 2;
    const auto begin = pair ? natural(offsets->as_array("")[0]) : std::nullopt;
    const auto end = pair ? natural(offsets->as_array("")[1]) : std::nullopt;
    if (!begin || !end) corrupt("two natural numbers as data_offsets of tensor \"" + name + "\"", offsets->dump());
    entry.begin = *begin;
    entry.end = *end;
    names_.push_back(name);
    entries_.emplace(name, std::move(entry));
  }
}

void SafetensorsFile::check_layout() const {
  const int64_t data_bytes = file_->size() - data_offset_;
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (const auto& [name, entry] : entries_) {
    const std::string label = "tensor \"" + name + "\"";
    if (entry.begin > entry.end || entry.end > data_bytes) {
      corrupt(label + " within " + std::to_string(data_bytes) + " data bytes",
              "data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]");
    }
    int64_t bytes = find_dtype(entry.dtype)->bytes;
    for (const int64_t size : entry.shape) {
      if (__builtin_mul_overflow(bytes, size, &bytes)) corrupt(label + " with a size that fits 64 bits", "an overflow");
    }
    if (bytes != entry.end - entry.begin) {
      corrupt(label + " of " + std::to_string(bytes) + " bytes by its shape and dtype", std::to_string(entry.end - entry.begin));
    }
    order.emplace_back(&name, &entry);
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  int64_t at = 0;
  for (const auto& [name, entry] : order) {
    if (entry->begin != at) {
      corrupt("tensor \"" + *name + "\" at data byte " + std::to_string(at),
              (entry->begin < at ? "an overlap: it begins at " : "a gap: it begins at ") + std::to_string(entry->begin));
    }
    at = entry->end;
  }
  if (at != data_bytes) {
    corrupt("the file to end with its last tensor, at data byte " + std::to_string(at),
            std::to_string(data_bytes) + " data bytes");
  }
}

std::vector<int64_t> SafetensorsFile::shape(const std::string& name) const {
  const auto found = entries_.find(name);
  PRUDENT_CHECK(found != entries_.end(), "E_MISSING_TENSOR", path(), "tensor \"" + name + "\"", "none of that name");
  return found->second.shape;
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  PRUDENT_CHECK(found != entries_.end(), "E_MISSING_TENSOR", path(), "tensor \"" + name + "\"", "none of that name");
  const Entry& entry = found->second;
  const DtypeEntry& dtype = *find_dtype(entry.dtype);
  PRUDENT_CHECK(dtype.type.has_value(), "E_DTYPE", path(), "tensor \"" + name + "\" as F32, BF16, F16, F64 or integers",
                entry.dtype);
  std::byte* data = file_->data() + data_offset_ + entry.begin;
  const auto options = at::TensorOptions().dtype(*dtype.type);
  if (entry.begin == entry.end) return at::empty(entry.shape, options);
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(dtype.bytes) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.data_ptr(), data, static_cast<size_t>(entry.end - entry.begin));
    return copy;
  }
  return at::from_blob(
      data, entry.shape, [mapping = file_](void*) {}, options);
}

void SafetensorsFile::drop_pages(const std::string& name) const {
  const Entry& entry = entries_.at(name);
  drop_mapped_pages(file_->data() + data_offset_ + entry.begin, entry.end - entry.begin);
}

SafetensorsFolder SafetensorsFolder::open(const std::string& folder, const std::string& stem) {
  SafetensorsFolder result;
  result.folder_ = folder;
  const fs::path single = fs::path(folder) / (stem + ".safetensors");
  const fs::path index = fs::path(folder) / (stem + ".safetensors.index.json");
  std::error_code ignored;
  if (fs::exists(single, ignored)) {
    const auto file = SafetensorsFile::open(single.string());
    for (const auto& name : file->names()) result.owner_.emplace(name, file);
    return result;
  }
  PRUDENT_CHECK(fs::exists(index, ignored), "E_NOT_FOUND", folder, stem + ".safetensors or " + stem + ".safetensors.index.json",
                "neither");
  const std::string source = index.string();
  const Json json = parse_json(read_text_file(source), source);
  const Json* map = json.find("weight_map");
  PRUDENT_CHECK(map != nullptr && map->is_object(), "E_CORRUPT_FILE", source, "an object weight_map",
                map == nullptr ? "none" : map->type_name());
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
  for (const auto& [name, file] : map->as_object(source)) {
    PRUDENT_CHECK(file.is_string(), "E_CORRUPT_FILE", source, "a file name for \"" + name + "\"", file.type_name());
    const std::string& shard = file.as_string(source);
    const bool inside = !shard.empty() && shard != "." && shard != ".." && shard.find_first_of("/\\") == std::string::npos &&
                        shard.find('\0') == std::string::npos;
    PRUDENT_CHECK(inside, "E_CORRUPT_FILE", source, "shards in the same folder", "\"" + shard + "\" for \"" + name + "\"");
    auto& opened = shards[shard];
    if (!opened) opened = SafetensorsFile::open((fs::path(folder) / shard).string());
    PRUDENT_CHECK(opened->contains(name), "E_CORRUPT_FILE", source, "tensor \"" + name + "\" in " + shard, "a shard without it");
  }
  for (const auto& [shard, file] : shards) {
    for (const auto& name : file->names()) {
      const bool first = result.owner_.emplace(name, file).second;
      PRUDENT_CHECK(first, "E_CORRUPT_FILE", source, "every tensor in one shard", "\"" + name + "\" in two");
    }
  }
  return result;
}

std::vector<std::string> SafetensorsFolder::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : owner_) names.push_back(name);
  return names;
}

const SafetensorsFile& SafetensorsFolder::owner(const std::string& name) const {
  const auto found = owner_.find(name);
  PRUDENT_CHECK(found != owner_.end(), "E_MISSING_TENSOR", folder_, "tensor \"" + name + "\"", "none of that name");
  return *found->second;
}

std::vector<int64_t> SafetensorsFolder::shape(const std::string& name) const { return owner(name).shape(name); }
at::Tensor SafetensorsFolder::tensor(const std::string& name) const { return owner(name).tensor(name); }

}  // namespace prudent
