#include "kernels/matmul/packed_weights.h"

#include <ATen/ops/from_blob.h>

#include <array>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/common/workspace.h"

namespace prudent::kernels {

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
// On vectors a kept weight saves less, and bf16 takes twice its memory.
int64_t default_limit() { return (has_amx() ? 1024 : 512) * kMiB; }
// Up to so many rows a kept weight saves up to half of a product's time, and has all of the limit. Of more rows it saves some
// 6 % of bf16 on tiles, for which it has half of the limit; elsewhere, where it takes more memory, less than 5 %: it is not kept.
constexpr int64_t kFewRowsBf16Tiles = 2048;
constexpr int64_t kFewRows = 512;

// Where a matrix lies, and how: storage, address, sizes, strides, dtype. All 0 for a gate that is not there.
using Place = std::array<int64_t, 7>;
using Key = std::pair<Place, Place>;
using WeakStorage = c10::weak_intrusive_ptr<c10::StorageImpl>;

Place place_of(const at::Tensor& x) {
  if (!x.defined()) return {};
  return {reinterpret_cast<int64_t>(x.storage().unsafeGetStorageImpl()),
          reinterpret_cast<int64_t>(x.const_data_ptr()),
          x.size(0),
          x.size(1),
          x.stride(0),
          x.stride(1),
          static_cast<int64_t>(x.scalar_type())};
}

int64_t version_of(const at::Tensor& x) { return x.defined() ? x._version() : 0; }

WeakStorage weak_storage(const at::Tensor& x) {
  return x.defined() ? x.storage().getWeakStorageImpl() : WeakStorage(c10::intrusive_ptr<c10::StorageImpl>());
}

struct Entry {
  WeakStorage storage, gate_storage;  // held, so that no other storage gets their address
  bool gated;
  int64_t version, gate_version;
  at::Tensor packed;  // undefined: seen once

  [[nodiscard]] bool is_dead() const { return storage.expired() || (gated && gate_storage.expired()); }
};

int64_t limit_of_environment() {
  const char* text = std::getenv("PRUDENT_PACKED_WEIGHTS");
  if (text == nullptr || *text == '\0') return default_limit();
  char* end = nullptr;
  const long long mebibytes = std::strtoll(text, &end, 10);
  return *end != '\0' || mebibytes < 0 || mebibytes > (int64_t{1} << 40) ? default_limit() : mebibytes * kMiB;
}

class PackedWeights {
 public:
  // What is kept, or undefined; `pack` says whether the caller is to make it and hand it to keep(). `halves` of the limit are
  // open to it: 0, 1 or 2.
  at::Tensor find(const Key& key, const at::Tensor& right, const at::Tensor& gate, int64_t halves, int64_t bytes, bool& pack) {
    const std::scoped_lock lock(mutex_);
    pack = false;
    if (limit_ == 0) return {};
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
      const Entry& entry = found->second;
      if (entry.version == version_of(right) && entry.gate_version == version_of(gate)) {
        pack = !entry.packed.defined() && kept_ + bytes <= limit_ / 2 * halves;
        return entry.packed;
      }
      erase(found);
    }
    if (halves > 0) {
      sweep_when_grown();
      entries_.emplace(key, entry_of(right, gate, {}));
    }
    return {};
  }

  void keep(const Key& key, const at::Tensor& right, const at::Tensor& gate, const at::Tensor& packed) {
    const std::scoped_lock lock(mutex_);
    const auto bytes = static_cast<int64_t>(packed.nbytes());
    const auto found = entries_.find(key);
    if (found != entries_.end()) erase(found);
    if (kept_ + bytes > limit_) return;
    entries_.emplace(key, entry_of(right, gate, packed));
    kept_ += bytes;
  }

  void forget(const at::Tensor& weight) {
    const std::scoped_lock lock(mutex_);
    if (entries_.empty() || !weight.has_storage()) return;
    const auto storage = reinterpret_cast<int64_t>(weight.storage().unsafeGetStorageImpl());
    erase_where([&](const Key& key, const Entry&) { return key.first[0] == storage || key.second[0] == storage; });
  }

  void release_dead() {
    const std::scoped_lock lock(mutex_);
    erase_where([](const Key&, const Entry& entry) { return entry.is_dead(); });
  }

  PackedWeightsMemory memory() {
    const std::scoped_lock lock(mutex_);
    return {kept_, limit_};
  }

  void set_limit(int64_t bytes) {
    const std::scoped_lock lock(mutex_);
    entries_.clear();
    kept_ = 0;
    limit_ = bytes;
  }

 private:
  using Entries = std::map<Key, Entry>;

  static Entry entry_of(const at::Tensor& right, const at::Tensor& gate, const at::Tensor& packed) {
    return {weak_storage(right), weak_storage(gate), gate.defined(), version_of(right), version_of(gate), packed};
  }

  Entries::iterator erase(Entries::iterator at) {
    if (at->second.packed.defined()) kept_ -= static_cast<int64_t>(at->second.packed.nbytes());
    return entries_.erase(at);
  }

  template <typename Condition>
  void erase_where(const Condition& condition) {
    for (auto at = entries_.begin(); at != entries_.end();) at = condition(at->first, at->second) ? erase(at) : std::next(at);
  }

  // Weights that came and went leave an entry each.
  void sweep_when_grown() {
    if (entries_.size() < sweep_at_) return;
    erase_where([](const Key&, const Entry& entry) { return entry.is_dead(); });
    sweep_at_ = 2 * entries_.size() + kFewEntries;
  }

  static constexpr size_t kFewEntries = 64;
  std::mutex mutex_;
  Entries entries_;
  size_t sweep_at_ = kFewEntries;
  int64_t kept_ = 0;
  int64_t limit_ = limit_of_environment();
};

// Never destroyed: threads may still run when the process ends.
PackedWeights& cache() {
  static auto* weights = new PackedWeights;
  return *weights;
}

int64_t open_halves(const MatmulArgs& args) {
  const bool bf16_tiles = args.bf16 && has_amx();
  if (args.rows <= (bf16_tiles ? kFewRowsBf16Tiles : kFewRows)) return 2;
  return bf16_tiles ? 1 : 0;
}

bool has_version(const at::Tensor& x) { return !x.defined() || (x.has_storage() && !x.is_inference()); }

}  // namespace

at::Tensor pack_weights(const MatmulEngine& engine, const MatmulArgs& args) {
  const int64_t bytes = engine.packed_bytes(args);
  void* const memory = take_pages(static_cast<size_t>(bytes));
  at::Tensor packed = at::from_blob(
      memory, {bytes}, [](void* data) { std::free(data); }, at::kByte);
  engine.pack_right(args, memory);
  return packed;
}

at::Tensor packed_weights(const MatmulArgs& args, const at::Tensor& right, const at::Tensor& gate) {
  if (!has_version(right) || !has_version(gate)) return {};
  const Key key{place_of(right), place_of(gate)};
  const int64_t bytes = matmul_engine().packed_bytes(args);
  bool wanted = false;
  at::Tensor packed = cache().find(key, right, gate, open_halves(args), bytes, wanted);
  if (!wanted) return packed;
  packed = pack_weights(matmul_engine(), args);
  cache().keep(key, right, gate, packed);
  return packed;
}

void forget_packed_weights(const at::Tensor& weight) { cache().forget(weight); }

void release_dead_packed_weights() { cache().release_dead(); }

PackedWeightsMemory packed_weights_memory() { return cache().memory(); }

void set_packed_weights_limit(int64_t bytes) { cache().set_limit(bytes); }

}  // namespace prudent::kernels
