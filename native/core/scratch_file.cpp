#include "core/scratch_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "core/error.h"

namespace prudent {
namespace {

[[noreturn]] void fail_scratch(const std::string& folder, const char* expected, int code) {
  fail(code == ENOENT ? "E_NOT_FOUND" : "E_IO", folder, expected, std::strerror(code));
}

int open_nameless(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0) return descriptor;
  // Network file systems know no files without a name: one whose name is taken away at once is as good.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) fail_scratch(folder, "a folder that can be written", errno);
  const std::string pattern = folder + "/.prudent-scratch-XXXXXX";
  std::vector<char> name(pattern.c_str(), pattern.c_str() + pattern.size() + 1);
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named < 0) fail_scratch(folder, "a folder that can be written", errno);
  ::unlink(name.data());
  return named;
}

// 0 or an errno. A mapped page that the disk has no room for would end the process with SIGBUS.
int reserve(int descriptor, int64_t bytes) {
  const int code = ::posix_fallocate(descriptor, 0, bytes);
  if (code != EOPNOTSUPP && code != EINVAL) return code;
  return ::ftruncate(descriptor, bytes) == 0 ? 0 : errno;
}

}  // namespace

std::shared_ptr<ScratchFile> ScratchFile::create(const std::string& folder, int64_t bytes) {
  if (bytes <= 0) return std::shared_ptr<ScratchFile>(new ScratchFile(nullptr, 0));
  const int descriptor = open_nameless(folder);
  void* address = MAP_FAILED;
  int code = reserve(descriptor, bytes);
  if (code == 0) {
    address = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (address == MAP_FAILED) code = errno;
  }
  ::close(descriptor);  // the mapping holds the file
  if (code != 0) fail_scratch(folder, ("room for " + std::to_string(bytes) + " bytes").c_str(), code);
  return std::shared_ptr<ScratchFile>(new ScratchFile(static_cast<std::byte*>(address), bytes));
}

ScratchFile::~ScratchFile() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
}

void ScratchFile::release(int64_t offset, int64_t bytes) const {
  const auto page = static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
  const int64_t first = (offset + page - 1) / page * page;
  const int64_t last = (offset + bytes) / page * page;
  // Of a shared mapping: what was written stays in the file's pages, which the system may now write back and drop.
  if (last > first) ::madvise(data_ + first, static_cast<size_t>(last - first), MADV_DONTNEED);
}

}  // namespace prudent
