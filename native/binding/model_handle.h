// NativeModel.
#pragma once

#include "binding/handle.h"
#include "binding/model_state.h"

namespace prudent::binding {

class ModelHandle : public Handle<ModelHandle, ModelState> {
 public:
  static constexpr const char* kName = "Model";
  static constexpr napi_type_tag kTag = {0x3d5be6f1a8c94702, 0xa1d07c35f92e8b64};
  using Handle::Handle;
  static Methods methods();

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value training_memory(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value computed_tokens(const Napi::CallbackInfo& info);
  Napi::Value logprobs(const Napi::CallbackInfo& info);
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value hidden_states(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value cache_features(const Napi::CallbackInfo& info);
  Napi::Value score_weight(const Napi::CallbackInfo& info);
  Napi::Value set_score_weight(const Napi::CallbackInfo& info);
  Napi::Value set_readout(const Napi::CallbackInfo& info);
  Napi::Value load_readout(const Napi::CallbackInfo& info);
  Napi::Value save_readout(const Napi::CallbackInfo& info);
  Napi::Value set_prefix(const Napi::CallbackInfo& info);
  Napi::Value add_value_head(const Napi::CallbackInfo& info);
  Napi::Value clone(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);

  // Rows in, one fp32 array out: hiddenStates, logits.
  using RowFunction = at::Tensor (*)(const models::Model&, const training::TokenRows&, int64_t, const Job&);
  Napi::Value over_rows(const Napi::CallbackInfo& info, RowFunction function);
  // The same where rows may share what they begin with: logprobs.
  using PrefixRowFunction = at::Tensor (*)(const models::Model&, const training::TokenRows&, int64_t, const Job&, bool);
  Napi::Value over_rows(const Napi::CallbackInfo& info, PrefixRowFunction function);
};

// loadModel(folder, options, call?), createModel(configJson, options), exactKl(policy, reference, rows, promptLengths, options,
// call?)
Napi::Value load_model(const Napi::CallbackInfo& info);
Napi::Value create_model(const Napi::CallbackInfo& info);
Napi::Value exact_kl(const Napi::CallbackInfo& info);

}  // namespace prudent::binding
