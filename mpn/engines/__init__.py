"""Ways to the same numbers: two fast ones, and the plain full model as their oracle."""
