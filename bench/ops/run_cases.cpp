#include "run_cases.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "core/device.h"
#include "core/error.h"
#include "measure.h"
#include "op_case.h"

namespace prudent::bench {

namespace {

// Ours against the reference on the same device and in the same dtype, relative to the largest value: fp32 sums in another order
// through two matrix products; bf16 results that both round, ours at other places. Mistakes of substance are of order one.
double tolerance_of(at::ScalarType dtype) { return dtype == at::kFloat ? 1e-4 : 0.05; }

double worst_error(const Tensors& actual, const Tensors& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i].numel() == 0) continue;
    const at::Tensor a = actual[i].to(at::kDouble), e = expected[i].to(at::kDouble);
    const double error = (a - e).abs().max().item<double>() / std::max(1e-30, e.abs().max().item<double>());
    worst = std::max(worst, error == error ? error : 1e300);
  }
  return worst;
}

struct Quantiles {
  double p20, p50, p80;
};

Quantiles quantiles(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return samples[static_cast<size_t>(share * static_cast<double>(samples.size() - 1) + 0.5)];
  };
  return {at(0.2), at(0.5), at(0.8)};
}

Json to_json(const Quantiles& q) { return Json::Object{{"p20", q.p20}, {"p50", q.p50}, {"p80", q.p80}}; }

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  PRUDENT_CHECK(file.good(), "E_NOT_FOUND", "cases", "a readable file", path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class CaseRun {
 public:
  CaseRun(const Json& spec, const RunOptions& options)
      : spec_(spec), options_(options), op_(make_op_case(spec, options.device)) {}

  [[nodiscard]] double error() const {
    return worst_error(evaluate(op_, Implementation::Ours), evaluate(op_, Implementation::Reference));
  }

  [[nodiscard]] Json time(Pass pass) const {
    const double least = options_.quick ? 0.002 : 0.1;
    std::map<Implementation, std::vector<double>> samples;
    std::vector<double> copies;
    const double bytes = op_.bytes(pass);
    for (int round = 0; round < options_.rounds; ++round) {
      for (const Implementation which : {Implementation::Ours, Implementation::Reference}) {
        const auto body = make_body(op_, which, pass);
        body();
        samples[which].push_back(seconds_per_call(body, options_.device, least));
      }
      if (bytes > 0) copies.push_back(copy_seconds(bytes, options_.device, least));
    }
    const Quantiles ours = quantiles(samples[Implementation::Ours]), reference = quantiles(samples[Implementation::Reference]);
    Json row = Json::Object{{"op", member(spec_, "op")},
                            {"case", spec_},
                            {"pass", pass_name(pass)},
                            {"device", device_name(options_.device)},
                            {"ours", to_json(ours)},
                            {"reference", to_json(reference)},
                            {"ratio", reference.p50 / ours.p50}};
    if (bytes > 0) {
      row.set("bytes", bytes);
      row.set("bytesPerSecond", bytes / ours.p50);
      row.set("ofCopyBandwidth", *std::min_element(copies.begin(), copies.end()) / ours.p50);
    }
    return row;
  }

 private:
  const Json& spec_;
  const RunOptions& options_;
  OpCase op_;
};

bool wanted(const Json& spec, const RunOptions& options) {
  return member(spec, "op").as_string("op").find(options.filter) != std::string::npos;
}

}  // namespace

int run_cases(const RunOptions& options) {
  const Json cases = parse_json(read_file(options.cases), options.cases);
  const char* part = options.quick ? "quick" : "full";
  int status = 0;
  for (const Json& entry : member(cases, part).as_array(part)) {
    if (!wanted(entry, options)) continue;
    for (const Json& dtype : member(entry, "dtypes").as_array("dtypes")) {
      Json spec = entry;
      spec.set("dtype", dtype);
      const CaseRun run(spec, options);
      const double error = run.error();
      if (!(error <= tolerance_of(parse_dtype(dtype.as_string("dtype"), at::kCPU)))) {
        std::cerr << spec.dump() << ": ours is off by " << error << ", not timed\n";
        status = 1;
        continue;
      }
      for (const Json& pass : member(entry, "passes").as_array("passes")) {
        Json row = run.time(parse_pass(pass.as_string("passes")));
        row.set("error", error);
        std::cout << row.dump() << std::endl;
      }
    }
  }
  return status;
}

}  // namespace prudent::bench
