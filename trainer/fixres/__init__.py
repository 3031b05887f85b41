"""A trained network at another resolution than its own (Touvron 2019, arXiv:1906.06423)."""
