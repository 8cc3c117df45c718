// Files: whole reads, private mappings, and writes that are seen either whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace prudent {

// E_NOT_FOUND when the file does not exist, E_IO when it cannot be read.
std::string read_text_file(const std::string& path);

// A private copy-on-write mapping: reads share the page cache, writes stay in this process and never reach the file.
class MappedFile {
 public:
  static std::shared_ptr<MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, std::byte* data, int64_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  std::byte* data_;
  int64_t size_;
};

// Of a mapping of which single rows are read here and there: its pages come as they are touched. Linux would map the 2 MiB around
// each of them where the page cache holds them in one piece.
void map_page_by_page(const void* data, int64_t bytes);

// Pages of a mapping that were read and will not be again: they no longer count as this process's memory. Only for pages that
// nobody has written to; whoever reads them all the same reads the file.
void drop_mapped_pages(const void* data, int64_t bytes);

// While it lives, what this thread writes is renamed but not synced: it is whole for whoever reads it, and survives a power cut
// only once the caller has synced it. For checkpoints, whose folder is synced and renamed while training goes on.
class UnsyncedWrites {
 public:
  explicit UnsyncedWrites(bool active);
  ~UnsyncedWrites();
  UnsyncedWrites(const UnsyncedWrites&) = delete;
  UnsyncedWrites& operator=(const UnsyncedWrites&) = delete;

 private:
  bool before_;
};

// A file under a temporary name beside `path`; commit() syncs it and renames it to `path`. Without commit() it is removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, int64_t bytes);
  // fsync and close under the temporary name; commit() then only renames.
  void finish();
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
};

void write_text_file(const std::string& path, std::string_view text);  // atomic
void sync_folder(const std::string& folder);                           // makes renames in it durable

// A new folder appears whole: `fill` writes into a folder beside `folder`, which is then renamed. `folder` must not exist
// (E_EXISTS).
void create_folder_atomically(const std::string& folder, const std::function<void(const std::string& temporary)>& fill);

}  // namespace prudent
