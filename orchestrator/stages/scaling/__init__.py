"""The search for α, β, γ."""
