// prudent_bench --serve [--threads N]                       a side of `npm run bench`
// prudent_bench --run [--cases FILE] [--op PART] [--device cpu|cuda:N] [--rounds N] [--threads N] [--quick]
#include <ATen/Parallel.h>

#include <iostream>
#include <string>
#include <vector>

#include "core/cpu_memory.h"
#include "core/device.h"
#include "core/error.h"
#include "run_cases.h"
#include "serve.h"

namespace {

constexpr const char* kUsage =
    "prudent_bench --serve [--threads N]\n"
    "prudent_bench --run [--cases FILE] [--op PART] [--device cpu|cuda:N] [--rounds N] [--threads N] [--quick]\n";

struct Arguments {
  bool serve = false, run = false;
  prudent::bench::RunOptions options;
};

Arguments parse(const std::vector<std::string>& words) {
  Arguments out;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&]() -> const std::string& {
      PRUDENT_CHECK(i + 1 < words.size(), "E_USAGE", word, "a value", "nothing");
      return words[++i];
    };
    if (word == "--serve")
      out.serve = true;
    else if (word == "--run")
      out.run = true;
    else if (word == "--quick")
      out.options.quick = true;
    else if (word == "--threads")
      at::set_num_threads(std::stoi(value()));
    else if (word == "--cases")
      out.options.cases = value();
    else if (word == "--op")
      out.options.filter = value();
    else if (word == "--device")
      out.options.device = prudent::parse_device(value());
    else if (word == "--rounds")
      out.options.rounds = std::stoi(value());
    else
      prudent::fail("E_USAGE", "argument", kUsage, word);
  }
  PRUDENT_CHECK(out.serve != out.run, "E_USAGE", "arguments", "--serve or --run", out.serve ? "both" : "neither");
  return out;
}

}  // namespace

int main(int count, char** values) {
  try {
    prudent::install_cpu_allocator();  // as the addon does
    const Arguments arguments = parse({values + 1, values + count});
    if (arguments.run) return prudent::bench::run_cases(arguments.options);
    prudent::bench::serve();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "prudent_bench: " << error.what() << '\n';
    return 2;
  }
}
