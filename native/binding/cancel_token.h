// createCancelToken(): an object with cancel(), handed to any number of calls.
#pragma once

#include <napi.h>

#include <memory>

#include "core/job.h"

namespace prudent::binding {

// The token of an argument; a fresh one for undefined. E_TYPE for anything else.
std::shared_ptr<CancelToken> read_cancel_token(const Napi::Value& value);
Napi::Value create_cancel_token(const Napi::CallbackInfo& info);
void define_cancel_token(Napi::Env env);

}  // namespace prudent::binding
