"""Fitting softmax heads: weighted cross-entropy under an L2 penalty, by L-BFGS. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

from tiebreak.training.features import Matrix

ITERATIONS = 20
_DEAREST = 1e-6  # of the variances that the order of levels leaves


class Solver:
    """Minimises weighted cross-entropy + l2/2 |W|^2 for several weightings of the same rows.

    Parameters are preconditioned by the Cholesky factor of Boehning's bound on the Hessian (Ann. Inst. Stat. Math. 1992), which
    makes L-BFGS need tens of iterations instead of hundreds. Few rows get float64; many get float32 in the sums over rows, which
    halves their cost and errs far below the tolerance.

    ``ties`` ``(k, k)``: the penalty is on V where W = V ties; None: on W itself.
    """

    def __init__(self, basis: NDArray[np.floating], targets: Matrix, l2: float, ties: Matrix | None = None) -> None:
        p = basis.shape[1]
        bound = 0.25 / len(basis) * (basis.T @ basis).astype(np.float64)
        factor = cholesky(bound + l2 * np.eye(p), lower=True)
        self._factor: Matrix = factor
        self._inverse: Matrix = solve_triangular(factor, np.eye(p), lower=True).T
        self._kind = basis.dtype
        self._rows = basis @ self._inverse.astype(self._kind)
        self._penalty: Matrix = l2 * (self._inverse.T @ self._inverse)
        self._targets = targets.astype(self._kind)
        self._ties = ties

    def solve(self, weights: Matrix, most: int = ITERATIONS, begin: Matrix | None = None) -> Matrix:
        """``(n,)`` label weights to ``(p, k)`` parameters in the basis. ``begin``: where to look first; None: at zero."""
        p, k = self._rows.shape[1], self._targets.shape[1]
        share = (weights / max(float(weights.sum()), 1e-12)).astype(self._kind)
        found = minimize(
            self._objective,
            np.zeros(p * k) if begin is None else self._from(begin),
            args=(share,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": most, "gtol": 2e-3, "ftol": 3e-6},
        )
        result: Matrix = self._tied(self._inverse @ found.x.reshape(p, k))
        return result

    def _from(self, head: Matrix) -> Matrix:
        """The flat parameters whose head is ``(p, k)`` this one."""
        v = head if self._ties is None else np.linalg.solve(self._ties.T, head.T).T
        return np.asarray(self._factor.T @ v, np.float64).ravel()

    def _tied(self, v: Matrix) -> Matrix:
        return v if self._ties is None else v @ self._ties

    def _objective(self, flat: NDArray[np.float64], share: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]]:
        v = flat.reshape(self._rows.shape[1], -1)
        logits = self._rows @ self._tied(v).astype(self._kind)
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        total = exp.sum(axis=1, keepdims=True)
        pull = self._penalty @ v
        loss = -float(share @ (self._targets * (logits - np.log(total))).sum(axis=1)) + 0.5 * float((v * pull).sum())
        slope = (self._rows.T @ ((exp / total - self._targets) * share[:, None])).astype(np.float64)
        if self._ties is not None:
            slope = slope @ self._ties.T
        return loss, (slope + pull).ravel()


def smoothed(targets: Matrix, share: float, level: float) -> Matrix:
    """Label smoothing (Szegedy et al., CVPR 2016): ``share`` of each target goes to ``level``, what one would say knowing nothing.

    >>> smoothed(np.array([[1.0, 0.0]]), 0.2, 0.5).tolist()
    [[0.9, 0.1]]
    """
    return targets * (1.0 - share) + share * level


def ties(levels: int) -> Matrix:
    """``(k, k)``: a root of C, C_ij = exp(-d^2 / 2) with d = (i - j) / (k - 1): the prior covariance of the weights of levels i and j.

    The penalty |V|^2 is then that of a Gaussian prior under which near levels have like weights (a Gaussian process over the levels:
    Rasmussen and Williams 2006): a label of one level says something of its neighbours, and the order need not hold everywhere.

    >>> (ties(3).T @ ties(3)).round(2).tolist()
    [[1.0, 0.88, 0.61], [0.88, 1.0, 0.88], [0.61, 0.88, 1.0]]
    """
    places = np.arange(levels) / max(levels - 1, 1)
    values, vectors = np.linalg.eigh(np.exp(-((places[:, None] - places[None, :]) ** 2) / 2.0))
    # Not less than a little: what an order cannot explain is dear, and not forbidden.
    result: Matrix = np.sqrt(np.maximum(values, _DEAREST))[:, None] * vectors.T
    return result
