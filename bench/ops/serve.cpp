#include "serve.h"

#include <ATen/Parallel.h>
#include <ATen/ops/linspace.h>
#include <torch/version.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "core/cpu_memory.h"
#include "core/device.h"
#include "core/error.h"
#include "matmul.h"
#include "measure.h"
#include "op_case.h"

namespace prudent::bench {

namespace {

constexpr double kLeastSeconds = 0.05;
// Values of each result that are handed over to be compared.
constexpr int64_t kChecked = 512;

struct Loaded {
  OpCase op;
  std::optional<Implementation> implementation;  // none: the truth, which is compared with and never timed
  Pass pass;
  std::function<void()> body;
};

std::optional<Implementation> parse_implementation(const std::string& name) {
  if (name == "ours") return Implementation::Ours;
  if (name == "reference") return Implementation::Reference;
  PRUDENT_CHECK(name == "truth", "E_RANGE", "implementation", "ours, reference or truth", name);
  return std::nullopt;
}

class Server {
 public:
  Json answer(const std::string& method, const Json& params) {
    if (method == "hello") return hello();
    if (method == "load") return without_leftovers(load(member(params, "options")));
    if (method == "check") return without_leftovers(check());
    if (method == "run") return run(params);
    fail("E_RANGE", "method", "hello, load, check or run", method);
  }

 private:
  // Memory that is free again goes back to the system, as an idle executor gives it back: it is not the operation's that comes
  // next.
  Json without_leftovers(Json answer) {
    release_free_cpu_memory();
    cold_ = true;
    return answer;
  }

  static Json hello() { return Json::Object{{"versions", Json::Object{{"libtorch", TORCH_VERSION}}}}; }

  Json load(const Json& options) {
    loaded_.reset();
    loaded_ = {make_op_case(member(options, "case"), device_),
               parse_implementation(member(options, "implementation").as_string("implementation")),
               parse_pass(member(options, "pass").as_string("pass")),
               {}};
    int64_t held = 0;
    for (const at::Tensor& input : loaded_->op.inputs) held += static_cast<int64_t>(input.nbytes());
    // Beside them, what every implementation must give: a gradient of each.
    if (loaded_->op.differentiable && loaded_->pass != Pass::Forward) held *= 2;
    return Json::Object{{"held", held}, {"bytes", loaded_->op.bytes(loaded_->pass)}};
  }

  // A spread of the elements of every output and gradient.
  Json check() {
    PRUDENT_CHECK(loaded_.has_value(), "E_STATE", "check", "a loaded case", "none");
    Json results;
    const Tensors tensors =
        loaded_->implementation ? evaluate(loaded_->op, *loaded_->implementation) : evaluate_truth(loaded_->op);
    for (size_t i = 0; i < tensors.size(); ++i) {
      const at::Tensor flat = tensors[i].to(at::kCPU, at::kDouble).contiguous().view({-1});
      const int64_t stride = std::max<int64_t>(1, flat.numel() / kChecked);
      Json::Array values;
      for (int64_t at = 0; at < flat.numel(); at += stride) values.emplace_back(flat.const_data_ptr<double>()[at]);
      results.set("result" + std::to_string(i), values);
    }
    return results;
  }

  Json run(const Json& params) {
    if (const Json* matmul = params.find("matmul")) return without_leftovers(run_matmuls(*matmul));
    if (const Json* copy = params.find("copy")) {
      return without_leftovers(Json::Object{{"seconds", copy_seconds(copy->as_number("copy"), device_, kLeastSeconds)}});
    }
    PRUDENT_CHECK(loaded_.has_value(), "E_STATE", "run", "a loaded case", "none");
    PRUDENT_CHECK(loaded_->implementation.has_value(), "E_STATE", "run", "ours or reference", "truth");
    if (!loaded_->body) loaded_->body = make_body(loaded_->op, *loaded_->implementation, loaded_->pass);
    if (cold_) loaded_->body();  // the first touch of the pages is not the operation's
    cold_ = false;
    return Json::Object{{"seconds", seconds_per_call(loaded_->body, device_, kLeastSeconds)}};
  }

  Json run_matmuls(const Json& matmul) const {
    const at::ScalarType dtype = parse_dtype(member(matmul, "dtype").as_string("dtype"), device_);
    Json::Array each;
    double total = 0;
    for (const Json& shape : member(matmul, "products").as_array("products")) {
      const Json::Array& sizes = shape.as_array("products");
      const double seconds =
          matmul_seconds(sizes[0].as_int("m"), sizes[1].as_int("n"), sizes[2].as_int("k"), dtype, device_, kLeastSeconds);
      each.emplace_back(seconds);
      total += seconds;
    }
    return Json::Object{{"seconds", total}, {"each", each}};
  }

  at::Device device_ = at::kCPU;
  std::optional<Loaded> loaded_;
  bool cold_ = false;
};

}  // namespace

void serve() {
  Server server;
  for (std::string line; std::getline(std::cin, line);) {
    const Json call = parse_json(line, "standard input");
    Json answer = Json::Object{{"id", member(call, "id")}};
    try {
      answer.set("result", server.answer(member(call, "method").as_string("method"), member(call, "params")));
    } catch (const std::exception& error) {
      answer.set("error", std::string(error.what()));
    }
    std::cout << answer.dump() << std::endl;
  }
}

}  // namespace prudent::bench
