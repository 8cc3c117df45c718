// How much of a mapping is in this process's memory at the moment (Linux: /proc/self/smaps).
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace prudent::tests {

// Resident bytes of the mapping that `address` lies in; -1 when it lies in none.
inline int64_t resident_bytes(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char permissions = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %c", &begin, &end, &permissions) == 3) inside = begin <= wanted && wanted < end;
    if (inside && line.rfind("Rss:", 0) == 0) return std::stoll(line.substr(4)) * 1024;
  }
  return -1;
}

}  // namespace prudent::tests
