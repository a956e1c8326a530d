"""Matrices, without networks: random matrices, graded products, singular values, Krylov methods, norms that do not underflow."""
