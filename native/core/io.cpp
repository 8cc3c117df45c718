#include "core/io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>

#include "core/error.h"

namespace prudent {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_io(const std::string& path, const char* expected, int code) {
  fail(code == ENOENT ? "E_NOT_FOUND" : "E_IO", path, expected, std::strerror(code));
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_;
};

int64_t regular_file_size(int descriptor, const std::string& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_io(path, "a readable file", errno);
  PRUDENT_CHECK(S_ISREG(status.st_mode), "E_IO", path, "a regular file", S_ISDIR(status.st_mode) ? "a folder" : "another kind");
  return static_cast<int64_t>(status.st_size);
}

// Unique among threads and processes.
std::string temporary_name(const std::string& path) {
  static std::atomic<uint64_t> counter{0};
  return path + "." + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1)) + ".tmp";
}

}  // namespace

std::string read_text_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_io(path, "a readable file", errno);
  std::string text(static_cast<size_t>(regular_file_size(file.get(), path)), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io(path, "a readable file", errno);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_io(path, "a readable file", errno);
  const int64_t size = regular_file_size(file.get(), path);
  std::byte* data = nullptr;
  if (size > 0) {
    // Writable and private: a trainer may update weights in place; only the pages it touches are copied.
    void* address =
        ::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.get(), 0);
    if (address == MAP_FAILED)
      fail(errno == ENOMEM ? "E_OUT_OF_MEMORY" : "E_IO", path, "a file that can be mapped", std::strerror(errno));
    data = static_cast<std::byte*>(address);
  }
  return std::shared_ptr<MappedFile>(new MappedFile(path, data, size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
}

namespace {

// On the whole pages inside. Advice: a kernel that does not take it costs memory, no more.
void advise(const void* data, int64_t bytes, int advice) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto last = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / page * page;
  if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, advice);
}

thread_local bool unsynced = false;

}  // namespace

void map_page_by_page(const void* data, int64_t bytes) { advise(data, bytes, MADV_NOHUGEPAGE); }

void drop_mapped_pages(const void* data, int64_t bytes) { advise(data, bytes, MADV_DONTNEED); }

UnsyncedWrites::UnsyncedWrites(bool active) : before_(unsynced) { unsynced = active; }
UnsyncedWrites::~UnsyncedWrites() { unsynced = before_; }

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), temporary_(temporary_name(path_)) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_io(path_, "a file that can be written", errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, int64_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t count = ::write(descriptor_, at, static_cast<size_t>(std::min<int64_t>(bytes, 1 << 30)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io(path_, "a file that can be written", errno);
    at += count;
    bytes -= count;
  }
}

void AtomicFile::finish() {
  if (descriptor_ < 0) return;
  const int synced = unsynced ? 0 : ::fsync(descriptor_);
  const int code = errno;
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (synced != 0) fail_io(path_, "a file that can be synced", code);
  if (closed != 0) fail_io(path_, "a file that can be closed", errno);
}

void AtomicFile::commit() {
  finish();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_io(path_, "a name that can be taken", errno);
  temporary_.clear();
}

void write_text_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text.data(), static_cast<int64_t>(text.size()));
  file.commit();
  sync_folder(fs::path(path).parent_path().string());
}

void sync_folder(const std::string& folder) {
  if (unsynced) return;
  const std::string name = folder.empty() ? "." : folder;
  const Descriptor descriptor(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) fail_io(name, "a folder", errno);
  // Some network file systems cannot sync folders; the renames are then as durable as they can be.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL && errno != ENOTSUP) fail_io(name, "a folder that can be synced", errno);
}

void create_folder_atomically(const std::string& folder, const std::function<void(const std::string&)>& fill) {
  fs::path target(folder);
  if (!target.has_filename()) target = target.parent_path();  // "name/" names the same folder
  std::error_code ignored;
  PRUDENT_CHECK(!fs::exists(fs::symlink_status(target, ignored)), "E_EXISTS", folder, "a name that is free",
                "an existing file or folder");
  const fs::path temporary = temporary_name(target.string());
  std::error_code error;
  fs::create_directories(temporary, error);
  if (error) fail("E_IO", folder, "a folder that can be made", error.message());
  try {
    fill(temporary.string());
    sync_folder(temporary.string());
    fs::rename(temporary, target, error);
    if (error)
      fail(error == std::errc::directory_not_empty ? "E_EXISTS" : "E_IO", folder, "a name that can be taken", error.message());
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
  sync_folder(target.parent_path().string());
}

}  // namespace prudent
