// systemInfo(): all that a bug report asks for.
#pragma once

#include <napi.h>

namespace prudent::binding {

Napi::Value system_info(const Napi::CallbackInfo& info);
// configureExecutor({ lanes, threadsPerLane, deterministic? })
Napi::Value configure_executor(const Napi::CallbackInfo& info);

}  // namespace prudent::binding
