// NativeProcessGroup.
#pragma once

#include "binding/handle.h"
#include "training/rank_share.h"

namespace prudent::binding {

struct ProcessGroupState {
  explicit ProcessGroupState(training::Group given) : group(std::move(given)), strand(make_strand(at::kCPU)) {}
  [[nodiscard]] int64_t bytes() const { return 0; }

  training::Group group;
  std::shared_ptr<Strand> strand;
};

class ProcessGroupHandle : public Handle<ProcessGroupHandle, ProcessGroupState> {
 public:
  static constexpr const char* kName = "ProcessGroup";
  static constexpr napi_type_tag kTag = {0x6c1f93a7d80e4b25, 0x9a27d5e0b4f3186c};
  using Handle::Handle;
  static Methods methods();

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value sum(const Napi::CallbackInfo& info);
  Napi::Value broadcast(const Napi::CallbackInfo& info);
  Napi::Value leave(const Napi::CallbackInfo& info);
};

// options.group, or null where there is none.
training::Group read_group(Options& options);
// createProcessGroup(options)
Napi::Value create_process_group(const Napi::CallbackInfo& info);

}  // namespace prudent::binding
