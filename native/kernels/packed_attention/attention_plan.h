// An AttentionLayout as the CPU kernels need it: chains of key pieces, what each query sees, and tasks of known cost.
#pragma once

#include <vector>

#include "kernels/packed_attention/packed_attention.h"
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels {

// E_DTYPE, E_SHAPE, E_RANGE naming the tensor, unless the layout is one of `tokens` keys and `queries` queries.
void check_attention_layout(const AttentionLayout& layout, int64_t queries, int64_t tokens);

class AttentionPlan {
 public:
  // A checked layout.
  AttentionPlan(const AttentionLayout& layout, int64_t heads, int64_t kv_heads, int64_t head_dim);

  // A segment's queries under one key/value head are a task; a segment that is a large part of all work is cut into several, so
  // that one long row does not wait for one thread. No result depends on the cuts.
  void plan_forward();
  // A tree of segments under one key/value head is a task. Where one tree is a large part of all work and heads are grouped,
  // each query head is; true is returned then: the gradients of k and v come out per query head.
  bool plan_backward();

  // Fills in everything but strides, scale and dtype. Points into this plan.
  [[nodiscard]] AttentionShape shape() const;

 private:
  void add_segment(int32_t parent, AttentionPiece own);
  // Multiplications of q . k under one key/value head.
  [[nodiscard]] int64_t work_of(int64_t segments_begin, int64_t segments_end) const;
  void add_task(const AttentionTask& task, int64_t work);

  int64_t heads_, kv_heads_, head_dim_;
  std::vector<AttentionSegment> segments_;
  std::vector<AttentionPiece> pieces_;
  std::vector<int32_t> limits_;
  std::vector<int64_t> roots_;  // first segment of each tree, and the number of segments last
  int64_t most_keys_ = 0, most_tree_tokens_ = 0;
  std::vector<AttentionTask> tasks_;
  int64_t work_ = 0;
};

}  // namespace prudent::kernels
