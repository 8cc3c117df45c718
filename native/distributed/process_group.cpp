#include "distributed/process_group.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <mutex>

#include "core/error.h"
#include "distributed/failure_report.h"
#include "distributed/gloo_backend.h"

namespace prudent::distributed {
namespace {

void check_options(const GroupOptions& options) {
  PRUDENT_CHECK(options.size >= 1, "E_RANGE", "WORLD_SIZE", "at least 1", std::to_string(options.size));
  PRUDENT_CHECK(options.rank >= 0 && options.rank < options.size, "E_RANGE", "RANK",
                "a number in [0, " + std::to_string(options.size) + ")", std::to_string(options.rank));
  PRUDENT_CHECK(options.port >= 1 && options.port <= 65535, "E_RANGE", "MASTER_PORT", "a number in [1, 65535]",
                std::to_string(options.port));
}

c10::intrusive_ptr<c10d::Store> open_store(const GroupOptions& options) {
  c10d::TCPStoreOptions store;
  store.port = static_cast<uint16_t>(options.port);
  store.isServer = options.rank == 0 && !options.launcher_holds_store;
  store.numWorkers = options.size;
  store.waitWorkers = false;  // the connections that follow wait for everyone
  store.timeout = options.timeout;
  auto opened = c10::make_intrusive<c10d::TCPStore>(options.address, store);
  return c10::make_intrusive<c10d::PrefixStore>("prudent/" + options.attempt, std::move(opened));
}

// Called back where a collective has failed; throws.
using Explain = std::function<void(const std::exception&)>;

class GlooCollective final : public PendingCollective {
 public:
  GlooCollective(c10::intrusive_ptr<c10d::Work> work, Explain explain) : work_(std::move(work)), explain_(std::move(explain)) {}
  void wait() override {
    try {
      work_->wait();
    } catch (const std::exception& error) {
      explain_(error);
    }
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
  Explain explain_;
};

class GlooGroup final : public ProcessGroup {
 public:
  explicit GlooGroup(const GroupOptions& options)
      : options_(options),
        store_(open_store(options)),
        failures_(store_, options.rank, options.size, options.launcher_holds_store),
        backend_(make_gloo_backend(c10::make_intrusive<c10d::PrefixStore>("gloo", store_), options.rank, options.size,
                                   options.timeout)) {}
  ~GlooGroup() override { backend_.reset(); }

  [[nodiscard]] int rank() const override { return options_.rank; }
  [[nodiscard]] int size() const override { return options_.size; }

  std::unique_ptr<PendingCollective> start_sum(const at::Tensor& values) override {
    return start([&] {
      std::vector<at::Tensor> tensors{values};
      return backend()->allreduce(tensors);
    });
  }

  at::Tensor gather_rows(const at::Tensor& rows) override {
    // All rows at their places of a tensor of zeros: ranks have different numbers of them, and a sum with zeros changes no bit.
    const at::Tensor counts = at::zeros({size()}, at::kLong);
    counts.mutable_data_ptr<int64_t>()[rank()] = rows.size(0);
    sum(counts);
    const int64_t* count = counts.const_data_ptr<int64_t>();
    std::vector<int64_t> shape = rows.sizes().vec();
    int64_t first = 0;
    shape[0] = 0;
    for (int other = 0; other < size(); ++other) {
      if (other < rank()) first += count[other];
      shape[0] += count[other];
    }
    const at::Tensor all = at::zeros(shape, rows.options());
    if (all.numel() == 0) return all;
    all.narrow(0, first, rows.size(0)).copy_(rows);
    sum(all);
    return all;
  }

  std::unique_ptr<PendingCollective> start_broadcast(const at::Tensor& values, int root) override {
    return start([&] {
      // As bytes: Gloo does not know every dtype.
      const auto keep = [values](void*) {};  // a broadcast that fails may still be under way when its caller gives up
      std::vector<at::Tensor> tensors{
          at::from_blob(values.mutable_data_ptr(), {static_cast<int64_t>(values.nbytes())}, keep, at::kByte)};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      return backend()->broadcast(tensors, options);
    });
  }

  std::string broadcast(const std::string& text) override {
    const at::Tensor length = at::zeros({1}, at::kLong);
    length.mutable_data_ptr<int64_t>()[0] = static_cast<int64_t>(text.size());
    start_broadcast(length, 0)->wait();
    std::string result(static_cast<size_t>(length.const_data_ptr<int64_t>()[0]), '\0');
    if (result.empty()) return result;
    if (rank() == 0) result = text;
    start_broadcast(at::from_blob(result.data(), {static_cast<int64_t>(result.size())}, at::kByte), 0)->wait();
    return result;
  }

  void leave(const std::string& reason) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      if (backend_ == nullptr) return;
      failures_.tell(reason);
      backend_.reset();  // whoever waits for this rank sees the connection end
    }
    failures_.wait_until_read();
  }

 private:
  c10::intrusive_ptr<c10d::Backend> backend() {
    const std::lock_guard lock(mutex_);
    PRUDENT_CHECK(backend_ != nullptr, "E_DISPOSED", "group", "a group that this rank has not left", "one that it has left");
    return backend_;
  }

  template <typename Start>
  std::unique_ptr<PendingCollective> start(const Start& begin) {
    const Explain explain = [this](const std::exception& error) { failures_.explain(error); };
    try {
      return std::make_unique<GlooCollective>(begin(), explain);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      explain(error);
      throw;
    }
  }

  GroupOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  FailureReport failures_;
  std::mutex mutex_;  // of backend_
  c10::intrusive_ptr<c10d::Backend> backend_;
};

}  // namespace

std::shared_ptr<ProcessGroup> ProcessGroup::connect(const GroupOptions& options) {
  check_options(options);
  try {
    return std::make_shared<GlooGroup>(options);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("E_DISTRIBUTED", options.address + ":" + std::to_string(options.port),
         "all " + std::to_string(options.size) + " ranks to meet there (MASTER_ADDR, MASTER_PORT)", first_line(error.what()));
  }
}

}  // namespace prudent::distributed
