#include "distributed/process_group.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <mutex>

#include "support/error_code.h"
#include "support/ranks.h"

using namespace prudent;
using namespace prudent::tests;
using distributed::ProcessGroup;

using Group = std::shared_ptr<ProcessGroup>;

TEST_CASE("process group: sums give every rank the same bits") {
  for (const int size : {2, 3}) {
    std::vector<at::Tensor> sums(static_cast<size_t>(size)), inputs(static_cast<size_t>(size));
    for (at::Tensor& input : inputs) input = at::rand({100'003});
    run_ranks(size, [&](const Group& group) {
      at::Tensor& own = sums[static_cast<size_t>(group->rank())];
      own = inputs[static_cast<size_t>(group->rank())].clone();
      group->sum(own);
    });
    at::Tensor expected = at::zeros({100'003});
    for (const at::Tensor& input : inputs) expected.add_(input);
    for (const at::Tensor& sum : sums) {
      CHECK(at::equal(sum, sums.front()));
      CHECK((sum - expected).abs().max().item<float>() < 1e-6f);
    }
    CHECK(!at::equal(sums.front(), inputs.front()));
  }
}

TEST_CASE("process group: several sums under way at once") {
  run_ranks(2, [](const Group& group) {
    std::vector<at::Tensor> values;
    std::vector<std::unique_ptr<distributed::PendingCollective>> pending;
    for (int i = 0; i < 8; ++i) values.push_back(at::full({1000}, i + group->rank(), at::kDouble));
    for (const at::Tensor& value : values) pending.push_back(group->start_sum(value));
    for (const auto& one : pending) one->wait();
    for (int i = 0; i < 8; ++i) CHECK(values[static_cast<size_t>(i)][999].item<double>() == 2 * i + 1);
  });
}

TEST_CASE("process group: rows come together in the order of the ranks, also from a rank that has none") {
  run_ranks(3, [](const Group& group) {
    const int64_t rows = group->rank() == 1 ? 0 : group->rank() + 1;  // 1, 0, 3
    const at::Tensor all = group->gather_rows(at::full({rows, 2}, 10.0 * group->rank()));
    CHECK(all.sizes() == at::IntArrayRef{4, 2});
    CHECK(all[0][1].item<float>() == 0);
    CHECK(all[1][0].item<float>() == 20);
    CHECK(all[3][1].item<float>() == 20);
    CHECK(group->gather_rows(at::zeros({0, 5}, at::kLong)).size(0) == 0);
  });
}

TEST_CASE("process group: one rank's values reach all, whatever their dtype") {
  run_ranks(3, [](const Group& group) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kLong}) {
      const at::Tensor values = at::full({5, 7}, group->rank(), dtype);
      group->start_broadcast(values, 2)->wait();
      CHECK(at::equal(values, at::full({5, 7}, 2, dtype)));
    }
  });
}

TEST_CASE("process group: rank 0's text reaches all") {
  run_ranks(3, [](const Group& group) {
    CHECK(group->broadcast(group->rank() == 0 ? "what rank 0 says \xc3\xa9" : "something else") == "what rank 0 says \xc3\xa9");
    CHECK(group->broadcast("").empty());
  });
}

TEST_CASE("process group: a rank that leaves with a reason ends the others, who name it") {
  std::mutex mutex;
  std::vector<Error> errors;
  run_ranks(3, [&](const Group& group) {
    group->sum(at::zeros({4}));
    if (group->rank() == 1) {
      group->leave("E_NON_FINITE: loss: expected a finite number");
      return;
    }
    const Error error = error_of([&] { group->sum(at::zeros({4})); });
    group->leave("cut off");
    const std::lock_guard lock(mutex);
    errors.push_back(error);
  });
  CHECK(errors.size() == 2);
  for (const Error& error : errors) {
    CHECK(error.code == "E_DISTRIBUTED");
    CHECK(error.received == "rank 1: E_NON_FINITE: loss: expected a finite number");
  }
}

TEST_CASE("process group: a rank that is gone without a word is named") {
  Error seen("", "", "", "");
  run_ranks(2, [&](const Group& group) {
    group->sum(at::zeros({4}));
    if (group->rank() == 1) return;  // its connections close with the last reference, as they do when a process is killed
    seen = error_of([&] { group->sum(at::zeros({4})); });
  });
  CHECK(seen.code == "E_DISTRIBUTED");
  CHECK(seen.received.find("rank 1 is gone") != std::string::npos);
}

TEST_CASE("process group: impossible ranks and a meeting that does not happen") {
  CHECK(error_of([] { ProcessGroup::connect({.rank = 2, .size = 2, .address = "127.0.0.1", .port = 1}); }).argument == "RANK");
  CHECK(error_of([] { ProcessGroup::connect({.rank = 0, .size = 2, .address = "127.0.0.1", .port = 0}); }).argument ==
        "MASTER_PORT");
  const Error alone = error_of([] {
    ProcessGroup::connect(
        {.rank = 0, .size = 2, .address = "127.0.0.1", .port = free_port(), .timeout = std::chrono::milliseconds(300)});
  });
  CHECK(alone.code == "E_DISTRIBUTED");
  CHECK(alone.argument.find("127.0.0.1:") == 0);
}
