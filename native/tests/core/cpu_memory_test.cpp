#include "core/cpu_memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/core/CPUAllocator.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <thread>
#include <vector>

using namespace prudent;

namespace {

constexpr int64_t kMegabyte = int64_t{1} << 20;

at::Tensor megabytes(int64_t count) { return at::empty({count * kMegabyte}, at::kByte); }

bool installed() { return c10::GetCPUAllocator() != c10::GetDefaultCPUAllocator(); }

}  // namespace

TEST_CASE("cpu memory: what a tensor leaves serves the next ones, cut or merged") {
  if (!installed()) return;  // PRUDENT_CPU_CACHE=0
  release_free_cpu_memory();
  const CpuMemory before = cpu_memory();
  const void* first = nullptr;
  {
    const at::Tensor tensor = megabytes(40);
    first = tensor.const_data_ptr();
    CHECK(cpu_memory().used >= before.used + 40 * kMegabyte);
    CHECK(cpu_memory().used <= before.used + 41 * kMegabyte);
  }
  CHECK(cpu_memory().used == before.used);
  CHECK(cpu_memory().kept >= 40 * kMegabyte);
  const int64_t fresh = cpu_memory().fresh;
  CHECK(megabytes(37).const_data_ptr() == first);
  {
    const at::Tensor left = megabytes(10), right = megabytes(30);  // both out of the 40
    CHECK(cpu_memory().fresh == fresh);
  }
  CHECK(megabytes(40).const_data_ptr() == first);
  CHECK(cpu_memory().fresh == fresh);
  const at::Tensor more = megabytes(41);  // the twin: too large for it
  CHECK(cpu_memory().fresh > fresh);
  release_free_cpu_memory();
  CHECK(cpu_memory().kept == 0);
}

TEST_CASE("cpu memory: small tensors do not come here") {
  const int64_t fresh = cpu_memory().fresh, used = cpu_memory().used;
  const at::Tensor small = at::empty({1000}, at::kByte), none = at::empty({0}, at::kByte);
  CHECK(cpu_memory().fresh == fresh);
  CHECK(cpu_memory().used == used);
}

TEST_CASE("cpu memory: what is held stays near the most that was in use at once") {
  if (!installed()) return;
  release_free_cpu_memory();
  const int64_t start = cpu_memory().used;
  int64_t most = 0;
  std::vector<at::Tensor> between;  // free neighbours would merge
  // Each larger than what all before it have left: without a bound this would keep everything.
  for (int64_t size = 8; size < 400; size = size * 3 / 2) {
    const at::Tensor tensor = megabytes(size);
    between.push_back(megabytes(1));
    most = std::max(most, cpu_memory().used - start);
    CHECK(cpu_memory().used - start + cpu_memory().kept <= most + 64 * kMegabyte);
  }
  release_free_cpu_memory();
}

TEST_CASE("cpu memory: a repeated step maps nothing new") {
  if (!installed()) return;
  release_free_cpu_memory();
  const auto step = [] {
    std::vector<at::Tensor> live;
    for (const int64_t size : {3, 12, 3, 7, 30, 12}) live.push_back(megabytes(size));
  };
  step();
  const int64_t fresh = cpu_memory().fresh;
  for (int i = 0; i < 10; ++i) step();
  CHECK(cpu_memory().fresh == fresh);
  release_free_cpu_memory();
  step();
  CHECK(cpu_memory().fresh > fresh);  // the twin: nothing was kept
}

TEST_CASE("cpu memory: blocks freed by other threads, raw blocks, contents") {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      for (int round = 0; round < 50; ++round) {
        at::Tensor tensor = at::full({kMegabyte + 1000 * i}, static_cast<double>(i), at::kFloat);
        std::thread([held = std::move(tensor), i] {
          CHECK(held[held.numel() - 1].item<float>() == static_cast<float>(i));
        }).join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  c10::Allocator& allocator = *c10::GetCPUAllocator();
  for (const size_t bytes : {size_t{100}, size_t{5} << 20}) {
    void* const raw = allocator.raw_allocate(bytes);
    static_cast<char*>(raw)[bytes - 1] = 1;
    CHECK(reinterpret_cast<uintptr_t>(raw) % 64 == 0);
    allocator.raw_deallocate(raw);
  }
}

TEST_CASE("cpu memory: more than the machine has is still libtorch's error") {
  for (const int shift : {40, 46}) {
    CHECK_THROWS_WITH(at::empty({int64_t{1} << shift}, at::kFloat), doctest::Contains("can't allocate memory"));
  }
}
