"""The data plane: reads sources and writes vaults. Knows no policy, no database and nobody's schedule."""
