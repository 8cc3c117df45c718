// What an action fails with.
#pragma once

#include <string>

#include "core/error.h"

namespace prudent::tests {

// The prudent::Error that `action` throws; an empty code when it throws none.
template <typename Action>
Error error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error("", "", "", "");
}

}  // namespace prudent::tests
