// Coded errors. Every failure that a caller can see is a prudent::Error with a stable code; the table of codes is
// ts/errors.ts. Messages follow one form: "<argument>: expected <expected>, received <received>".
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace prudent {

class Error : public std::runtime_error {
 public:
  Error(std::string code, std::string argument, std::string expected, std::string received)
      : std::runtime_error(argument + ": expected " + expected + ", received " + received),
        code(std::move(code)),
        argument(std::move(argument)),
        expected(std::move(expected)),
        received(std::move(received)) {}

  std::string code;
  std::string argument;
  std::string expected;
  std::string received;
};

[[noreturn]] inline void fail(const char* code, std::string argument, std::string expected, std::string received) {
  throw Error(code, std::move(argument), std::move(expected), std::move(received));
}

}  // namespace prudent

// Arguments after `condition` are evaluated only on failure.
#define PRUDENT_CHECK(condition, code, argument, expected, received) \
  do {                                                               \
    if (!(condition)) [[unlikely]] {                                 \
      ::prudent::fail((code), (argument), (expected), (received));   \
    }                                                                \
  } while (false)
