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


golden = {
    "environment": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__},
    "paired": [paired_case(n, s) for n, s in ((10, 1.0), (40, 0.5), (41, 2.0), (7, 3.0))],
    "distributions": {
        "studentTwoSided": [[t, df, float(2 * stats.t.sf(t, df))] for t in (0.1, 1.0, 2.5, 9.0) for df in (1, 8, 38)],
        "fUpper": [[f, a, b, float(stats.f.sf(f, a, b))] for f in (0.2, 1.0, 4.0, 30.0) for a, b in ((1, 8), (1, 78), (3, 20))],
        "normalCdf": [[z, float(stats.norm.cdf(z))] for z in (-8.0, -4.5, -1.96, -0.3, 0.0, 0.7, 3.0, 5.0)],
        "normalQuantile": [[p, float(stats.norm.ppf(p))] for p in (0.001, 0.025, 0.4, 0.5, 0.975)],
    },
}
print(json.dumps(golden, indent=1))
