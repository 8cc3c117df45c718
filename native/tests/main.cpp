#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>

#include "core/cpu_memory.h"

int main(int argc, char** argv) {
  prudent::install_cpu_allocator();  // as the addon does
#ifdef SIGPIPE
  std::signal(SIGPIPE, SIG_IGN);  // as Node does: writing to a rank that is gone is an error, not the end
#endif
  return doctest::Context(argc, argv).run();
}
