// Faults below Node: preloaded (LD_PRELOAD), it sees every call by which a process changes files below FAULT_ROOT, whether Node
// or the addon makes it, and does at call number FAULT_AT (counted from 1, in FAULT_COUNTER) what FAULT_KIND says:
//   record   nothing; before every call, and in the middle of every write, the folder is copied to FAULT_COPIES/<number>
//   kill     the process dies of SIGKILL, of a write when half of it is done
//   ENOSPC, EIO, EROFS   this call and all further ones fail so; removals still work, as on a full disk
// Each path below FAULT_ROOT that is synced is a line of FAULT_SYNCS.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>

namespace {

namespace fs = std::filesystem;

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

thread_local int torn_file = -1;   // its next write is the rest of one that was cut
thread_local bool inside = false;  // the shim's own calls are no events
std::mutex mutex;

// Lives in a file, so that whoever started the process can read it after a kill.
long* counter() {
  static long* shared = [] {
    const int file = real<int(const char*, int, ...)>("open")(variable("FAULT_COUNTER").c_str(), O_RDWR | O_CREAT, 0600);
    if (file < 0 || real<int(int, off_t)>("ftruncate")(file, sizeof(long)) != 0) std::abort();
    void* address = mmap(nullptr, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) std::abort();
    return static_cast<long*>(address);
  }();
  return shared;
}

bool below_root(const std::string& path) {
  static const std::string root = variable("FAULT_ROOT");
  return !root.empty() && path.rfind(root, 0) == 0;
}

std::string path_of(int descriptor) {
  char path[PATH_MAX];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return length < 0 ? "" : std::string(path, static_cast<size_t>(length));
}

enum class Act { Go, Half, Fail };

void copy_folder(long number) {
  inside = true;
  std::error_code ignored;
  const fs::path to = fs::path(variable("FAULT_COPIES")) / std::to_string(number);
  fs::copy(variable("FAULT_ROOT"), to, fs::copy_options::recursive | fs::copy_options::copy_symlinks, ignored);
  inside = false;
}

// What becomes of the next call; errno is set where it fails.
Act event(const std::string& path, bool is_write, bool is_removal = false) {
  if (inside || !below_root(path)) return Act::Go;
  const std::lock_guard lock(mutex);
  static const std::string kind = variable("FAULT_KIND");
  static const long at = std::atol(variable("FAULT_AT").c_str());
  const long number = ++*counter();
  if (kind == "record") {
    copy_folder(number);
    return is_write ? Act::Half : Act::Go;
  }
  if (kind == "kill") {
    if (number == at && !is_write) kill(getpid(), SIGKILL);
    return number == at ? Act::Half : Act::Go;
  }
  if (at == 0 || number < at || is_removal) return Act::Go;
  errno = kind == "ENOSPC" ? ENOSPC : kind == "EROFS" ? EROFS : EIO;
  return Act::Fail;
}

// Half of a write is done: the torn file is copied, or is what the process leaves.
void torn() {
  if (variable("FAULT_KIND") == "kill") kill(getpid(), SIGKILL);
  const std::lock_guard lock(mutex);
  copy_folder(++*counter());
}

using Open = int(const char*, int, ...);
using Sync = int(int);

int synced(const char* name, int file) {
  const std::string path = path_of(file);
  if (below_root(path)) {
    inside = true;
    const int list = real<Open>("open")(variable("FAULT_SYNCS").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const std::string line = path + '\n';
    if (list < 0 || real<decltype(write)>("write")(list, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
    close(list);
    inside = false;
  }
  return event(path, false) == Act::Fail ? -1 : real<Sync>(name)(file);
}

int opened(const char* name, const char* path, int flags, mode_t mode) {
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  char absolute[PATH_MAX];
  const std::string full = path[0] == '/' ? path : getcwd(absolute, sizeof absolute) + std::string("/") + path;
  if (changes && event(full, false) == Act::Fail) return -1;
  return real<Open>(name)(path, flags, mode);
}

template <typename Write>
ssize_t written(int file, const void* data, size_t size, Write write) {
  const bool whole = torn_file != file;
  torn_file = -1;
  switch (event(path_of(file), whole && size > 1)) {
    case Act::Fail:
      return -1;
    case Act::Go:
      return write(data, size);
    default:
      break;
  }
  const ssize_t first = write(data, size / 2);
  torn_file = file;
  torn();
  return first;  // callers write the rest, as they do after any short write
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened("open", path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened("open64", path, flags, mode);
}
ssize_t write(int file, const void* data, size_t size) {
  return written(file, data, size,
                 [&](const void* part, size_t count) { return real<decltype(write)>("write")(file, part, count); });
}
ssize_t pwrite64(int file, const void* data, size_t size, off64_t at) {
  return written(file, data, size,
                 [&](const void* part, size_t count) { return real<decltype(pwrite64)>("pwrite64")(file, part, count, at); });
}
ssize_t writev(int file, const iovec* parts, int count) {
  return event(path_of(file), false) == Act::Fail ? -1 : real<decltype(writev)>("writev")(file, parts, count);
}
int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
int ftruncate64(int file, off64_t size) {
  return event(path_of(file), false) == Act::Fail ? -1 : real<decltype(ftruncate64)>("ftruncate64")(file, size);
}
int rename(const char* from, const char* to) {
  return event(to, false) == Act::Fail ? -1 : real<decltype(rename)>("rename")(from, to);
}
int link(const char* from, const char* to) { return event(to, false) == Act::Fail ? -1 : real<decltype(link)>("link")(from, to); }
int mkdir(const char* path, mode_t mode) {
  return event(path, false) == Act::Fail ? -1 : real<decltype(mkdir)>("mkdir")(path, mode);
}
int unlink(const char* path) { return event(path, false, true) == Act::Fail ? -1 : real<decltype(unlink)>("unlink")(path); }
int rmdir(const char* path) { return event(path, false, true) == Act::Fail ? -1 : real<decltype(rmdir)>("rmdir")(path); }

}  // extern "C"
