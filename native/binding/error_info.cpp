#include "binding/error_info.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>

#include "core/error.h"

namespace prudent::binding {
namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// libtorch's CPU allocator reports exhaustion as a plain c10::Error.
bool speaks_of_memory(const std::string& text) {
  for (const char* phrase : {"not enough memory", "can't allocate memory", "out of memory"}) {
    if (text.find(phrase) != std::string::npos) return true;
  }
  return false;
}

ErrorInfo out_of_memory(const std::string& detail) { return {"E_OUT_OF_MEMORY", "memory ran out: " + detail, "", "", ""}; }

}  // namespace

ErrorInfo current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code, error.what(), error.argument, error.expected, error.received};
  } catch (const c10::OutOfMemoryError& error) {
    return out_of_memory(first_line(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return speaks_of_memory(text) ? out_of_memory(first_line(text))
                                  : ErrorInfo{"E_INTERNAL", "libtorch: " + first_line(text), "", "", ""};
  } catch (const std::bad_alloc&) {
    return out_of_memory("an allocation failed");
  } catch (const std::exception& error) {
    return {"E_INTERNAL", first_line(error.what()), "", "", ""};
  } catch (...) {
    return {"E_INTERNAL", "an unknown error", "", "", ""};
  }
}

Napi::Error to_error(Napi::Env env, const ErrorInfo& info) {
  Napi::Error error = Napi::Error::New(env, info.message);
  error.Set("code", info.code);
  if (!info.argument.empty()) {
    error.Set("argument", info.argument);
    error.Set("expected", info.expected);
    error.Set("received", info.received);
  }
  return error;
}

}  // namespace prudent::binding
