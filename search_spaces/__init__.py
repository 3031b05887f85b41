"""Says which configurations are worth trying: data and mathematics, runs nothing."""
