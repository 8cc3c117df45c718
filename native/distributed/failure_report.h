// Why a group ended: each rank leaves a word in the store, and those who are cut off look there before they give up.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <exception>
#include <string>

namespace prudent::distributed {

std::string first_line(const std::string& text);

class FailureReport {
 public:
  FailureReport(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool launcher_holds_store);

  // This rank ends because of `reason`.
  void tell(const std::string& reason) noexcept;
  // E_DISTRIBUTED with the ranks that ended, their reasons where they told them, or `error` itself.
  [[noreturn]] void explain(const std::exception& error);
  // The rank that holds the store stays until the others have had the time to read it.
  void wait_until_read() noexcept;

 private:
  [[nodiscard]] bool is_set(const std::string& key);
  [[nodiscard]] std::string describe(int rank);
  [[nodiscard]] bool everyone_else_told();

  c10::intrusive_ptr<c10d::Store> store_;
  int rank_, size_;
  bool launcher_holds_store_;
  bool told_ = false;
};

}  // namespace prudent::distributed
