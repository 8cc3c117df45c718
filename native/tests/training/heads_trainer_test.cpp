#include "training/heads_trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "training/golden.h"
#include "training/inference.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::FeatureCache;
using training::HeadsTrainer;
using training::HeadsTrainerOptions;

namespace {

struct Case {
  const Json& record;
  int64_t heads, hidden;
  std::shared_ptr<FeatureCache> features;
  at::Tensor initial;
  HeadsTrainerOptions options;
  bool per_head;

  explicit Case(const Json& source)
      : record(source),
        heads(static_cast<int64_t>(number(source, "heads"))),
        hidden(static_cast<int64_t>(number(source, "hidden"))),
        features(std::make_shared<FeatureCache>(at::tensor(floats(member(source, "features"))).view({-1, hidden}))),
        initial(at::tensor(floats(member(source, "initial"))).view({heads, hidden})),
        per_head(member(source, "per_head").as_bool("per_head")) {
    options.anchor = number(source, "anchor");
    options.optimizer.max_grad_norm = number(source, "max_grad_norm");
    options.optimizer.weight_decay = number(source, "weight_decay");
  }
  std::vector<int32_t> side(const char* name, size_t step) const { return integers(member(record, name).as_array(name)[step]); }
  training::HeadsStep step(HeadsTrainer& trainer, size_t index) const {
    return trainer.step(side("chosen", index), side("rejected", index), per_head, number(record, "lr"), Job());
  }
};

double worst(const std::vector<float>& values, const std::vector<double>& expected) {
  double error = values.size() == expected.size() ? 0 : INFINITY;
  for (size_t i = 0; i < expected.size(); ++i)
    error = std::max(error, std::abs(values[i] - expected[i]) / std::max(1e-2, std::abs(expected[i])));
  return error;
}

struct Errors {
  double loss = 0, accuracy = 0, norm = 0, weights = 0;
};

Errors replay(const Case& test, const HeadsTrainerOptions& options) {
  HeadsTrainer trainer(test.features, test.initial, options);
  Errors errors;
  for (size_t i = 0; i < 10; ++i) {
    const auto step = test.step(trainer, i);
    errors.loss = std::max(errors.loss, worst(step.loss_per_head, numbers(member(test.record, "loss").as_array("loss")[i])));
    errors.accuracy =
        std::max(errors.accuracy, worst(step.accuracy_per_head, numbers(member(test.record, "accuracy").as_array("a")[i])));
    errors.norm =
        std::max(errors.norm, worst(step.grad_norm_per_head, numbers(member(test.record, "grad_norm").as_array("g")[i])));
  }
  const at::Tensor weights = trainer.weights().flatten();
  errors.weights = worst({weights.const_data_ptr<float>(), weights.const_data_ptr<float>() + weights.numel()},
                         numbers(member(test.record, "weights")));
  return errors;
}

const Json& record(size_t index) { return member(golden(), "heads").as_array("heads")[index]; }

}  // namespace

TEST_CASE("heads: ten anchored, clipped steps of ten heads as PyTorch trains them one by one") {
  for (const size_t index : {0, 1}) {
    CAPTURE(index);
    const Case test(record(index));
    const Errors errors = replay(test, test.options);
    INFO("loss ", errors.loss, " norm ", errors.norm, " weights ", errors.weights);
    CHECK(errors.loss < kTenStepsTolerance);
    CHECK(errors.accuracy < kStepTolerance);
    CHECK(errors.norm < kTenStepsTolerance);
    CHECK(errors.weights < kTenStepsTolerance);
  }
}

TEST_CASE("heads: a weaker anchor, no clipping, no decay are seen (twins)") {
  const Case test(record(1));
  HeadsTrainerOptions weaker = test.options, unclipped = test.options, undecayed = test.options;
  weaker.anchor *= 0.5;
  unclipped.optimizer.max_grad_norm = 0;
  undecayed.optimizer.weight_decay = 0;
  CHECK(replay(test, weaker).weights > kTenStepsTolerance);
  CHECK(replay(test, unclipped).weights > kTenStepsTolerance);
  CHECK(replay(test, undecayed).weights > kTenStepsTolerance);
}

TEST_CASE("heads: no head knows of the others") {
  const Case test(record(1));
  HeadsTrainer all(test.features, test.initial, test.options), one(test.features, test.initial.narrow(0, 3, 1), test.options);
  for (size_t i = 0; i < 10; ++i) {
    test.step(all, i);
    const auto chosen = test.side("chosen", i), rejected = test.side("rejected", i);
    const size_t batch = chosen.size() / 10;
    one.step({chosen.begin() + 3 * batch, chosen.begin() + 4 * batch},
             {rejected.begin() + 3 * batch, rejected.begin() + 4 * batch}, true, number(test.record, "lr"), Job());
  }
  CHECK((all.weights()[3] - one.weights()[0]).abs().max().item<double>() < 1e-6);
}

TEST_CASE("heads: resumed training is bit-exact and brings heads and anchors along") {
  const Case test(record(0));
  HeadsTrainer trainer(test.features, test.initial, test.options);
  for (size_t i = 0; i < 4; ++i) test.step(trainer, i);
  const TemporaryFile state("heads-state");
  trainer.save_state(state.path());
  HeadsTrainer resumed(test.features, test.initial.mul(2), test.options);
  CHECK_FALSE(same_bits(trainer.weights(), resumed.weights()));
  resumed.load_state(state.path());
  CHECK(same_bits(trainer.weights(), resumed.weights()));
  for (size_t i = 4; i < 7; ++i) {
    test.step(trainer, i);
    test.step(resumed, i);
  }
  CHECK(same_bits(trainer.weights(), resumed.weights()));
}

TEST_CASE("heads: non-finite values and wrong arguments are refused") {
  const Case test(record(0));
  HeadsTrainer trainer(test.features, test.initial, test.options);
  CHECK(error_code([&] { trainer.step({0, 1}, {1}, false, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({0}, {1}, true, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({}, {}, false, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({0}, {40}, false, 1e-3, Job()); }) == "E_RANGE");
  CHECK(error_code([&] { HeadsTrainer(test.features, test.initial.narrow(1, 0, 5), test.options); }) == "E_SHAPE");
  at::Tensor features = test.features->features().clone();
  features[0][0] = std::nan("");
  HeadsTrainer broken(std::make_shared<FeatureCache>(features), test.initial, test.options);
  CHECK(error_code([&] { broken.step({0}, {1}, false, 1e-3, Job()); }) == "E_NON_FINITE");
  CHECK(same_bits(broken.weights(), test.initial));
}

TEST_CASE("feature cache: what it holds is what the model scores, saved or not") {
  const auto model = hashed_model("gemma", 2, 3);
  const training::TokenRows rows{{1, 2, 3, 4, 5, 6}, {3, 1, 2}};
  const auto whole = FeatureCache::compute(*model, rows, 100, Job()), split = FeatureCache::compute(*model, rows, 1, Job());
  CHECK((whole->features() - split->features()).abs().max().item<double>() < 1e-5);
  const TemporaryFile file("features");
  whole->save(file.path());
  const auto loaded = FeatureCache::load(file.path());
  CHECK(same_bits(whole->features(), loaded->features()));
  const at::Tensor scores = training::score_rows(*model, rows, 4, Job());
  CHECK((loaded->score(model->score_weight().detach()) - scores).abs().max().item<double>() < 1e-5);
  CHECK((loaded->score(model->score_weight().detach().mul(1.001)) - scores).abs().max().item<double>() > 1e-5);
  CHECK(error_code([&] { static_cast<void>(loaded->score(at::tensor(std::vector<float>{1, 2}).view({1, 2}))); }) == "E_SHAPE");
  CHECK(error_code([&] { FeatureCache::load(file.path() + "-absent"); }) == "E_NOT_FOUND");
}
