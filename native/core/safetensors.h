// safetensors files: mapped, checked before anything is trusted, read without a copy, written atomically.
// Format: u64 little-endian header length, a JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {..}}, then the
// tensors end to end without gaps up to the end of the file.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/io.h"
#include "core/job.h"

namespace prudent {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using Metadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  // E_NOT_FOUND, E_IO; E_CORRUPT_FILE when the header breaks any rule of the format.
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return file_->path(); }
  [[nodiscard]] const Metadata& metadata() const { return metadata_; }
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }  // in file order
  [[nodiscard]] bool contains(const std::string& name) const { return entries_.contains(name); }
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const;
  // A view of the mapping in the file's own dtype, which keeps the mapping alive; a copy only where the file's data are not
  // aligned to their element size. Writes to it do not reach the file. E_MISSING_TENSOR, E_DTYPE (8-bit floats and the like).
  [[nodiscard]] at::Tensor tensor(const std::string& name) const;
  // Its pages no longer count as memory of this process: for a tensor that was read to be converted. No view of it may have been
  // written to.
  void drop_pages(const std::string& name) const;

 private:
  struct Entry {
    std::string dtype;
    std::vector<int64_t> shape;
    int64_t begin = 0, end = 0;  // within the data that follow the header
  };
  SafetensorsFile() = default;
  void parse_header();
  void check_layout() const;
  [[noreturn]] void corrupt(const std::string& expected, const std::string& received) const;

  std::shared_ptr<MappedFile> file_;
  int64_t data_offset_ = 0;
  Metadata metadata_;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
};

// The weights of a folder: `<stem>.safetensors`, or the shards named by `<stem>.safetensors.index.json`.
class SafetensorsFolder {
 public:
  // E_NOT_FOUND when neither is there; E_CORRUPT_FILE when the index names a file outside the folder or a tensor that its
  // shard lacks, or two shards hold one name.
  static SafetensorsFolder open(const std::string& folder, const std::string& stem = "model");

  [[nodiscard]] std::vector<std::string> names() const;  // sorted
  [[nodiscard]] bool contains(const std::string& name) const { return owner_.contains(name); }
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const;
  [[nodiscard]] at::Tensor tensor(const std::string& name) const;
  void drop_pages(const std::string& name) const { owner(name).drop_pages(name); }

 private:
  [[nodiscard]] const SafetensorsFile& owner(const std::string& name) const;
  std::string folder_;
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> owner_;
};

// One file. Tensors of F32, BF16, F16, F64, I64, I32, I16, I8, U8, BOOL on any device; written beside, synced, renamed.
// Metadata are written as given (transformers wants {"format": "pt"} on weights).
void write_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata, const Job& job = {});

// Weights of a model: `model.safetensors`, or shards of at most max_shard_bytes (a larger tensor is a shard of its own) and an
// index. Replacing the weights of a folder is atomic as a set: shards get names that no file has yet, and the one rename (or
// removal) that commits comes last; files of the former set are removed after it.
void write_safetensors_folder(const std::string& folder, const NamedTensors& tensors, int64_t max_shard_bytes, const Job& job);

}  // namespace prudent
