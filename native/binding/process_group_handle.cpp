#include "binding/process_group_handle.h"

#include <ATen/ops/tensor.h>

#include <chrono>

namespace prudent::binding {

ProcessGroupHandle::Methods ProcessGroupHandle::methods() {
  return {
      thrown_method<&ProcessGroupHandle::info>("info"),
      promised_method<&ProcessGroupHandle::sum>("sum"),
      promised_method<&ProcessGroupHandle::broadcast>("broadcast"),
      promised_method<&ProcessGroupHandle::leave>("leave"),
  };
}

Napi::Value ProcessGroupHandle::info(const Napi::CallbackInfo& info) {
  const auto state = open();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("rank", state->group->rank());
  result.Set("size", state->group->size());
  return result;
}

Napi::Value ProcessGroupHandle::sum(const Napi::CallbackInfo& info) {
  auto values = read_floats(info[0], "values");
  return submit(
      info, 1,
      [values = std::move(values)](ProcessGroupState& state, const Job&) {
        const at::Tensor sums = at::tensor(values, at::kFloat);
        if (!values.empty()) state.group->sum(sums);
        return sums;
      },
      [](Napi::Env env, const at::Tensor& sums) { return to_float32_array(env, sums); });
}

Napi::Value ProcessGroupHandle::broadcast(const Napi::CallbackInfo& info) {
  const std::string text = read_string(info[0], "text");
  return submit(
      info, 1, [text](ProcessGroupState& state, const Job&) { return state.group->broadcast(text); },
      [](Napi::Env env, const std::string& received) { return Napi::String::New(env, received); });
}

Napi::Value ProcessGroupHandle::leave(const Napi::CallbackInfo& info) {
  const std::string reason = read_string(info[0], "reason");
  return submit(info, 1, [reason](ProcessGroupState& state, const Job&) { state.group->leave(reason); });
}

training::Group read_group(Options& options) {
  return options.has("group") ? ProcessGroupHandle::read(options.value("group"), "options.group")->group : nullptr;
}

Napi::Value create_process_group(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    Options options(info[0], "options");
    distributed::GroupOptions parsed;
    parsed.size = static_cast<int>(options.integer("size", std::nullopt, 1, 1 << 20));
    parsed.rank = static_cast<int>(options.integer("rank", std::nullopt, 0, 1 << 20));
    parsed.address = options.text("address");
    parsed.port = static_cast<int>(options.integer("port", std::nullopt, 1, 65535));
    parsed.launcher_holds_store = options.flag("launcherHoldsStore", false);
    parsed.attempt = options.text("attempt", std::string("0"));
    const double seconds = options.number("timeoutSeconds", 1800.0, {.low = 0, .high = 1e6, .low_open = true});
    parsed.timeout = std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
    options.finish();
    return submit(
        info.Env(), free_target(), info[1],
        [parsed](const Job&) { return std::make_shared<ProcessGroupState>(distributed::ProcessGroup::connect(parsed)); },
        [](Napi::Env env, std::shared_ptr<ProcessGroupState>& state) { return ProcessGroupHandle::wrap(env, std::move(state)); });
  });
}

}  // namespace prudent::binding
