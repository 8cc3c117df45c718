#include "kernels/matmul/packed_weights.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <thread>
#include <vector>

#include "kernels/adamw/adamw.h"
#include "kernels/common/dispatch.h"
#include "kernels/gated_linear/gated_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/op_check.h"

namespace prudent::tests {

namespace {

using kernels::WeightLayout;

constexpr int64_t kPlenty = int64_t{1} << 28;

// Nothing is kept when a test begins, and the limit is what it was when it ends.
class KeptWeights {
 public:
  explicit KeptWeights(int64_t limit = kPlenty) { kernels::set_packed_weights_limit(limit); }
  ~KeptWeights() { kernels::set_packed_weights_limit(limit_); }
  KeptWeights(const KeptWeights&) = delete;
  KeptWeights& operator=(const KeptWeights&) = delete;

 private:
  int64_t limit_ = kernels::packed_weights_memory().limit;
};

int64_t kept() { return kernels::packed_weights_memory().kept; }

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, WeightLayout layout = WeightLayout::OutIn) {
  return kernels::linear(x, weight, {.layout = layout});
}

// Without anything kept.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight) { return kernels::matmul(x, weight.t()); }

// x [5, 70], weight [50, 70] that two products have seen, hence kept.
struct Seen {
  at::Tensor x, weight;
  explicit Seen(at::ScalarType dtype) : x(normal({5, 70}, 1).to(dtype)), weight(normal({50, 70}, 2).to(dtype)) {
    project(x, weight);
    project(x, weight);
  }
};

// Whose product is ours on this CPU: libtorch's keep no weights.
std::vector<at::ScalarType> our_dtypes() {
  std::vector<at::ScalarType> dtypes;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    if (kernels::matmul_is_ours(at::empty({1, 1}, dtype))) dtypes.push_back(dtype);
  }
  return dtypes;
}

// Of a bf16 weight [64, 64]: tiles keep it as it is, vectors in fp32.
int64_t kept_of_one() { return 64 * 64 * (kernels::has_amx() ? 2 : 4); }

}  // namespace

TEST_CASE("packed weights: kept from the second product on, the same bits for any number of rows") {
  const KeptWeights scope;
  for (const at::ScalarType dtype : our_dtypes()) {
    for (const WeightLayout layout : {WeightLayout::OutIn, WeightLayout::InOut}) {
      for (const auto& [in, out] : {std::pair(1, 1), {33, 50}, {800, 90}, {2100, 70}}) {
        const at::Tensor weight =
            normal(layout == WeightLayout::OutIn ? at::IntArrayRef{out, in} : at::IntArrayRef{in, out}, 2).to(dtype);
        const int64_t before = kept();
        for (const int64_t rows : {3, 40, 1, 130}) {
          const at::Tensor x = normal({rows, in}, 3).to(dtype);
          CHECK(project(x, weight, layout).equal(kernels::matmul(x, kernels::as_right(weight, layout))));
          CHECK_FALSE(project(x, weight, layout).equal(kernels::matmul(x + 1, kernels::as_right(weight, layout))));
        }
        CHECK(kept() >= before + static_cast<int64_t>(weight.nbytes()));
      }
    }
  }
}

TEST_CASE("packed weights: used once a weight is not kept, nor in fp32 by many rows") {
  const KeptWeights scope;
  const at::Tensor weight = normal({50, 70}, 1), many = normal({4000, 70}, 2);
  project(normal({3, 70}, 3), weight);
  CHECK(kept() == 0);
  const at::Tensor other = normal({50, 70}, 4);
  for (int i = 0; i < 3; ++i) project(many, other);
  CHECK(kept() == 0);
}

TEST_CASE("packed weights: by many rows in bf16 on tiles while half of the limit is free") {
  if (!kernels::has_amx()) return;
  const KeptWeights scope(4 * kept_of_one());
  const at::Tensor few = normal({3, 64}, 1).to(at::kBFloat16), many = normal({4000, 64}, 2).to(at::kBFloat16);
  std::vector<at::Tensor> weights;
  const auto use = [&](const at::Tensor& x, int count) {
    for (int i = 0; i < count; ++i) weights.push_back(normal({64, 64}, static_cast<uint64_t>(i)).to(at::kBFloat16));
    for (int round = 0; round < 3; ++round) {
      for (const at::Tensor& weight : weights) CHECK(project(x, weight).equal(product(x, weight)));
    }
  };
  use(many, 3);
  CHECK(kept() == 2 * kept_of_one());
  use(few, 1);
  CHECK(kept() == 4 * kept_of_one());
}

TEST_CASE("packed weights: a gated pair, one of which changes") {
  const KeptWeights scope;
  for (const at::ScalarType dtype : our_dtypes()) {
    const at::Tensor x = normal({7, 70}, 1).to(dtype);
    const kernels::GatedWeights weights{.gate = normal({90, 70}, 2).to(dtype), .up = normal({90, 70}, 3).to(dtype)};
    const auto run = [&] { return kernels::gated_linear(x, weights, kernels::Activation::Silu); };
    const at::Tensor first = run();
    run();
    CHECK(kept() > 0);
    CHECK(run().equal(first));
    weights.gate.mul_(0.5);
    const at::Tensor changed = run();
    CHECK_FALSE(changed.equal(first));
    const kernels::GatedWeights copies{.gate = weights.gate.clone(), .up = weights.up.clone()};
    CHECK(changed.equal(kernels::gated_linear(x, copies, kernels::Activation::Silu)));
  }
}

TEST_CASE("packed weights: whoever changes a weight in place, the next product sees it") {
  const KeptWeights scope;
  const std::vector<std::function<void(at::Tensor&)>> writers = {
      [](at::Tensor& weight) { weight.mul_(1.5); },
      [](at::Tensor& weight) { weight.detach().add_(1.0); },
      [](at::Tensor& weight) { weight.narrow(0, 3, 2).zero_(); },
      [](at::Tensor& weight) {
        const at::NoGradGuard no_grad;
        weight.t().copy_(normal({70, 50}, 9));
      },
      [](at::Tensor& weight) {
        const c10::InferenceMode inference;
        weight.mul_(-1.0);
      },
      [](at::Tensor& weight) {
        weight.set_(normal({50, 70}, 8).to(weight.scalar_type()));
      },
      [](at::Tensor& weight) {
        const at::Tensor moment = at::zeros({50, 70});
        kernels::adamw(
            {{.parameter = weight.detach(), .gradient = at::ones({50, 70}), .moment1 = moment, .moment2 = moment.clone()}},
            {.lr = 0.1, .step = 1});
      },
  };
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (size_t writer = 0; writer < writers.size(); ++writer) {
      CAPTURE(writer);
      Seen seen(dtype);
      const at::Tensor before = project(seen.x, seen.weight);
      writers[writer](seen.weight);
      const at::Tensor expected = product(seen.x, seen.weight);
      CHECK_FALSE(expected.equal(before));
      for (int i = 0; i < 3; ++i) CHECK(error_of(project(seen.x, seen.weight), expected) <= 1e-6);
    }
  }
}

TEST_CASE("packed weights: found under inference mode too, inference tensors are never kept") {
  if (our_dtypes().empty()) return;
  const KeptWeights scope;
  const at::ScalarType dtype = our_dtypes().back();
  at::Tensor x = normal({5, 70}, 1).to(dtype), weight = normal({50, 70}, 2).to(dtype);
  const c10::InferenceMode inference;
  for (int i = 0; i < 2; ++i) project(x, weight);
  const int64_t bytes = kept();
  CHECK(bytes > 0);
  weight.mul_(2.0);
  CHECK(project(x, weight).equal(product(x, weight)));
  const at::Tensor copy = weight.clone();
  for (int i = 0; i < 3; ++i) project(x, copy);
  CHECK(kept() <= bytes);
  copy.mul_(3.0);
  CHECK(project(x, copy).equal(product(x, copy)));
}

TEST_CASE("packed weights: memory that is freed and handed out again is another weight") {
  const KeptWeights scope;
  const at::Tensor x = normal({5, 700}, 1);
  for (int i = 0; i < 200; ++i) {
    const at::Tensor weight = normal({50, 700}, static_cast<uint64_t>(i));
    const at::Tensor expected = kernels::linear_reference(x, weight);
    for (int call = 0; call < 3; ++call) CHECK(error_of(project(x, weight), expected) <= 1e-4);
  }
  kernels::release_dead_packed_weights();
  CHECK(kept() == 0);
}

TEST_CASE("packed weights: a differentiated weight is let go") {
  if (our_dtypes().empty()) return;
  const KeptWeights scope;
  const Seen seen(our_dtypes().back());
  CHECK(kept() > 0);
  seen.weight.requires_grad_();
  const at::Tensor y = project(seen.x, seen.weight);
  CHECK(kept() == 0);
  y.sum().backward();
  CHECK(seen.weight.grad().defined());
}

TEST_CASE("packed weights: the limit holds, and 0 keeps none") {
  if (!kernels::matmul_is_ours(at::empty({1, 1}, at::kBFloat16))) return;
  const at::Tensor x = normal({3, 64}, 1).to(at::kBFloat16);
  for (const int64_t limit : {int64_t{0}, int64_t{100}, kept_of_one() * 5 / 2}) {
    const KeptWeights scope(limit);
    std::vector<at::Tensor> weights;
    for (uint64_t i = 0; i < 5; ++i) weights.push_back(normal({64, 64}, i).to(at::kBFloat16));
    for (int round = 0; round < 3; ++round) {
      for (const at::Tensor& weight : weights) CHECK(project(x, weight).equal(product(x, weight)));
    }
    CHECK(kept() == limit / kept_of_one() * kept_of_one());
  }
}

TEST_CASE("packed weights: threads that share weights, one of which is changed between") {
  const KeptWeights scope;
  const at::Tensor x = normal({5, 70}, 1);
  at::Tensor weight = normal({50, 70}, 2);
  for (int round = 0; round < 5; ++round) {
    const at::Tensor expected = product(x, weight);
    std::vector<std::thread> threads;
    std::array<bool, 4> right{};
    for (bool& all : right) {
      threads.emplace_back([&] {
        all = true;
        for (int i = 0; i < 20; ++i) all = all && error_of(project(x, weight), expected) <= 1e-6;
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const bool all : right) CHECK(all);
    weight.add_(1.0);
  }
}

}  // namespace prudent::tests
