// Files from outside under mutation: a whole tensor file or a coded error, and never a byte beyond the mapping.
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "core/json.h"
#include "core/safetensors.h"
#include "support/mutations.h"
#include "support/temporary_folder.h"

namespace prudent {
namespace {

using tests::fuzz;
using tests::Mutator;
using tests::TemporaryFolder;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> safetensors_corpus(const TemporaryFolder& folder) {
  const std::string path = folder.file("seed.safetensors");
  std::vector<std::string> corpus;
  write_safetensors(path, {{"a", at::arange(6, at::kFloat).view({2, 3})}, {"b", at::arange(4, at::kLong)}}, {{"format", "pt"}});
  corpus.push_back(bytes_of(path));
  write_safetensors(path, {{"empty", at::zeros({0, 4}, at::kBFloat16)}, {"scalar", at::zeros({}, at::kDouble)}}, {});
  corpus.push_back(bytes_of(path));
  write_safetensors(path, {}, {});
  corpus.push_back(bytes_of(path));
  return corpus;
}

// Reads every byte that the file gave out.
double sum_of(const SafetensorsFile& file) {
  double sum = 0;
  for (const auto& name : file.names()) {
    const at::Tensor tensor = file.tensor(name);
    const auto* bytes = static_cast<const unsigned char*>(tensor.data_ptr());
    for (size_t i = 0; i < tensor.nbytes(); ++i) sum += bytes[i];
  }
  return sum;
}

TEST_CASE("fuzz: safetensors files") {
  const TemporaryFolder folder;
  const auto corpus = safetensors_corpus(folder);
  const std::vector<std::string> words{"\"F32\"",
                                       "\"I64\"",
                                       "\"BF16\"",
                                       "[]",
                                       "[0]",
                                       "[-1]",
                                       "9223372036854775807",
                                       "18446744073709551616",
                                       "[4611686018427387904,4]",
                                       "\"data_offsets\":[0,24]",
                                       "{",
                                       "}",
                                       ",",
                                       "null",
                                       "1e400",
                                       "\"\\u0000\"",
                                       std::string(8, '\xff'),
                                       std::string(8, '\0'),
                                       "\"a\":",
                                       " "};
  const int64_t good = fuzz(1, 3000, [&](Mutator& mutator) {
    const std::string path = folder.write("mutated.safetensors", mutator.mutate(corpus, words));
    const double sum = sum_of(*SafetensorsFile::open(path));
    CHECK(std::isfinite(sum));
  });
  CHECK(good > 0);  // some mutations touch data alone
}

TEST_CASE("fuzz: an index of shards") {
  const TemporaryFolder folder;
  write_safetensors(folder.file("model-1.safetensors"), {{"a", at::zeros({2})}}, {});
  write_safetensors(folder.file("model-2.safetensors"), {{"b", at::zeros({3})}}, {});
  const std::vector<std::string> corpus{
      R"({"metadata":{"total_size":20},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}})"};
  const std::vector<std::string> words{"..",          "/",  "\\u0000", "\"a\"", "\"b\"", "model-2.safetensors",
                                       "/etc/passwd", "{}", "[]",      "null"};
  const int64_t good = fuzz(2, 2000, [&](Mutator& mutator) {
    static_cast<void>(folder.write("model.safetensors.index.json", mutator.mutate(corpus, words)));
    const SafetensorsFolder files = SafetensorsFolder::open(folder.path());
    for (const auto& name : files.names()) {
      const int64_t size = files.tensor(name).numel();
      CHECK(size >= 2);
    }
  });
  CHECK(good > 0);
}

TEST_CASE("fuzz: JSON comes back as it was written") {
  const std::vector<std::string> corpus{R"({"a":[1,-2.5e3,true,null,"x\u00e9\n"],"b":{"c":{}}})", "[[[[]]]]", "0.1",
                                        "\"\\ud83d\\ude00\""};
  const std::vector<std::string> words{"1e308",
                                       "-0",
                                       "1e-400",
                                       "\\ud800",
                                       "\\u0000",
                                       "[",
                                       "{\"\":",
                                       "]",
                                       "}",
                                       "\"",
                                       "\xf0\x9f\x98\x80",
                                       "\xff",
                                       "9007199254740993",
                                       std::string(600, '[')};
  const int64_t good = fuzz(3, 5000, [&](Mutator& mutator) {
    const Json value = parse_json(mutator.mutate(corpus, words), "input");
    const std::string text = value.dump();
    CHECK(parse_json(text, "dumped").dump() == text);
  });
  CHECK(good > 0);
}

}  // namespace
}  // namespace prudent
