// Large state that need not stay in memory: a file without a name, mapped shared. Pages are resident while they are worked on;
// the system writes them to the disk and takes them back when it needs the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace prudent {

class ScratchFile {
 public:
  // `bytes` zeros in `folder`, gone with this object or its process, however that ends. The space is reserved at once: a disk
  // that is too small is E_IO here, not a crash at the first write. E_NOT_FOUND when there is no such folder.
  static std::shared_ptr<ScratchFile> create(const std::string& folder, int64_t bytes);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] int64_t size() const { return size_; }
  // The pages that lie wholly within [data + offset, + bytes) leave this process's resident memory. What they hold stays.
  void release(int64_t offset, int64_t bytes) const;

 private:
  ScratchFile(std::byte* data, int64_t size) : data_(data), size_(size) {}
  std::byte* data_;
  int64_t size_;
};

}  // namespace prudent
