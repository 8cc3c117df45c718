// Seeded mutations of bytes, for fuzzing without a compiler that instruments: what they find depends on the sanitizers that the
// tests run under (npm run check:deep). PRUDENT_FUZZ_SECONDS makes a run longer than the fixed number of inputs.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"

namespace prudent::tests {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  size_t below(size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(random_() % bound); }

  // One of the inputs after a few changes: bits, bytes, numbers at their limits, pieces cut, repeated, swapped or of another
  // input.
  std::string mutate(const std::vector<std::string>& corpus, const std::vector<std::string>& words) {
    std::string bytes = corpus[below(corpus.size())];
    for (size_t change = 0, count = 1 + below(4); change < count; ++change) apply(bytes, corpus, words);
    return bytes;
  }

 private:
  void apply(std::string& bytes, const std::vector<std::string>& corpus, const std::vector<std::string>& words) {
    const size_t at = below(bytes.size() + 1);
    const size_t length = below(std::min<size_t>(bytes.size() - at, 16) + 1);
    switch (below(7)) {
      case 0:
        if (at < bytes.size()) bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1u << below(8)));
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<char>(below(256));
        break;
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, length));
        break;
      case 4:
        bytes.insert(at, words[below(words.size())]);
        break;
      case 5:
        bytes.replace(at, length, words[below(words.size())]);
        break;
      default: {
        const std::string& other = corpus[below(corpus.size())];
        const size_t from = below(other.size() + 1);
        bytes.replace(at, length, other.substr(from, below(40)));
      }
    }
  }

  std::mt19937_64 random_;
};

// Calls `body(mutator)` for many inputs: each must end well or in a coded error. Returns how many ended well.
template <typename Body>
int64_t fuzz(uint64_t seed, int64_t inputs, Body body) {
  const char* value = std::getenv("PRUDENT_FUZZ_SECONDS");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(value == nullptr ? 0 : std::atol(value));
  int64_t good = 0;
  for (int64_t input = 0; input < inputs || std::chrono::steady_clock::now() < end; ++input) {
    Mutator mutator(seed * 1'000'003 + static_cast<uint64_t>(input));
    try {
      body(mutator);
      ++good;
    } catch (const Error& error) {
      if (error.code == "E_INTERNAL" || error.code.rfind("E_", 0) != 0)
        FAIL("input ", input, ": ", error.code, ": ", error.what());
    } catch (const std::exception& error) {
      FAIL("input ", input, " of seed ", seed, ": an error without a code: ", error.what());
    }
  }
  return good;
}

}  // namespace prudent::tests
