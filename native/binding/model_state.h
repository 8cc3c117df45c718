// What a model handle holds, and what trainers share with it.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>

#include "binding/executor.h"
#include "models/model.h"

namespace prudent::binding {

struct ModelState {
  explicit ModelState(std::shared_ptr<models::Model> model);

  [[nodiscard]] int64_t bytes() const { return model->parameter_bytes(); }

  std::shared_ptr<models::Model> model;
  // Of the model and its trainers: whoever writes the weights stands in the same line as whoever reads them.
  std::shared_ptr<Strand> strand;
  // For readers in another line (a reference model, exactKl): shared by them, held alone by writers.
  std::shared_mutex weights;
  // Every open trainer of these weights holds a copy: its optimiser knows the parameters that there are, no others.
  std::shared_ptr<const char> trainer_ticket = std::make_shared<const char>();
  // E_BUSY while there is such a trainer.
  void check_no_trainer() const;

  // What info() says of the heads: updated by the jobs that change them, read by the environment's thread.
  struct Heads {
    int64_t labels = 0;  // reward heads: of the readout where there is one
    int64_t spread = 0;
    bool value_head = false;
  };
  [[nodiscard]] Heads heads() const;
  [[nodiscard]] int64_t parameter_count() const;
  void refresh_heads();

 private:
  mutable std::mutex heads_mutex_;
  Heads heads_;
  int64_t parameter_count_ = 0;
};

}  // namespace prudent::binding
