// `ops`: the kernels over plain arrays, for tests and benches.
#pragma once

#include <napi.h>

namespace prudent::binding {

Napi::Object define_ops(Napi::Env env);

}  // namespace prudent::binding
