// Errors as they cross the boundary: { message, code, argument, expected, received }.
#pragma once

#include <napi.h>

#include <string>

namespace prudent::binding {

struct ErrorInfo {
  std::string code;
  std::string message;
  std::string argument;
  std::string expected;
  std::string received;
};

// What is being handled, inside a catch block: prudent::Error as it is, libtorch's and the allocator's by their kind.
ErrorInfo current_error();

Napi::Error to_error(Napi::Env env, const ErrorInfo& info);

// For methods that return a Promise: whatever goes wrong before the job is posted rejects it too.
template <typename Body>
Napi::Value promised(Napi::Env env, const Body& body) {
  auto rejected = [&](const Napi::Value& reason) -> Napi::Value {
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(reason);
    return deferred.Promise();
  };
  try {
    return body();
  } catch (const Napi::Error& error) {
    return rejected(error.Value());
  } catch (...) {
    return rejected(to_error(env, current_error()).Value());
  }
}

// For synchronous functions: coded errors are thrown as JavaScript errors.
template <typename Body>
auto thrown(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_error(env, current_error());
  }
}

}  // namespace prudent::binding
