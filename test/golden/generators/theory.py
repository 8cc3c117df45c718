"""Golden numbers of the theory, from scipy: python test/golden/generators/theory.py > test/golden/theory.json"""

import json

from scipy.stats import chi2, ncx2


def main():
    central = [[x, df, chi2.cdf(x, df)] for df in (1, 2, 10, 1000) for x in (0.01, 0.5 * df, df, 1.3 * df, 3.0 * df)]
    noncentral = [
        [x, df, nc, ncx2.cdf(x, df, nc)]
        for df, nc in ((2, 0.1), (10, 2.5), (10, 60.0), (1000, 250.0), (1000, 5000.0))
        for x in (0.5 * (df + nc), 0.9 * (df + nc), df + nc, 1.1 * (df + nc))
    ]
    print(json.dumps({"chiSquareCdf": central, "noncentralChiSquareCdf": noncentral}))


if __name__ == "__main__":
    main()
