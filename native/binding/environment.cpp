#include "binding/environment.h"

#include <ATen/core/grad_mode.h>

#include "binding/arguments.h"
#include "binding/cancel_token.h"
#include "binding/device_scope.h"
#include "binding/process_exit.h"
#include "core/error.h"

namespace prudent::binding {
namespace {

void check(Napi::Env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

Message run(uint64_t id, const std::optional<c10::Stream>& stream, const Job& job, Work& work) {
  Message message{.call = id, .settled = true};
  try {
    const DeviceScope scope(stream);
    const c10::NoGradGuard no_grad;  // training steps turn it on for themselves
    job.poll();
    message.convert = work(job);
    scope.finish();
  } catch (...) {
    message.error = current_error();
  }
  work = nullptr;  // frees the inputs, and the last reference to a disposed model, before the promise settles
  return message;
}

}  // namespace

void Mailbox::open(napi_threadsafe_function wake) {
  const std::lock_guard lock(mutex_);
  wake_ = wake;
}

void Mailbox::send(Message message) {
  const std::lock_guard lock(mutex_);
  if (wake_ == nullptr) return;
  const bool awake = !messages_.empty();
  // Of several progress reports of a call only the latest is of interest.
  if (!message.settled && awake && !messages_.back().settled && messages_.back().call == message.call) {
    messages_.back() = std::move(message);
    return;
  }
  messages_.push_back(std::move(message));
  if (!awake) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

std::vector<Message> Mailbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(messages_, {});
}

void Mailbox::close() {
  std::vector<Message> dropped;
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
  dropped.swap(messages_);
}

Environment::Environment(Napi::Env env) : env_(env) {
  const Napi::String name = Napi::String::New(env, "prudent");
  check(env, napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &wake_));
  check(env, napi_unref_threadsafe_function(env, wake_));
  mailbox_->open(wake_);
  // Hooks run last first: this one before the thread-safe function's own.
  check(env, napi_add_env_cleanup_hook(env, tear_down, this));
}

Environment::~Environment() = default;

void Environment::tear_down(void* self) {
  auto& environment = *static_cast<Environment*>(self);
  environment.mailbox_->close();
  for (auto& [id, call] : environment.calls_) {
    call.task->token->cancel();
    call.target.strand->executor().withdraw(*call.target.strand, call.task);
  }
  environment.calls_.clear();
  environment.constructors.clear();
  ProcessExit::come_first();  // the process may be ending, and what this environment began may still run
}

Napi::Value Environment::start(const CallTarget& target, const Napi::Value& call_argument, Work work) {
  Options options(call_argument, "call");
  auto token = read_cancel_token(options.value("token"));
  const Napi::Value progress = options.value("progress");
  options.finish();
  PRUDENT_CHECK(progress.IsUndefined() || progress.IsFunction(), "E_TYPE", "call.progress", "a function", describe(progress));

  const uint64_t id = next_call_++;
  std::function<void(int64_t, int64_t)> report;
  if (progress.IsFunction()) {
    report = [mailbox = mailbox_, id](int64_t done, int64_t total) { mailbox->send({.call = id, .done = done, .total = total}); };
  }
  auto task = std::make_shared<QueuedJob>();
  task->token = token;
  task->run = [mailbox = mailbox_, id, stream = target.strand->stream(), job = Job(token, std::move(report)),
               work = std::move(work)]() mutable -> Deliver {
    auto message = std::make_shared<Message>(run(id, stream, job, work));
    return [mailbox, message] { mailbox->send(std::move(*message)); };
  };
  target.strand->executor().post(target.strand, task);

  Call call{Napi::Promise::Deferred::New(env_), {}, target, std::move(task)};
  if (progress.IsFunction()) call.progress = Napi::Persistent(progress.As<Napi::Function>());
  const Napi::Value promise = call.deferred.Promise();
  if (calls_.empty()) check(env_, napi_ref_threadsafe_function(env_, wake_));  // an open call keeps the process alive
  calls_.emplace(id, std::move(call));
  if (target.group) ++target.group->active;
  return promise;
}

void Environment::deliver(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;  // the environment is going away
  const Napi::HandleScope scope(env);
  auto& self = *static_cast<Environment*>(context);
  try {
    for (Message& message : self.mailbox_->take()) {
      self.receive(message);
    }
  } catch (const Napi::Error&) {
    // A worker that is being terminated takes no more results.
  }
}

void Environment::receive(Message& message) {
  const auto found = calls_.find(message.call);
  if (found == calls_.end()) return;
  const Napi::HandleScope scope(env_);
  if (!message.settled) {
    report(found->second, message.done, message.total);
    return;
  }
  finish(found, [&](const Napi::Promise::Deferred& deferred) {
    try {
      if (message.convert) {
        deferred.Resolve(message.convert(env_));
      } else {
        deferred.Reject(to_error(env_, message.error).Value());
      }
    } catch (const Napi::Error& error) {  // no memory for the result
      deferred.Reject(error.Value());
    } catch (...) {
      deferred.Reject(to_error(env_, current_error()).Value());
    }
  });
}

void Environment::report(const Call& call, int64_t done, int64_t total) {
  const auto token = call.task->token;
  try {
    call.progress.Call({Napi::Number::New(env_, static_cast<double>(done)), Napi::Number::New(env_, static_cast<double>(total))});
  } catch (const Napi::Error&) {
    token->cancel();  // a listener that throws wants the call to end
  }
}

// The call leaves the table before anything of JavaScript runs: a settled promise may start or dispose of others.
void Environment::finish(std::map<uint64_t, Call>::iterator found,
                         const std::function<void(const Napi::Promise::Deferred&)>& settle) {
  const Call call = std::move(found->second);
  calls_.erase(found);
  if (calls_.empty()) napi_unref_threadsafe_function(env_, wake_);
  settle(call.deferred);
  const auto& group = call.target.group;
  if (group && --group->active == 0) {
    for (const auto& deferred : std::exchange(group->waiting, {})) deferred.Resolve(env_.Undefined());
  }
}

void Environment::withdraw_if(const std::function<bool(const Call&)>& chosen, const char* reason) {
  for (auto next = calls_.begin(); next != calls_.end();) {
    const auto call = next++;
    Strand& strand = *call->second.target.strand;
    if (!chosen(call->second) || !strand.executor().withdraw(strand, call->second.task)) continue;
    finish(call, [&](const Napi::Promise::Deferred& deferred) {
      const Error error("E_CANCELLED", "call", "to run when its turn comes", reason);
      deferred.Reject(to_error(env_, {error.code, error.what(), error.argument, error.expected, error.received}).Value());
    });
  }
}

void Environment::withdraw(const std::shared_ptr<CancelToken>& token) {
  withdraw_if([&](const Call& call) { return call.task->token == token; }, "an abort");
}

void Environment::withdraw(const CallGroup& group) {
  withdraw_if([&](const Call& call) { return call.target.group.get() == &group; }, "dispose()");
}

Napi::Value Environment::settled(const std::shared_ptr<CallGroup>& group) {
  const auto deferred = Napi::Promise::Deferred::New(env_);
  if (group->active == 0) {
    deferred.Resolve(env_.Undefined());
  } else {
    group->waiting.push_back(deferred);
  }
  return deferred.Promise();
}

}  // namespace prudent::binding
