"""Golden numbers of uncertainty sources, from numpy and scipy: python test/golden/generators/uncertainty.py > test/golden/uncertainty.json

Each is computed in another way than prudent does: the Laplace mode by a root finder, its covariance by a matrix inverse, its evidence by
slogdet, MacKay's precision by bisection; variance components from projection matrices and a linear system of expected mean squares.
"""

import itertools
import json
import sys

import numpy as np
import scipy
from scipy import optimize

rng = np.random.default_rng(23)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def laplace_at(d, precision):
    hidden = d.shape[1]
    found = optimize.root(
        lambda w: precision * w - d.T @ sigmoid(-d @ w),
        np.zeros(hidden),
        jac=lambda w: precision * np.eye(hidden) + (d * (sigmoid(d @ w) * sigmoid(-d @ w))[:, None]).T @ d,
        tol=1e-14,
    )
    w = found.x
    p = sigmoid(d @ w)
    hessian = precision * np.eye(hidden) + (d * (p * (1 - p))[:, None]).T @ d
    covariance = np.linalg.inv(hessian)
    log_joint = -np.logaddexp(0, -d @ w).sum() - precision / 2 * w @ w
    evidence = log_joint + hidden / 2 * np.log(precision) - np.linalg.slogdet(hessian)[1] / 2
    return w, covariance, float(evidence), float(hidden - precision * np.trace(covariance))


def mackay_precision(d):
    """Where precision = gamma / |w|^2."""

    def gap(log_precision):
        w, _, _, gamma = laplace_at(d, np.exp(log_precision))
        return log_precision - np.log(gamma / (w @ w))

    return float(np.exp(optimize.brentq(gap, np.log(1e-3), np.log(1e4), xtol=1e-12)))


def laplace_case(pairs, hidden, precision):
    truth = rng.normal(size=hidden)
    sides = rng.normal(size=(2, pairs, hidden)).astype(np.float32)
    sides[:, :, -1] = 0.5  # a direction that no pair tells anything of
    margin = (sides[0] - sides[1]) @ truth
    swap = rng.uniform(size=pairs) > sigmoid(margin)
    sides[:, swap] = sides[::-1, swap]
    d = (sides[0] - sides[1]).astype(np.float64)
    points = rng.normal(size=(5, hidden)).astype(np.float32)
    w, covariance, evidence, gamma = laplace_at(d, precision)
    return {
        "pairs": pairs,
        "hidden": hidden,
        "features": sides.ravel().tolist(),
        "priorPrecision": precision,
        "mode": w.tolist(),
        "points": points.ravel().tolist(),
        "sigma": np.sqrt(np.einsum("ni,ij,nj->n", points, covariance, points)).tolist(),
        "logEvidence": evidence,
        "effectiveParameters": gamma,
        "mackayPrecision": mackay_precision(d),
    }


FACTORS = "ido"  # initialisation, data, order


def crossed_case(shape, sizes):
    """values[i, d, o] = sum of random effects with the standard deviations `sizes`, plus a grand mean."""
    values = np.full(shape, 3.0)
    for subset, size in sizes.items():
        own = [n if f in subset else 1 for f, n in zip(FACTORS, shape)]
        values = values + size * rng.normal(size=own)
    subsets = ["".join(s) for k in (1, 2, 3) for s in itertools.combinations(FACTORS, k)]
    average = [np.full((n, n), 1 / n) for n in shape]
    flat = values.ravel()

    def mean_square(subset):
        parts = [np.eye(n) - a if f in subset else a for f, n, a in zip(FACTORS, shape, average)]
        projection = np.kron(np.kron(parts[0], parts[1]), parts[2])
        degrees = np.prod([n - 1 for f, n in zip(FACTORS, shape) if f in subset])
        return float(flat @ projection @ flat / degrees)

    # E MS_S = sum over T containing S of sigma^2_T times the number of cells that share a level of T.
    expected = [
        [np.prod([n for f, n in zip(FACTORS, shape) if f not in t]) if set(s) <= set(t) else 0.0 for t in subsets] for s in subsets
    ]
    components = np.linalg.solve(np.array(expected, dtype=float), [mean_square(s) for s in subsets])
    return {"shape": list(shape), "values": flat.tolist(), "components": dict(zip(subsets, components.tolist()))}


ALL = {"i": 1.0, "d": 0.7, "o": 0.3, "id": 0.4, "io": 0.2, "do": 0.1, "ido": 0.25}
golden = {
    "environment": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__},
    "laplace": [laplace_case(60, 4, 0.5), laplace_case(200, 7, 3.0)],
    "crossed": [
        crossed_case((4, 3, 5), ALL),
        crossed_case((2, 2, 2), {"i": 1.0, "ido": 0.1}),
        crossed_case((6, 4, 2), {"d": 2.0, "do": 1.0}),
    ],
}
print(json.dumps(golden, indent=1))
