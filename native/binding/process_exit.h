// The process may end (process.exit, a signal handler, an uncaught error) while lanes compute. Static destructors of libtorch
// would then pull the ground from under them.
#pragma once

#include <memory>

#include "core/job.h"

namespace prudent::binding {

class ProcessExit {
 public:
  // C runs its exit handlers last registered first, and libtorch registers destructors whenever something is used for the first
  // time (autograd's engine at the first backward). Registers ours anew, so that it runs before all that is there by now.
  static void come_first();
  // For the last moment before exit(): stops what runs and comes first.
  static void prepare();

  // Marks a job as running on this thread for as long as it lives.
  class Running {
   public:
    explicit Running(std::shared_ptr<CancelToken> token);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    std::shared_ptr<CancelToken> token_;
  };
};

}  // namespace prudent::binding
