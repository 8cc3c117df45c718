// A JavaScript object over native state: one strand, one group of calls, dispose().
#pragma once

#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/environment.h"
#include "binding/error_info.h"
#include "core/error.h"

namespace prudent::binding {

// Derived has `static constexpr const char* kName`, `static constexpr napi_type_tag kTag` and `static auto methods()`; State has
// `strand` (shared by handles that work on the same weights) and `bytes()`, the memory that the garbage collector should know of.
template <typename Derived, typename State>
class Handle : public Napi::ObjectWrap<Derived> {
 public:
  using Method = Napi::Value (Derived::*)(const Napi::CallbackInfo&);
  using Methods = std::vector<Napi::ClassPropertyDescriptor<Derived>>;

  explicit Handle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Derived>(info) {
    auto* state = std::any_cast<std::shared_ptr<State>>(&Environment::of(info.Env()).handover);
    if (state == nullptr)
      throw to_error(info.Env(), {"E_USAGE", std::string(Derived::kName) + " is made by the addon, not by new"});
    state_ = std::move(*state);
    Environment::of(info.Env()).handover.reset();
    bytes_ = state_->bytes();
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes_);
    info.This().template As<Napi::Object>().TypeTag(&Derived::kTag);
  }
  void Finalize(Napi::Env env) override { release(env); }

  static void define(Napi::Env env) {
    Methods methods = Derived::methods();
    methods.push_back(promised_method<&Handle::dispose>("dispose"));
    Environment::of(env).constructors[&Derived::kTag] = Napi::Persistent(Derived::DefineClass(env, Derived::kName, methods));
  }
  static Napi::Object wrap(Napi::Env env, std::shared_ptr<State> state) {
    Environment& environment = Environment::of(env);
    environment.handover = std::move(state);
    return environment.constructors.at(&Derived::kTag).New({});
  }
  // The state of a handle given as an argument.
  static std::shared_ptr<State> read(const Napi::Value& value, const char* name) {
    PRUDENT_CHECK(value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&Derived::kTag), "E_TYPE", name,
                  std::string("a ") + Derived::kName, describe(value));
    return Derived::Unwrap(value.As<Napi::Object>())->open(name);
  }

 protected:
  // A method that returns a Promise: what fails before the job is posted rejects it.
  template <auto member>
  static Napi::ClassPropertyDescriptor<Derived> promised_method(const char* name) {
    constexpr auto guarded = &Handle::template call_promised<member>;
    return Napi::ObjectWrap<Derived>::InstanceMethod(name, static_cast<Method>(guarded));
  }
  template <auto member>
  static Napi::ClassPropertyDescriptor<Derived> thrown_method(const char* name) {
    constexpr auto guarded = &Handle::template call_thrown<member>;
    return Napi::ObjectWrap<Derived>::InstanceMethod(name, static_cast<Method>(guarded));
  }

  // E_DISPOSED once dispose() was called.
  std::shared_ptr<State> open(const char* name = Derived::kName) const {
    PRUDENT_CHECK(!group_->disposed, "E_DISPOSED", name, "an open handle", "one that was disposed of");
    return state_;
  }

  // compute(State&, const Job&) on the handle's strand, which keeps the state alive.
  template <typename Compute, typename Convert_ = std::nullptr_t>
  Napi::Value submit(const Napi::CallbackInfo& info, size_t call_index, Compute compute, Convert_ convert = nullptr) {
    auto state = open();
    const CallTarget target{state->strand, group_};
    auto on_state = [state, compute = std::move(compute)](const Job& job) mutable { return compute(*state, job); };
    state.reset();
    return binding::submit(info.Env(), target, info[call_index], std::move(on_state), std::move(convert));
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    Environment& environment = Environment::of(info.Env());
    if (!group_->disposed) {
      group_->disposed = true;
      environment.withdraw(*group_);
      release(info.Env());
    }
    return environment.settled(group_);
  }

 private:
  template <auto member>
  Napi::Value call_promised(const Napi::CallbackInfo& info) {
    return promised(info.Env(), [&] { return (static_cast<Derived*>(this)->*member)(info); });
  }
  template <auto member>
  Napi::Value call_thrown(const Napi::CallbackInfo& info) {
    return thrown(info.Env(), [&] { return (static_cast<Derived*>(this)->*member)(info); });
  }
  // A running call holds the state until it ends.
  void release(Napi::Env env) {
    state_.reset();
    if (bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(env, -bytes_);
    bytes_ = 0;
  }

  std::shared_ptr<State> state_;
  std::shared_ptr<CallGroup> group_ = std::make_shared<CallGroup>();
  int64_t bytes_ = 0;
};

}  // namespace prudent::binding
