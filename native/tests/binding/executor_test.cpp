// The executor by itself and with models on its lanes.
#include "binding/executor.h"

#include <ATen/core/grad_mode.h>

#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "support/error_code.h"
#include "support/tiny_model.h"
#include "training/inference.h"
#include "training/reward_trainer.h"

// Last: libtorch's logging, which the stream guard brings, has a CHECK of its own that ends the process.
#include <doctest/doctest.h>

namespace prudent::binding {
namespace {

using tests::error_of;
using training::TokenRows;

constexpr int kLanes = 3;
constexpr const char* kConfig =
    R"({"model_type":"llama","vocab_size":29,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"max_position_embeddings":48,"head_dim":6,"num_labels":2})";
const TokenRows kChosen{{3, 4, 5, 9, 7, 7, 8}, {3, 1, 3}};
const TokenRows kRejected{{3, 4, 6, 10, 7, 11}, {3, 1, 2}};

std::shared_ptr<Executor> lanes(int count = kLanes) { return std::make_shared<Executor>(ExecutorShape{count, 1}); }

std::shared_ptr<QueuedJob> job(
    std::function<void()> body, std::function<void()> deliver = [] {}) {
  auto queued = std::make_shared<QueuedJob>();
  queued->token = std::make_shared<CancelToken>();
  queued->run = [body = std::move(body), deliver = std::move(deliver)]() -> Deliver {
    body();
    return deliver;
  };
  return queued;
}

// A job that holds its lane until it is let go.
struct Gate {
  std::latch entered{1}, open{1};
  std::shared_ptr<QueuedJob> task = job([this] {
    entered.count_down();
    open.wait();
  });
};

}  // namespace

TEST_CASE("executor: the jobs of a strand run one at a time and in order, those of several strands side by side") {
  constexpr int kStrands = 8, kJobs = 40;
  const auto executor = lanes();
  std::vector<std::vector<int>> ran(kStrands), delivered(kStrands);
  std::atomic<int> overlaps{0};
  std::latch done(kStrands * kJobs);
  std::vector<std::atomic<int>> at_work(kStrands);
  std::vector<std::shared_ptr<Strand>> strands;
  for (int s = 0; s < kStrands; ++s) strands.push_back(std::make_shared<Strand>(executor));
  for (int j = 0; j < kJobs; ++j) {
    for (int s = 0; s < kStrands; ++s) {
      // Plain vectors: that two jobs of a strand never meet is what makes this right.
      executor->post(strands[s], job(
                                     [&, s, j] {
                                       if (++at_work[s] > 1) ++overlaps;
                                       ran[s].push_back(j);
                                       --at_work[s];
                                     },
                                     [&, s, j] {
                                       delivered[s].push_back(j);
                                       done.count_down();
                                     }));
    }
  }
  done.wait();
  CHECK(overlaps == 0);
  for (int s = 0; s < kStrands; ++s) {
    REQUIRE(ran[s].size() == kJobs);
    for (int j = 0; j < kJobs; ++j) CHECK(ran[s][j] == j);
    CHECK(delivered[s] == ran[s]);
  }
}

TEST_CASE("executor: what is withdrawn never runs, what runs cannot be withdrawn") {
  const auto executor = lanes(1);
  const auto strand = std::make_shared<Strand>(executor);
  Gate gate;
  std::atomic<bool> ran{false};
  std::latch last(1);
  const auto waiting = job([&] { ran = true; });
  executor->post(strand, gate.task);
  executor->post(strand, waiting);
  gate.entered.wait();
  CHECK_FALSE(executor->withdraw(*strand, gate.task));
  CHECK(executor->withdraw(*strand, waiting));
  CHECK_FALSE(executor->withdraw(*strand, waiting));
  executor->post(strand, job([] {}, [&] { last.count_down(); }));
  gate.open.count_down();
  last.wait();
  CHECK_FALSE(ran);
}

TEST_CASE("executor: queues are bounded, and lanes change only while nothing runs") {
  const auto executor = lanes(1);
  const auto strand = std::make_shared<Strand>(executor);
  Gate gate;
  std::latch done(Executor::kMaxWaitingPerStrand);
  executor->post(strand, gate.task);
  gate.entered.wait();
  for (size_t j = 0; j < Executor::kMaxWaitingPerStrand; ++j) {
    executor->post(strand, job([] {}, [&] { done.count_down(); }));
  }
  CHECK(error_of([&] { executor->post(strand, job([] {})); }).code == "E_BUSY");
  CHECK(error_of([&] { executor->configure({1, 1}); }).code == "E_BUSY");
  CHECK(error_of([&] { executor->configure({0, 1}); }).code == "E_RANGE");
  CHECK(error_of([&] { executor->configure({Executor::cores() + 1, 1}); }).code == "E_RANGE");
  gate.open.count_down();
  done.wait();
  // The last result is delivered once nothing is counted as running.
  executor->configure({1, 1});
  std::latch again(1);
  executor->post(strand, job([] {}, [&] { again.count_down(); }));
  again.wait();
  CHECK(executor->shape().lanes == 1);
}

TEST_CASE("executor: a strand may go while its job runs") {
  const auto executor = lanes(1);
  auto strand = std::make_shared<Strand>(executor);
  const std::weak_ptr<Strand> gone = strand;
  Gate gate;
  executor->post(strand, gate.task);
  gate.entered.wait();
  strand.reset();
  CHECK_FALSE(gone.expired());
  gate.open.count_down();
  // Behind it on the one lane, so that the lane has let go of the first strand.
  std::latch later(1);
  const auto other = std::make_shared<Strand>(executor);
  executor->post(other, job([] {}, [&] { later.count_down(); }));
  later.wait();
  CHECK(gone.expired());
}

TEST_CASE("executor: models train and score side by side, and a shared one is read by all, as each would alone") {
  constexpr int kModels = 4, kSteps = 3;
  const auto classifier = [] { return tests::tiny_model(kConfig, models::Task::SequenceClassification, at::kFloat); };
  const auto shared = classifier();
  struct Result {
    std::vector<double> losses;
    at::Tensor scores;
  };
  const auto work = [&](Result& result) {
    training::RewardTrainer trainer(classifier(), {.batch_tokens = 64});
    for (int s = 0; s < kSteps; ++s) result.losses.push_back(trainer.step(kChosen, kRejected, 1e-2, Job()).loss);
    result.scores = training::score_rows(*shared, kChosen, 64, Job());
  };
  Result alone;
  work(alone);
  REQUIRE(alone.losses.back() < alone.losses.front());

  const auto executor = lanes();
  std::vector<Result> results(kModels);
  std::latch done(kModels);
  std::vector<std::shared_ptr<Strand>> strands;
  for (Result& result : results) {
    strands.push_back(std::make_shared<Strand>(executor));
    executor->post(strands.back(), job([&work, &result] { work(result); }, [&] { done.count_down(); }));
  }
  done.wait();
  for (const Result& result : results) {
    CHECK(result.losses == alone.losses);
    CHECK(result.scores.equal(alone.scores));
  }
}

TEST_CASE("executor: a cancel from another thread ends a computation between micro-batches") {
  const auto model = tests::tiny_model(kConfig, models::Task::SequenceClassification, at::kFloat);
  const auto executor = lanes();
  const auto strand = std::make_shared<Strand>(executor);
  const auto token = std::make_shared<CancelToken>();
  std::string code;
  std::latch first(1), done(1);
  std::atomic<bool> reported{false};
  const Job told(token, [&](int64_t, int64_t) {
    if (!reported.exchange(true)) first.count_down();
    while (!token->cancelled()) std::this_thread::yield();
  });
  executor->post(strand, job([&] { code = error_of([&] { training::score_rows(*model, kChosen, 1, told, false); }).code; },
                             [&] { done.count_down(); }));
  first.wait();
  token->cancel();
  done.wait();
  CHECK(code == "E_CANCELLED");
}

}  // namespace prudent::binding
