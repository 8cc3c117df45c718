// The process may end (process.exit, a signal handler, an uncaught error) while lanes compute. Static destructors of libtorch
// would then pull the ground from under them.
#pragma once

#include <memory>

#include "core/job.h"

namespace prudent::binding {

class ProcessExit {
 public:
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
