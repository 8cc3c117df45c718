// All cases without a driver: for machines that have a GPU and no Node.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace prudent::bench {

struct RunOptions {
  std::string cases = "bench/ops/cases.json";
  std::string filter;  // part of an operation's name
  at::Device device = at::kCPU;
  int rounds = 5;
  bool quick = false;
};

// One JSON line per case, pass and dtype on standard output. Results of ours that are not those of the reference are reported on
// standard error, and give status 1.
int run_cases(const RunOptions& options);

}  // namespace prudent::bench
