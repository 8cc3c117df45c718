#include "binding/cancel_token.h"

#include "binding/arguments.h"
#include "binding/environment.h"
#include "core/error.h"

namespace prudent::binding {
namespace {

constexpr napi_type_tag kTag = {0x6a1f3c0e9b7d4258, 0x8f20c4d1e65b97a3};

class TokenObject : public Napi::ObjectWrap<TokenObject> {
 public:
  explicit TokenObject(const Napi::CallbackInfo& info) : ObjectWrap(info) { info.This().As<Napi::Object>().TypeTag(&kTag); }

  void cancel(const Napi::CallbackInfo& info) {
    token->cancel();
    Environment::of(info.Env()).withdraw(token);
  }

  std::shared_ptr<CancelToken> token = std::make_shared<CancelToken>();
};

}  // namespace

std::shared_ptr<CancelToken> read_cancel_token(const Napi::Value& value) {
  if (value.IsUndefined()) return std::make_shared<CancelToken>();
  PRUDENT_CHECK(value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kTag), "E_TYPE", "call.token", "a cancel token",
                describe(value));
  return TokenObject::Unwrap(value.As<Napi::Object>())->token;
}

void define_cancel_token(Napi::Env env) {
  Environment::of(env).constructors[&kTag] = Napi::Persistent(
      TokenObject::DefineClass(env, "CancelToken", {TokenObject::InstanceMethod("cancel", &TokenObject::cancel)}));
}

Napi::Value create_cancel_token(const Napi::CallbackInfo& info) {
  return Environment::of(info.Env()).constructors.at(&kTag).New({});
}

}  // namespace prudent::binding
