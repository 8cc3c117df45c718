// The processes that train one model together. Collectives are called by all ranks in the same order; each fails with
// E_DISTRIBUTED, which names the rank that ended and why, as soon as one of them is gone.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace prudent::distributed {

struct GroupOptions {
  int rank = 0;
  int size = 1;
  std::string address;  // of the store where ranks meet
  int port = 0;
  // The launcher holds the store (torchrun); otherwise rank 0 does.
  bool launcher_holds_store = false;
  // Tells one start of the ranks from the next where the store outlives them.
  std::string attempt;
  std::chrono::milliseconds timeout = std::chrono::minutes(30);
};

// A collective under way. The tensor must live until wait().
class PendingCollective {
 public:
  virtual ~PendingCollective() = default;
  virtual void wait() = 0;
};

class ProcessGroup {
 public:
  // E_DISTRIBUTED when not all ranks have met within the timeout; E_RANGE for a rank or size that cannot be.
  static std::shared_ptr<ProcessGroup> connect(const GroupOptions& options);
  virtual ~ProcessGroup() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  // Sum over ranks into every rank's tensor (contiguous, on the CPU, fp32 | fp64 | int64); all ranks get the same bits.
  virtual std::unique_ptr<PendingCollective> start_sum(const at::Tensor& values) = 0;
  void sum(const at::Tensor& values) { start_sum(values)->wait(); }
  // [rows of this rank, ...] -> [rows of all ranks, ...], rank after rank; the numbers of rows may differ.
  virtual at::Tensor gather_rows(const at::Tensor& rows) = 0;
  // `root`'s values into every rank's tensor (contiguous, on the CPU, any dtype).
  virtual std::unique_ptr<PendingCollective> start_broadcast(const at::Tensor& values, int root) = 0;
  // Rank 0's text.
  virtual std::string broadcast(const std::string& text) = 0;

  // Tells the other ranks why this one ends, and closes the connections, so that they end too. Never throws.
  virtual void leave(const std::string& reason) noexcept = 0;
};

// No group, or a group of one: there is nobody to wait for.
inline bool is_alone(const std::shared_ptr<ProcessGroup>& group) { return group == nullptr || group->size() == 1; }

}  // namespace prudent::distributed
