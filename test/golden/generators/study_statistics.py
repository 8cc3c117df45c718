"""Golden numbers of the study's statistics, from scipy: python test/golden/generators/study_statistics.py > test/golden/statistics.json"""

import json
import sys

import numpy as np
import scipy
from scipy import stats

rng = np.random.default_rng(7)


def pitman_morgan(x, y):
    r, p = stats.pearsonr(x + y, x - y)
    n = len(x)
    return {"statistic": float(r * np.sqrt((n - 2) / (1 - r * r))), "p": float(p)}


def paired_case(n, scale):
    shared = rng.normal(size=n)
    x, y = shared + rng.normal(size=n), scale * (shared + rng.normal(size=n)) + 0.3
    levene, brown = stats.levene(x, y, center="mean"), stats.levene(x, y, center="median")
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "pitmanMorgan": pitman_morgan(x, y),
        "levene": {"statistic": float(levene.statistic), "p": float(levene.pvalue)},
        "brownForsythe": {"statistic": float(brown.statistic), "p": float(brown.pvalue)},
        "variance": float(np.var(x, ddof=1)),
        "correlation": float(np.corrcoef(x, y)[0, 1]),
        "quantiles": {str(q): float(np.quantile(x, q)) for q in (0.0, 0.025, 0.5, 0.8, 1.0)},
    }


def interval_case(case):
    """Percentile bootstrap over pairs: with draws that are given, and scipy's own with many of its own."""
    x, y = np.array(case["x"]), np.array(case["y"])
    draws = np.random.default_rng(11).integers(len(x), size=(40, len(x)))
    statistics = {
        "varianceRatio": lambda a, b, axis=-1: np.var(a, ddof=1, axis=axis) / np.var(b, ddof=1, axis=axis),
        "meanDifference": lambda a, b, axis=-1: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        "relativeDifference": lambda a, b, axis=-1: np.mean(a, axis=axis) / np.mean(b, axis=axis) - 1,
    }
    result = {"draws": draws.tolist()}
    for name, statistic in statistics.items():
        low, high = np.quantile(statistic(x[draws], y[draws]), [0.025, 0.975])
        result[name] = {"estimate": float(statistic(x, y)), "low": float(low), "high": float(high)}
    many = stats.bootstrap(
        (x, y), statistics["varianceRatio"], paired=True, method="percentile", n_resamples=20000, rng=np.random.default_rng(5)
    ).confidence_interval
    return result | {"scipyVarianceRatio": [float(many.low), float(many.high)]}


def risk_case(both, only_treatment, only_baseline, neither, level):
    """Agresti & Min 2005: Wald on the table with 1/2 added to each cell."""
    b, c, n = only_treatment + 0.5, only_baseline + 0.5, both + only_treatment + only_baseline + neither + 2
    half = stats.norm.ppf(0.5 + level / 2) * np.sqrt(b + c - (b - c) ** 2 / n) / n
    centre = (b - c) / n
    estimate = (only_treatment - only_baseline) / (n - 2)
    return {
        "cells": [both, only_treatment, only_baseline, neither],
        "level": level,
        "interval": {"estimate": estimate, "low": float(max(-1, centre - half)), "high": float(min(1, centre + half))},
    }


paired = [paired_case(n, s) for n, s in ((10, 1.0), (40, 0.5), (41, 2.0), (7, 3.0))]
golden = {
    "environment": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__},
    "paired": paired,
    "intervals": [interval_case(case) for case in paired],
    "risks": [risk_case(*cells, level) for cells in ((3, 2, 5, 30), (0, 0, 0, 40), (0, 8, 0, 2), (10, 0, 0, 0)) for level in (0.9, 0.95)],
    "distributions": {
        "studentTwoSided": [[t, df, float(2 * stats.t.sf(t, df))] for t in (0.1, 1.0, 2.5, 9.0) for df in (1, 8, 38)],
        "fUpper": [[f, a, b, float(stats.f.sf(f, a, b))] for f in (0.2, 1.0, 4.0, 30.0) for a, b in ((1, 8), (1, 78), (3, 20))],
        "normalCdf": [[z, float(stats.norm.cdf(z))] for z in (-8.0, -4.5, -1.96, -0.3, 0.0, 0.7, 3.0, 5.0)],
        "normalQuantile": [[p, float(stats.norm.ppf(p))] for p in (0.001, 0.025, 0.4, 0.5, 0.975)],
    },
}
print(json.dumps(golden, indent=1))
