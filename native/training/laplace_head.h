// A Bayesian Bradley-Terry head on the cached features of a frozen base, by Laplace's method and in double precision.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/job.h"
#include "training/feature_cache.h"

namespace prudent::training {

struct LaplaceOptions {
  // Of the prior N(0, 1 / prior_precision) of every weight; where MacKay's iteration begins when by_evidence.
  double prior_precision = 1;
  // Choose the precision that maximises the evidence: MacKay's fixed point, precision = gamma / |w|^2, gamma = hidden - precision
  // tr H^-1 (the number of directions that the pairs determine).
  bool by_evidence = false;
  int64_t max_steps = 50;  // Newton steps for one precision
};

struct LaplaceHead {
  at::Tensor mode;    // [hidden] fp64: w, the maximum of sum_i ln sigmoid(d_i w) - precision / 2 |w|^2
  at::Tensor factor;  // [hidden, hidden] fp64: L^-1, H = L L', so that the predictive variance x' H^-1 x is |factor x|^2
  double prior_precision = 0;
  // ln of the Laplace approximation of the pairs' probability: loss at the mode, + hidden / 2 ln precision - 1/2 ln |H|.
  double log_evidence = 0;
  double effective_parameters = 0;  // gamma
  int64_t newton_steps = 0;
};

// d_i = features[chosen[i]] - features[rejected[i]]; H = sum_i p_i (1 - p_i) d_i d_i' + precision I at the mode. Work: pairs *
// hidden^2 a Newton step and hidden^3 for its factorisation; memory 3 hidden^2 doubles beside the features.
// E_SHAPE, E_RANGE, E_NON_FINITE, E_CANCELLED.
LaplaceHead fit_laplace_head(const FeatureCache& features, const std::vector<int32_t>& chosen,
                             const std::vector<int32_t>& rejected, const LaplaceOptions& options, const Job& job);

}  // namespace prudent::training
