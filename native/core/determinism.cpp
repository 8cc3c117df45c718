#include "core/determinism.h"

#include <ATen/Context.h>

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace prudent {

void set_deterministic(bool on) {
  // A workspace of one size whatever the stream: cuBLAS then chooses the same algorithm every time. The user's own setting stays.
  if (on) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().setDeterministicAlgorithms(on, /*warn_only=*/false);
  // Everything that the kernels allocate they also write.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

bool deterministic() { return at::globalContext().deterministicAlgorithms(); }

void apply_determinism_variable() {
  const char* value = std::getenv("PRUDENT_DETERMINISTIC");
  if (value == nullptr || *value == '\0') return;
  const std::string text = value;
  PRUDENT_CHECK(text == "0" || text == "1", "E_RANGE", "PRUDENT_DETERMINISTIC", "0 or 1", text);
  if (text == "1") set_deterministic(true);
}

}  // namespace prudent
