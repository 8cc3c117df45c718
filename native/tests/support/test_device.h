// Where the models of the tests live: PRUDENT_TEST_DEVICE (cpu unless set), so that on a GPU box the tests of models and
// training run a second time with cuda, against the same golden data and tolerances.
#pragma once

#include <cstdlib>
#include <string>

#include "core/determinism.h"
#include "core/device.h"
#include "core/error.h"

namespace prudent::tests {

inline at::Device test_device() {
  apply_determinism_variable();
  const char* name = std::getenv("PRUDENT_TEST_DEVICE");
  return parse_device(name == nullptr ? "cpu" : name);
}

// Is there a GPU, and a build with kernels for it?
inline bool has_cuda() {
#ifdef PRUDENT_CUDA
  try {
    return parse_device("cuda").is_cuda();
  } catch (const Error&) {
    return false;
  }
#else
  return false;
#endif
}

}  // namespace prudent::tests
