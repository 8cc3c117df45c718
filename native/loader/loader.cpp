// Opens shared libraries by absolute path, so that prudent.node, which has no RUNPATH, finds libtorch already loaded wherever it
// lies. LD_LIBRARY_PATH cannot be changed inside a process; RTLD_GLOBAL would let libtorch's symbols into the host's.
// This addon links nothing but libc, so that requiring it always works and a missing libtorch becomes an error, not a crash.
#include <dlfcn.h>
#include <node_api.h>

#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

// OpenMP's threads spin at the end of every parallel region, by default for about a millisecond. Beside any other busy process
// that makes small operations ten times slower. libgomp reads this when it is opened; what the user has set stays.
void bound_spinning() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "1000", 0);
}

napi_value fail(napi_env env, const std::string& message) {
  napi_throw_error(env, "E_LIBTORCH", message.c_str());
  return nullptr;
}

bool read_string(napi_env env, napi_callback_info info, std::string& text) {
  size_t count = 1;
  napi_value argument = nullptr;
  size_t length = 0;
  if (napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr) != napi_ok || count < 1) return false;
  if (napi_get_value_string_utf8(env, argument, nullptr, 0, &length) != napi_ok) return false;
  text.resize(length);
  return napi_get_value_string_utf8(env, argument, text.data(), length + 1, &length) == napi_ok;
}

// open(file): loads the library for the rest of the process's life. Opening it again, from any thread, only counts up.
napi_value open_library(napi_env env, napi_callback_info info) {
  std::string file;
  if (!read_string(env, info, file)) return fail(env, "file: expected a string");
  bound_spinning();
  if (dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) return fail(env, dlerror());
  return nullptr;
}

// abiVersion(file) -> "2.13.0": what the loaded libtorch_cpu says of itself; undefined when it is not loaded or does not say.
napi_value abi_version(napi_env env, napi_callback_info info) {
  std::string file;
  if (!read_string(env, info, file)) return fail(env, "file: expected a string");
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (library == nullptr) return nullptr;
  const auto function = reinterpret_cast<uint64_t (*)()>(dlsym(library, "aoti_torch_abi_version"));
  const uint64_t version = function == nullptr ? 0 : function();
  dlclose(library);
  if (version == 0) return nullptr;
  const std::string text =
      std::to_string(version >> 56) + "." + std::to_string(version >> 48 & 255) + "." + std::to_string(version >> 40 & 255);
  napi_value result = nullptr;
  napi_create_string_utf8(env, text.c_str(), text.size(), &result);
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  const napi_property_descriptor properties[] = {
      {"open", nullptr, open_library, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"abiVersion", nullptr, abi_version, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, 2, properties) == napi_ok ? exports : nullptr;
}
