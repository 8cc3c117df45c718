#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "core/cpu_memory.h"

int main(int argc, char** argv) {
  prudent::install_cpu_allocator();  // as the addon does
  return doctest::Context(argc, argv).run();
}
