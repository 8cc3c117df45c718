#include "training/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "core/safetensors.h"
#include "training/golden.h"

using namespace prudent;
using namespace prudent::tests;
using training::Optimizer;
using training::OptimizerOptions;

namespace {

models::NamedTensors parameters() { return {{"matrix", at::ones({2, 3})}, {"bias", at::ones({3})}}; }

void set_gradient(models::NamedTensors& tensors, double value) {
  for (auto& [name, tensor] : tensors) tensor.mutable_grad() = at::full(tensor.sizes(), value);
}

}  // namespace

TEST_CASE("optimizer: weight decay on matrices, or on everything") {
  for (const bool all : {false, true}) {
    auto tensors = parameters();
    OptimizerOptions options;
    options.weight_decay = 0.5;
    options.decay_scope = all ? training::WeightDecayScope::All : training::WeightDecayScope::Matrices;
    Optimizer optimizer(tensors, options);
    set_gradient(tensors, 0.0);
    optimizer.step(0.1);
    CHECK(tensors[0].second[0][0].item<float>() == doctest::Approx(0.95));
    CHECK(tensors[1].second[0].item<float>() == doctest::Approx(all ? 0.95 : 1.0));
  }
}

TEST_CASE("optimizer: the norm is global and clipping scales every gradient by it") {
  auto tensors = parameters();
  OptimizerOptions options;
  options.max_grad_norm = 1.0;
  Optimizer optimizer(tensors, options);
  set_gradient(tensors, 2.0);
  CHECK(optimizer.gradient_norm() == doctest::Approx(6.0));
  CHECK(optimizer.step(1e-3) == doctest::Approx(6.0));
  const TemporaryFile file("optimizer-state");
  optimizer.save(file.path());
  const auto state = SafetensorsFile::open(file.path());
  CHECK(state->tensor("bias.moment1")[0].item<float>() == doctest::Approx(0.1 * 2.0 / 6.0));
  CHECK(state->metadata().at("step") == "1");
}

TEST_CASE("optimizer: an update counts the version of the parameters up, as an operation in place does") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    models::NamedTensors tensors{{"matrix", at::ones({2, 3}, dtype)}};
    tensors[0].second.set_requires_grad(true);
    Optimizer optimizer(tensors, {});
    const auto before = tensors[0].second._version();
    set_gradient(tensors, 1.0);
    tensors[0].second.mutable_grad() = tensors[0].second.grad().to(dtype);
    CHECK(tensors[0].second._version() == before);
    optimizer.step(1e-3);
    CHECK(tensors[0].second._version() > before);
  }
}

TEST_CASE("optimizer: a non-finite gradient changes nothing") {
  auto tensors = parameters();
  Optimizer optimizer(tensors, {});
  set_gradient(tensors, 1.0);
  tensors[1].second.mutable_grad()[2] = std::numeric_limits<float>::infinity();
  const auto before = copies(tensors);
  CHECK(error_code([&] { optimizer.step(1e-3); }) == "E_NON_FINITE");
  CHECK(same_bits(before, copies(tensors)));
  CHECK(optimizer.steps() == 0);
}

TEST_CASE("optimizer: bf16 parameters move by less than their own resolution through fp32 masters") {
  models::NamedTensors tensors{{"w", at::ones({4}, at::kBFloat16)}};
  Optimizer optimizer(tensors, {});
  for (int i = 0; i < 8; ++i) {
    tensors[0].second.mutable_grad() = at::ones({4}, at::kBFloat16);
    optimizer.step(1e-3);  // below 2^-8, the spacing of bf16 under 1
  }
  CHECK(tensors[0].second[0].item<float>() == doctest::Approx(0.992).epsilon(0.002));
}

TEST_CASE("optimizer: a state of other parameters is refused and nothing changes") {
  auto tensors = parameters();
  Optimizer optimizer(tensors, {});
  set_gradient(tensors, 1.0);
  optimizer.step(1e-3);
  const TemporaryFile file("optimizer-state");
  optimizer.save(file.path());

  models::NamedTensors wider{{"matrix", at::ones({2, 4})}, {"bias", at::ones({3})}};
  CHECK(error_code([&] { Optimizer(wider, {}).load(file.path()); }) == "E_SHAPE");
  models::NamedTensors renamed{{"other", at::ones({2, 3})}, {"bias", at::ones({3})}};
  CHECK(error_code([&] { Optimizer(renamed, {}).load(file.path()); }) == "E_MISSING_TENSOR");
  models::NamedTensors fewer{{"matrix", at::ones({2, 3})}};
  CHECK(error_code([&] { Optimizer(fewer, {}).load(file.path()); }) == "E_SHAPE");
  CHECK(error_code([&] { optimizer.load(file.path() + "-absent"); }) == "E_NOT_FOUND");

  const TemporaryFile weights("weights");
  write_safetensors(weights.path(), tensors, {{"format", "pt"}});
  CHECK(error_code([&] { optimizer.load(weights.path()); }) == "E_CORRUPT_FILE");
  CHECK(optimizer.steps() == 1);
  Optimizer fresh(tensors, {});
  fresh.load(file.path());
  CHECK(fresh.steps() == 1);
}
