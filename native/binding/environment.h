// What belongs to one Node environment (the main thread or a worker thread): its open calls, and the way results come back to
// it. Other threads touch the Mailbox only; an environment that goes away closes it first.
#pragma once

#include <napi.h>

#include <any>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "binding/error_info.h"
#include "binding/executor.h"
#include "core/job.h"

namespace prudent::binding {

// Makes the JavaScript value of a result; runs on the environment's thread.
using Convert = std::function<Napi::Value(Napi::Env)>;
// Runs on a lane; throws what went wrong.
using Work = std::function<Convert(const Job&)>;

struct Message {
  uint64_t call = 0;
  bool settled = false;
  int64_t done = 0, total = 0;  // progress, when not settled
  Convert convert;              // result, empty when failed
  ErrorInfo error;
};

// Carries messages from lanes to an environment's thread.
class Mailbox {
 public:
  void open(napi_threadsafe_function wake);
  // Called from any thread; nothing happens once the mailbox is closed.
  void send(Message message);
  std::vector<Message> take();
  void close();

 private:
  std::mutex mutex_;
  napi_threadsafe_function wake_ = nullptr;
  std::vector<Message> messages_;
};

// The calls of one handle: what dispose() cancels and waits for.
struct CallGroup {
  bool disposed = false;
  int active = 0;
  std::vector<Napi::Promise::Deferred> waiting;  // resolved when no call is active any more
};

struct CallTarget {
  std::shared_ptr<Strand> strand;
  std::shared_ptr<CallGroup> group;
};

class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  // Posts `work`; `call` is { token?, progress? } or undefined. -> the promise of its result.
  Napi::Value start(const CallTarget& target, const Napi::Value& call, Work work);
  // Reject what waits with E_CANCELLED: calls that carry `token`, or those of a handle that is disposed of.
  void withdraw(const std::shared_ptr<CancelToken>& token);
  void withdraw(const CallGroup& group);
  // Resolved as soon as no call of the group is active.
  Napi::Value settled(const std::shared_ptr<CallGroup>& group);

  // Classes by their type tag, and the state that the next constructed handle takes over.
  std::unordered_map<const void*, Napi::FunctionReference> constructors;
  std::any handover;

 private:
  struct Call {
    Napi::Promise::Deferred deferred;
    Napi::FunctionReference progress;
    CallTarget target;
    std::shared_ptr<QueuedJob> task;
  };
  static void deliver(napi_env env, napi_value, void* context, void*);
  static void tear_down(void* self);
  void receive(Message& message);
  void report(const Call& call, int64_t done, int64_t total);
  void withdraw_if(const std::function<bool(const Call&)>& chosen, const char* reason);
  void finish(std::map<uint64_t, Call>::iterator call, const std::function<void(const Napi::Promise::Deferred&)>& settle);

  Napi::Env env_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  napi_threadsafe_function wake_ = nullptr;
  std::map<uint64_t, Call> calls_;
  uint64_t next_call_ = 1;
};

}  // namespace prudent::binding
